//! What goes in comes out again: any record, through any number of commits and reopenings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::option::of;
use proptest::prelude::*;
use terway_ledger::Ledger;
use terway_types::{
    Addresses, AttachmentKey, AttachmentRecord, ContainerId, EniPhase, EniRecord, Gateways, IfName,
    LedgerChange, LedgerSnapshot, MacAddr, NetworkName, PodRef, Subnets, Timestamp,
};

fn keys() -> impl Strategy<Value = AttachmentKey> {
    ("[ab][-.]{0,2}", "[a-c]", "eth[01]").prop_map(|(network, container, ifname)| AttachmentKey {
        network: NetworkName::new(network).unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new(ifname).unwrap(),
    })
}

fn phases() -> impl Strategy<Value = EniPhase> {
    prop_oneof![
        Just(EniPhase::Creating),
        Just(EniPhase::Detached),
        Just(EniPhase::Attaching),
        Just(EniPhase::Attached),
        Just(EniPhase::Ready),
        keys().prop_map(EniPhase::InUse),
        any::<u64>().prop_map(|until| EniPhase::Quarantined { until: Timestamp(until) }),
        Just(EniPhase::Detaching),
        Just(EniPhase::Deleting),
    ]
}

fn subnets() -> impl Strategy<Value = Subnets> {
    let v4 = of((any::<Ipv4Addr>(), 0u8..=32).prop_map(|(ip, bits)| format!("{ip}/{bits}").parse().unwrap()));
    let v6 =
        of((any::<Ipv6Addr>(), 0u8..=128).prop_map(|(ip, bits)| format!("{ip}/{bits}").parse().unwrap()));
    (v4, v6).prop_map(|(v4, v6)| Subnets::new(v4, v6))
}

fn enis() -> impl Strategy<Value = EniRecord> {
    let names = ("[a-e]", of(".*"), ".*", proptest::collection::vec(".*", 0..3));
    let numbers = (of(any::<[u8; 6]>()), of(any::<Ipv4Addr>()), of(any::<Ipv6Addr>()), any::<u64>());
    (names, numbers, subnets(), phases()).prop_map(|(names, numbers, subnets, phase)| {
        let (token, id, vswitch, groups) = names;
        let (mac, v4, v6, since) = numbers;
        EniRecord {
            token: token.into(),
            id: id.map(Into::into),
            mac: mac.map(MacAddr),
            vswitch: vswitch.into(),
            security_groups: groups.into_iter().map(Into::into).collect(),
            addresses: Addresses::new(v4, v6),
            subnets,
            gateways: Gateways::new(v4, None),
            phase,
            since: Timestamp(since),
        }
    })
}

fn attachments() -> impl Strategy<Value = AttachmentRecord> {
    (keys(), ".*", ".*", of(".*"), ".*", "[a-e]", any::<u64>()).prop_map(
        |(key, namespace, name, uid, netns, eni, since)| AttachmentRecord {
            key,
            pod: PodRef { namespace, name, uid },
            netns,
            eni: eni.into(),
            since: Timestamp(since),
        },
    )
}

fn changes() -> impl Strategy<Value = LedgerChange> {
    prop_oneof![
        3 => enis().prop_map(LedgerChange::PutEni),
        1 => "[a-e]".prop_map(|token: String| LedgerChange::RemoveEni(token.into())),
        3 => attachments().prop_map(LedgerChange::PutAttachment),
        1 => keys().prop_map(LedgerChange::RemoveAttachment),
    ]
}

/// What a ledger should hold.
#[derive(Default)]
struct Expected {
    enis: BTreeMap<String, EniRecord>,
    attachments: BTreeMap<AttachmentKey, AttachmentRecord>,
}

impl Expected {
    fn apply(&mut self, change: &LedgerChange) {
        match change.clone() {
            LedgerChange::PutEni(eni) => drop(self.enis.insert(eni.token.0.clone(), eni)),
            LedgerChange::RemoveEni(token) => drop(self.enis.remove(token.as_str())),
            LedgerChange::PutAttachment(held) => drop(self.attachments.insert(held.key.clone(), held)),
            LedgerChange::RemoveAttachment(key) => drop(self.attachments.remove(&key)),
        }
    }

    fn snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot {
            enis: self.enis.values().cloned().collect(),
            attachments: self.attachments.values().cloned().collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_commits_read_back_as_written(
        commits in proptest::collection::vec((proptest::collection::vec(changes(), 0..6), any::<bool>()), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let mut ledger = Ledger::open(&path).unwrap();
        let mut expected = Expected::default();
        for (changes, reopen) in commits {
            ledger.commit(&changes).unwrap();
            for change in &changes {
                expected.apply(change);
            }
            if reopen {
                drop(ledger);
                ledger = Ledger::open(&path).unwrap();
            }
            prop_assert_eq!(ledger.snapshot().unwrap(), expected.snapshot());
        }
    }
}
