//! Compares a look at the cloud with what the books say of a shared ENI's addresses and prefixes. The table is in
//! the module's docs.

use std::collections::{BTreeMap, BTreeSet};

use terway_types::{AddressSet, IntentToken, Timestamp};

use super::sightings::{Look, Sightings};
use crate::stock::Item;

/// How an item stands in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Idle or resting; of a prefix: nobody holds one of its addresses.
    Unused,
    /// Somebody holds it, or one of its addresses; or it is the primary address, which leaves with the ENI.
    Used,
    /// On its way off the ENI.
    Unassigning,
}

/// What the books say of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownItem {
    pub(crate) standing: Standing,
    /// Since when.
    pub(crate) since: Timestamp,
    /// Whether an earlier look left a flag on it.
    pub(crate) flagged: bool,
}

/// What the books say of an ENI's addresses: single ones and prefixes, but not the addresses out of prefixes.
#[derive(Clone, Debug)]
pub(crate) struct KnownItems<'a> {
    pub(crate) eni: &'a IntentToken,
    pub(crate) items: BTreeMap<Item, KnownItem>,
    /// Whether a call of ours that assigns or unassigns is out, or to be repeated.
    pub(crate) busy: bool,
    /// When an address was last taken off the ENI. A look that began before may show it still.
    pub(crate) taken_off: Timestamp,
}

/// How an item differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemDifference {
    Unknown,
    Absent,
}

/// What is to be done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemRule {
    AddressSuspected,
    AddressAdopted,
    AddressVanished,
    UsedAddressVanished,
    Unassigned,
    AddressCleared,
}

impl ItemRule {
    /// The rule's name; also the reason of the event that tells of it.
    pub(crate) fn name(self, item: Item) -> &'static str {
        match (self, item) {
            (Self::AddressSuspected, _) => "AddressSuspected",
            (Self::AddressAdopted, Item::Address(_)) => "AddressAdopted",
            (Self::AddressAdopted, Item::Prefix(_)) => "PrefixAdopted",
            (Self::AddressVanished, Item::Address(_)) => "AddressVanished",
            (Self::AddressVanished, Item::Prefix(_)) => "PrefixVanished",
            (Self::UsedAddressVanished, Item::Address(_)) => "UsedAddressVanished",
            (Self::UsedAddressVanished, Item::Prefix(_)) => "UsedPrefixVanished",
            (Self::Unassigned, _) => "Unassigned",
            (Self::AddressCleared, _) => "AddressCleared",
        }
    }
}

/// A difference and the rule for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemFinding {
    pub(crate) rule: ItemRule,
    pub(crate) eni: IntentToken,
    pub(crate) item: Item,
}

/// What looks at the cloud have shown of addresses.
pub(crate) type ItemSightings = Sightings<(IntentToken, Item), ItemDifference>;

/// Compares what one look shows of one ENI. ENIs that it does not show are a matter of their own rules.
pub(crate) fn compare_items(
    known: &KnownItems<'_>,
    seen: &AddressSet,
    look: &mut Look<'_, (IntentToken, Item), ItemDifference>,
) -> Vec<ItemFinding> {
    let mut unknown: BTreeSet<Item> = seen.singles().map(Item::Address).collect();
    unknown.extend(seen.prefixes.iter().copied().map(Item::Prefix));
    let subject = |item| (known.eni.clone(), item);
    let mut findings = Vec::new();
    let mut find = |rule, item| findings.push(ItemFinding { rule, eni: known.eni.clone(), item });

    for (&item, state) in &known.items {
        let present = unknown.remove(&item);
        if known.busy || !look.is_witness(state.since) || (!present && !look.may_miss(state.since)) {
            look.passes(subject(item));
            continue;
        }
        if present {
            if state.flagged {
                find(ItemRule::AddressCleared, item);
            }
            continue;
        }
        for verdict in look.shows(subject(item), vec![ItemDifference::Absent], state.since, None) {
            find(rule(state.standing, verdict.confirmed), item);
        }
    }
    for item in unknown {
        if known.busy || !look.is_witness(known.taken_off) {
            look.passes(subject(item));
            continue;
        }
        let verdicts = look.shows(subject(item), vec![ItemDifference::Unknown], Timestamp(0), None);
        if verdicts.iter().any(|verdict| verdict.confirmed) {
            find(ItemRule::AddressAdopted, item);
        }
    }
    findings
}

