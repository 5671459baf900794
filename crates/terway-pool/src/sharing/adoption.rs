//! Recovery of shared ENIs: takes over the addresses and prefixes in the ledger and resumes what was under way.
//!
//! | in the ledger | becomes |
//! |---|---|
//! | address in use, and the attachment that holds it names it | held, as before |
//! | address in use by an attachment that is not there, or does not name it | released, in quarantine |
//! | address an attachment names, not in use by another, in any other phase or without a record | held: a pod may be using it |
//! | address an attachment names, in use by another one | the other's; the attachment is forgotten |
//! | address or prefix whose ENI is not there | forgotten |
//! | address or prefix that overlaps with another one | forgotten |
//! | `Idle`, `Quarantined` | as before |
//! | `Unassigning`, address or prefix | the call is repeated |
//! | idle address out of a prefix | its record is dropped: it needs none |
//! | intent to assign | the call is repeated with its token and amount; an earlier one may have worked |
//! | primary address of an ENI without a record | idle |
//! | ENI in use as a whole, or in quarantine, in shared mode | served until its release, then let go |
//! | ENI with addresses in exclusive mode | serves those who have one, gives none as a whole, then let go |
//!
//! Rows with a contradiction never come from our own commits, which change both sides at once; each is told by an
//! event.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use terway_types::{
    AddressPhase, AddressRecord, AddressSet, AttachmentKey, AttachmentRecord, EniPhase, EniRecord,
    IntentToken, LedgerSnapshot, Timestamp,
};

use crate::effect::Note;
use crate::engine::Pool;
use crate::eni::Service;
use crate::outbox::Outbox;
use crate::sharing::following::stage;
use crate::sharing::sharing;
use crate::stock::{Adopted, Shelf, Stage};

impl Pool {
    /// How an ENI of the ledger serves from now on.
    pub(crate) fn service_of(&self, record: &EniRecord, has_addresses: bool) -> Service {
        let whole = matches!(record.phase, EniPhase::InUse(_) | EniPhase::Quarantined { .. });
        let shared = if sharing(&self.settings).is_some() { !whole } else { has_addresses };
        if shared && record.claim.is_none() { Service::Shared } else { Service::Whole }
    }

    /// Takes over all addresses. The ENIs are in the books by now; attachments of shared ENIs are adopted here.
    pub(crate) fn adopt_addresses(&mut self, snapshot: &LedgerSnapshot, out: &mut Outbox) {
        let shared: Vec<_> =
            self.books.iter().map(|(_, eni)| eni).filter(|eni| eni.service != Service::Whole).collect();
        for eni in shared {
            let record = &eni.record;
            let asked = match (&record.phase, &record.assigning) {
                (EniPhase::Creating, _) => record.counts,
                (_, Some(intent)) => intent.counts,
                _ => terway_types::AddressCounts::default(),
            };
            let mut shelf = Shelf::new(record.token.clone(), record.vswitch.clone(), stage(eni), asked);
            // The life before may have taken off something just now.
            shelf.taken_off = self.now;
            self.shared.stock.insert(shelf);
        }
        let holders = self.adopt_holders(snapshot, out);
        self.adopt_prefixes(snapshot, out);
        let known = self.adopt_records(snapshot, &holders, out);
        for (address, (key, eni)) in holders.iter().filter(|(address, _)| !known.contains(*address)) {
            let message = format!("{key} has {address} of ENI {}, which had no record", self.eni_name(eni));
            out.note(Note::Event { reason: "AddressWithoutRecord", message });
            let since = self.now;
            let record = in_use(*address, eni, key, since);
            if self.take_over(&record, out) {
                out.put_address(record);
            }
        }
        self.finish_adoption(out);
    }

    /// Which attachment holds which address: what attachments and records agree on, and what is nobody else's.
    fn adopt_holders(&mut self, snapshot: &LedgerSnapshot, out: &mut Outbox) -> Holders {
        let mut agreed: BTreeMap<IpAddr, &AttachmentKey> = BTreeMap::new();
        for record in &snapshot.addresses {
            if let AddressPhase::InUse(key) = &record.phase {
                agreed.insert(record.address, key);
            }
        }
        let keys: BTreeMap<_, _> = snapshot.attachments.iter().map(|held| (&held.key, held)).collect();
        let names = |key: &AttachmentKey, address: IpAddr| {
            keys.get(key).is_some_and(|held| held.addresses.iter().any(|named| named == address))
        };
        agreed.retain(|address, key| names(key, *address));
        let mut holders = Holders::new();
        for held in &snapshot.attachments {
            if self.shared.stock.number(&held.eni).is_none() {
                continue;
            }
            let other = |address: &IpAddr| {
                let agreed = agreed.get(address).is_some_and(|key| **key != held.key);
                agreed || holders.get(address).is_some_and(|(key, _)| *key != held.key)
            };
            if held.addresses.is_empty() || held.addresses.iter().any(|address| other(&address)) {
                forget_attachment(held, out);
                continue;
            }
            for address in held.addresses.iter() {
                holders.insert(address, (held.key.clone(), held.eni.clone()));
            }
            self.holdings.adopt(held.clone());
        }
        holders
    }

