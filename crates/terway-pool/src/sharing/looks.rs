//! Acts on what looks at the cloud show of addresses: the second half of the rows about addresses in the table in
//! `reconcile`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use terway_types::{AddressSet, Addresses, EniId, IntentToken, PrefixPhase, Timestamp};

use crate::effect::Note;
use crate::engine::Pool;
use crate::event::SeenEni;
use crate::outbox::Outbox;
use crate::reconcile::{ItemFinding, ItemRule, KnownItem, KnownItems, Standing, compare_items};
use crate::settings::PoolSettings;
use crate::stock::{Block, EniNo, Item, Job, Life, Shelf, Slot, Stage, Trust, Work};

impl Pool {
    /// Compares a look with what the books say of addresses. ENIs that it does not show are a matter of their own
    /// rules.
    pub(crate) fn look_at_addresses(&mut self, began: Timestamp, enis: &[SeenEni], out: &mut Outbox) {
        let by_id: BTreeMap<&EniId, &SeenEni> = enis.iter().map(|seen| (&seen.id, seen)).collect();
        let (settings, now) = (&self.settings, self.now);
        let Some(mut look) = self.witnesses.items.look(began, now, settings.consistency) else { return };
        let mut findings = Vec::new();
        for shelf in self.shared.stock.shelves().filter(|shelf| is_looked_at(shelf)) {
            let id = self.books.of(&shelf.token).and_then(|eni| eni.record.id.as_ref());
            if let Some(seen) = id.and_then(|id| by_id.get(id)) {
                findings.extend(compare_items(&known(shelf, began, settings), &all(seen), &mut look));
            }
        }
        drop(look);
        for finding in findings {
            self.resolve_item(&finding, out);
        }
    }

    /// Does what the rule says.
    fn resolve_item(&mut self, finding: &ItemFinding, out: &mut Outbox) {
        let (rule, token, item) = (finding.rule, &finding.eni, finding.item);
        let Some(no) = self.shared.stock.number(token) else { return };
        let told = match rule {
            ItemRule::AddressSuspected => {
                self.distrust(no, item);
                false
            }
            ItemRule::AddressCleared => {
                self.shared.stock.edit(no, |shelf| shelf.trust(item, Trust::Sure));
                false
            }
            ItemRule::AddressAdopted => self.adopt_seen(no, item, out),
            ItemRule::AddressVanished => {
                self.shared.stock.lose(no, item, self.now, out);
                true
            }
            ItemRule::UsedAddressVanished => {
                let before = self.shared.stock.edit(no, |shelf| shelf.trust(item, Trust::Contradicted));
                before.flatten() != Some(Trust::Contradicted)
            }
            ItemRule::Unassigned => {
                self.shared.stock.lose(no, item, self.now, out);
                if self.shared.stock.get(no).is_some_and(|shelf| shelf.job().is_none()) {
                    self.all_off(no);
                }
                false
            }
        };
        if told {
            let message = self.message(rule, token, item);
            out.note(Note::Event { reason: rule.name(item), message });
        }
        self.work_on(no, out);
        self.advance_eni(token, out);
    }

    /// One that looks have contradicted stays so.
    fn distrust(&mut self, no: EniNo, item: Item) {
        self.shared.stock.edit(no, |shelf| match shelf.trust(item, Trust::Suspect) {
            Some(Trust::Contradicted) => shelf.trust(item, Trust::Contradicted),
            before => before,
        });
    }

    /// Takes over what the ENI has without our knowing, at rest: somebody may use it. One that another ENI of ours
    /// has is left alone; that one has to lose it first. Tells whether it did.
    fn adopt_seen(&mut self, no: EniNo, item: Item, out: &mut Outbox) -> bool {
        let mut set = AddressSet::default();
        match item {
            Item::Address(IpAddr::V4(v4)) => set.ipv4.push(v4),
            Item::Address(IpAddr::V6(v6)) => set.ipv6.push(v6),
            Item::Prefix(net) => set.prefixes.push(net),
        }
        let rests = Life::Resting { until: self.now + self.settings.quarantine };
        self.shared.stock.fill(no, &set, Addresses::default(), rests, self.now, out).is_empty()
    }

    fn message(&self, rule: ItemRule, token: &IntentToken, item: Item) -> String {
        let what = match item {
            Item::Address(address) => address.to_string(),
            Item::Prefix(net) => format!("prefix {net}"),
        };
        let name = self.eni_name(token);
        match rule {
            ItemRule::AddressAdopted => {
                format!("ENI {name} has {what}, which is not in the ledger; it is taken over and rests")
            }
            ItemRule::UsedAddressVanished => {
                format!("{what} of ENI {name} is in use, but the cloud does not have it; nobody new gets it")
            }
            _ => format!("{what} of ENI {name} is forgotten: the cloud does not have it"),
        }
    }
}

/// Whether an ENI's addresses are compared: it exists and stays.
fn is_looked_at(shelf: &Shelf) -> bool {
    matches!(shelf.stage, Stage::Opening | Stage::Open | Stage::Away)
}

/// Everything an ENI has as the cloud describes it.
fn all(seen: &SeenEni) -> AddressSet {
    let mut set = seen.assigned.clone();
    set.ipv4.extend(seen.addresses.v4.filter(|v4| !seen.assigned.ipv4.contains(v4)));
    set.ipv6.extend(seen.addresses.v6.filter(|v6| !seen.assigned.ipv6.contains(v6)));
    set
}

/// What the books say of an ENI's addresses.
fn known<'a>(shelf: &'a Shelf, began: Timestamp, settings: &PoolSettings) -> KnownItems<'a> {
    let single = |slot: &Slot| {
        let standing = match slot.life {
            Life::Unassigning => Standing::Unassigning,
            Life::InUse => Standing::Used,
            Life::Idle | Life::Resting { .. } if slot.primary => Standing::Used,
            Life::Idle | Life::Resting { .. } => Standing::Unused,
        };
        let flagged = slot.trust != Trust::Sure;
        (Item::Address(slot.address), KnownItem { standing, since: slot.since, flagged })
    };
    let prefix = |block: &Block| {
        let standing = match block.phase {
            PrefixPhase::Unassigning => Standing::Unassigning,
            _ if block.is_held() => Standing::Used,
            _ => Standing::Unused,
        };
        // One that was adopted has to rest first.
        let flagged = block.trust != Trust::Sure && began >= block.since + settings.quarantine;
        (Item::Prefix(block.net), KnownItem { standing, since: block.since, flagged })
    };
    let items = shelf.slots().iter().map(single).chain(shelf.blocks().iter().map(prefix)).collect();
    let busy = shelf.job() == Some(Job::Assign) || matches!(shelf.work, Work::Running { .. });
    KnownItems { eni: &shelf.token, items, busy, taken_off: shelf.taken_off }
}