fn rule(standing: Standing, confirmed: bool) -> ItemRule {
    match (standing, confirmed) {
        (_, false) => ItemRule::AddressSuspected,
        (Standing::Unused, true) => ItemRule::AddressVanished,
        (Standing::Used, true) => ItemRule::UsedAddressVanished,
        (Standing::Unassigning, true) => ItemRule::Unassigned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const CONSISTENCY: Duration = Duration::from_millis(10);

    fn address(last: u8) -> Item {
        Item::Address([10, 0, 0, last].into())
    }

    fn prefix() -> Item {
        Item::Prefix("10.0.0.16/28".parse().unwrap())
    }

    fn item(standing: Standing) -> KnownItem {
        KnownItem { standing, since: Timestamp(50), flagged: false }
    }

    /// The rules after looks at these times.
    fn looks(
        known: &[(Item, KnownItem)],
        seen: &AddressSet,
        (busy, taken_off): (bool, u64),
        times: [u64; 2],
    ) -> [Vec<(&'static str, Item)>; 2] {
        let mut sightings = ItemSightings::default();
        let eni = IntentToken::from("t");
        let items = known.iter().copied().collect();
        let known = KnownItems { eni: &eni, items, busy, taken_off: Timestamp(taken_off) };
        times.map(|began| {
            let mut look = sightings.look(Timestamp(began), Timestamp(began), CONSISTENCY).unwrap();
            let findings = compare_items(&known, seen, &mut look);
            findings.into_iter().map(|found| (found.rule.name(found.item), found.item)).collect()
        })
    }

    #[test]
    fn absent_ones_go_by_how_they_are_used() {
        let known = [
            (address(1), item(Standing::Unused)),
            (address(2), item(Standing::Used)),
            (address(3), item(Standing::Unassigning)),
            (prefix(), item(Standing::Used)),
        ];
        let [first, second] = looks(&known, &AddressSet::default(), (false, 0), [100, 110]);
        assert!(first.iter().all(|(rule, _)| *rule == "AddressSuspected") && first.len() == 4, "{first:?}");
        let rules = [
            ("AddressVanished", address(1)),
            ("UsedAddressVanished", address(2)),
            ("Unassigned", address(3)),
            ("UsedPrefixVanished", prefix()),
        ];
        assert_eq!(second, rules);
    }

    #[test]
    fn unknown_ones_are_adopted_after_two_looks() {
        let seen = AddressSet {
            ipv4: vec![[10, 0, 0, 1].into()],
            prefixes: vec!["10.0.0.16/28".parse().unwrap()],
            ..AddressSet::default()
        };
        let adopted = [("AddressAdopted", address(1)), ("PrefixAdopted", prefix())];
        assert_eq!(looks(&[], &seen, (false, 99), [100, 110]), [vec![], adopted.to_vec()]);
        assert_eq!(looks(&[], &seen, (false, 100), [100, 110]), [vec![], vec![]], "taken off meanwhile");
        assert_eq!(looks(&[], &seen, (true, 0), [100, 110]), [vec![], vec![]], "a call is out");
        let known = [(address(1), item(Standing::Used)), (prefix(), item(Standing::Unused))];
        assert_eq!(looks(&known, &seen, (false, 0), [100, 110]), [vec![], vec![]]);
    }

    #[test]
    fn what_changed_after_the_look_began_and_what_is_flagged() {
        let changed = (address(1), KnownItem { since: Timestamp(105), ..item(Standing::Unused) });
        let none = AddressSet::default();
        assert_eq!(
            looks(&[changed], &none, (false, 0), [100, 114]),
            [vec![], vec![]],
            "it may show the time before"
        );
        assert_eq!(looks(&[changed], &none, (false, 0), [100, 115])[1], [("AddressSuspected", address(1))]);
        let there = AddressSet { ipv4: vec![[10, 0, 0, 1].into()], ..none };
        let flagged = (address(1), KnownItem { flagged: true, ..item(Standing::Unused) });
        assert_eq!(looks(&[flagged], &there, (false, 0), [100, 110])[0], [("AddressCleared", address(1))]);
    }
}