    fn adopt_prefixes(&mut self, snapshot: &LedgerSnapshot, out: &mut Outbox) {
        for record in &snapshot.prefixes {
            if self.shared.stock.adopt_prefix(record) != Adopted::Yes {
                out.remove_prefix(record.prefix);
            }
        }
    }

    /// Takes over the addresses' records, each with the phase that its holder makes right.
    fn adopt_records(
        &mut self,
        snapshot: &LedgerSnapshot,
        holders: &Holders,
        out: &mut Outbox,
    ) -> BTreeSet<IpAddr> {
        let until = self.now + self.settings.quarantine;
        let mut known = BTreeSet::new();
        for record in &snapshot.addresses {
            let holder = holders.get(&record.address).filter(|(_, eni)| *eni == record.eni);
            let phase = match (holder, &record.phase) {
                (Some((key, _)), _) => AddressPhase::InUse(key.clone()),
                (None, AddressPhase::InUse(_)) => AddressPhase::Quarantined { until },
                (None, other) => other.clone(),
            };
            let same = phase == record.phase;
            let since = if same { record.since } else { self.now };
            let righted = AddressRecord { phase, since, ..record.clone() };
            if self.take_over(&righted, out) {
                known.insert(record.address);
                let single =
                    self.shared.stock.of(&record.eni).is_some_and(|shelf| shelf.is_single(record.address));
                if !single && righted.phase == AddressPhase::Idle {
                    out.remove_address(record.address);
                } else if !same {
                    out.put_address(righted);
                }
            }
        }
        known
    }

    fn take_over(&mut self, record: &AddressRecord, out: &mut Outbox) -> bool {
        let primary = self.books.of(&record.eni).map(|eni| eni.record.addresses);
        let is_primary = primary.is_some_and(|primary| primary.iter().any(|own| own == record.address));
        let adopted = self.shared.stock.adopt(record, is_primary) == Adopted::Yes;
        if !adopted {
            let message =
                format!("{} of ENI {} has no place there; it is forgotten", record.address, record.eni);
            out.note(Note::Event { reason: "AddressMisplaced", message });
            out.remove_address(record.address);
        }
        adopted
    }

    /// Primary addresses without a record become idle, ENIs of another mode are told, calls are repeated.
    fn finish_adoption(&mut self, out: &mut Outbox) {
        let shared: Vec<_> = self.shared.stock.shelves().map(|shelf| shelf.token.clone()).collect();
        for token in shared {
            let Some(no) = self.shared.stock.number(&token) else { continue };
            let primary = self.books.of(&token).map(|eni| eni.record.addresses).unwrap_or_default();
            if self.shared.stock.get(no).is_some_and(|shelf| shelf.stage != Stage::Closed) {
                self.put_on(no, &token, &AddressSet::default(), primary, out);
            }
            self.shared.stock.edit(no, |shelf| shelf.doubt |= shelf.job().is_some());
            self.follow(&token, out);
            self.lend(&token);
            self.work_on(no, out);
        }
        let shared_mode = sharing(&self.settings).is_some();
        let misfit = |eni: &&crate::eni::Eni| {
            (eni.service == Service::Whole) == shared_mode && eni.record.claim.is_none()
        };
        let misfits: Vec<_> = self
            .books
            .iter()
            .map(|(_, eni)| eni)
            .filter(misfit)
            .map(|eni| eni.record.token.clone())
            .collect();
        for token in misfits {
            let (was, is) = if shared_mode { ("exclusive", "shared") } else { ("shared", "exclusive") };
            let name = self.eni_name(&token);
            let message = format!(
                "ENI {name} is from {was} mode and the node is in {is} mode: it is let go once nobody uses it"
            );
            out.note(Note::Event { reason: "EniOfOtherMode", message });
        }
    }
}

/// Who holds an address, of which ENI.
type Holders = BTreeMap<IpAddr, (AttachmentKey, IntentToken)>;

fn in_use(address: IpAddr, eni: &IntentToken, key: &AttachmentKey, since: Timestamp) -> AddressRecord {
    AddressRecord { address, eni: eni.clone(), phase: AddressPhase::InUse(key.clone()), since }
}

fn forget_attachment(held: &AttachmentRecord, out: &mut Outbox) {
    let message = format!("{} names addresses that are not its own, or none; it is forgotten", held.key);
    out.note(Note::Event { reason: "AttachmentContradicted", message });
    out.remove_attachment(&held.key);
}
