//! What goes in comes out again: any record, through any number of commits and reopenings.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU64;

use ipnetwork::IpNetwork;
use proptest::prelude::*;
use terway_ledger::{HistoryQuery, Ledger};
use terway_types::{
    AddressRecord, AttachmentKey, AttachmentRecord, EniRecord, HistoryEntry, IntentToken, LedgerChange,
    LedgerSnapshot, PrefixRecord,
};

use crate::samples::place;
use crate::strategies::changes;

/// So few that most cases reach it.
const HISTORY: NonZeroU64 = NonZeroU64::new(3).unwrap();

/// What a ledger should hold.
#[derive(Default)]
struct Expected {
    enis: BTreeMap<IntentToken, EniRecord>,
    attachments: BTreeMap<AttachmentKey, AttachmentRecord>,
    addresses: BTreeMap<IpAddr, AddressRecord>,
    prefixes: BTreeMap<IpNetwork, PrefixRecord>,
    /// Newest first.
    history: VecDeque<(u64, HistoryEntry)>,
    remembered: u64,
}

impl Expected {
    fn apply(&mut self, change: &LedgerChange) {
        match change.clone() {
            LedgerChange::PutEni(eni) => drop(self.enis.insert(eni.token.clone(), eni)),
            LedgerChange::RemoveEni(token) => drop(self.enis.remove(&token)),
            LedgerChange::PutAttachment(held) => drop(self.attachments.insert(held.key.clone(), held)),
            LedgerChange::RemoveAttachment(key) => drop(self.attachments.remove(&key)),
            LedgerChange::PutAddress(address) => drop(self.addresses.insert(address.address, address)),
            LedgerChange::RemoveAddress(address) => drop(self.addresses.remove(&address)),
            LedgerChange::PutPrefix(prefix) => drop(self.prefixes.insert(prefix.prefix, prefix)),
            LedgerChange::RemovePrefix(prefix) => drop(self.prefixes.remove(&prefix)),
            LedgerChange::Remember(entry) => {
                self.history.push_front((self.remembered, entry));
                self.history.truncate(usize::try_from(HISTORY.get()).unwrap());
                self.remembered += 1;
            }
        }
    }

    fn snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot {
            enis: self.enis.values().cloned().collect(),
            attachments: self.attachments.values().cloned().collect(),
            addresses: self.addresses.values().cloned().collect(),
            prefixes: self.prefixes.values().cloned().collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_commits_read_back_as_written(
        commits in proptest::collection::vec((proptest::collection::vec(changes(), 0..12), any::<bool>()), 1..8),
    ) {
        let (_dir, path) = place();
        let mut ledger = Ledger::open(&path).unwrap().with_history(HISTORY);
        let mut expected = Expected::default();
        for (changes, reopen) in commits {
            ledger.commit(&changes).unwrap();
            for change in &changes {
                expected.apply(change);
            }
            if reopen {
                drop(ledger);
                ledger = Ledger::open(&path).unwrap().with_history(HISTORY);
            }
            prop_assert_eq!(ledger.snapshot().unwrap(), expected.snapshot());
            let history = ledger.history(&HistoryQuery::default()).unwrap();
            prop_assert_eq!(&history, expected.history.make_contiguous());
        }
    }
}
