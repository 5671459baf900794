//! All ENIs, and the indexes that keep decisions flat: by token, id, MAC, address and claim, idle ones by class,
//! those with something due by time, and the tallies. An ENI is changed only through [`Books::edit`] and
//! [`Books::identify`], so the indexes cannot go stale.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use terway_types::{ClaimId, EniId, EniRecord, IntentToken, MacAddr, Timestamp};

use crate::classes::{ClassNo, Classes};
use crate::eni::Eni;
use crate::idle::Idle;
use crate::settings::PoolSettings;
use crate::tally::{Stand, Tally};

/// Names an ENI within one pool. Never given twice, so that whatever speaks of an ENI that is gone speaks of
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EniNo(pub(crate) u32);

/// What an ENI's entries in the indexes that change with its life depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Marks {
    stand: Stand,
    /// Its class, if it may serve anybody.
    class: Option<ClassNo>,
    due: Option<Timestamp>,
}

impl Marks {
    fn of(eni: &Eni, settings: &PoolSettings) -> Self {
        let class = eni.record.claim.is_none().then_some(eni.class);
        Self { stand: eni.stand(), class, due: eni.due(settings) }
    }
}

/// All ENIs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    next: u32,
    enis: BTreeMap<EniNo, Eni>,
    by_token: BTreeMap<IntentToken, EniNo>,
    by_id: BTreeMap<EniId, EniNo>,
    by_mac: BTreeMap<MacAddr, EniNo>,
    by_address: BTreeMap<IpAddr, EniNo>,
    by_claim: BTreeMap<ClaimId, EniNo>,
    /// Hardware addresses of NICs in the host's namespace, ours or not.
    links: BTreeSet<MacAddr>,
    pub(crate) classes: Classes,
    idle: Idle,
    due: BTreeSet<(Timestamp, EniNo)>,
    tally: Tally,
    /// Those that serve no claim.
    pooled: Tally,
    tallies: Vec<Tally>,
}

impl Books {
    pub(crate) fn get(&self, eni: EniNo) -> Option<&Eni> {
        self.enis.get(&eni)
    }

    pub(crate) fn of(&self, token: &IntentToken) -> Option<&Eni> {
        self.get(self.by_token(token)?)
    }

    /// All ENIs, sorted by token.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (EniNo, &Eni)> {
        self.by_token.values().filter_map(|eni| Some((*eni, self.enis.get(eni)?)))
    }

    pub(crate) fn numbers(&self) -> Vec<EniNo> {
        self.enis.keys().copied().collect()
    }

    /// All ENIs together.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// All that serve no claim.
    pub(crate) fn pooled(&self) -> &Tally {
        &self.pooled
    }

    /// Those of one class that serve no claim.
    pub(crate) fn tally_of(&self, class: ClassNo) -> Tally {
        self.tallies.get(class.index()).copied().unwrap_or_default()
    }

    pub(crate) fn by_token(&self, token: &IntentToken) -> Option<EniNo> {
        self.by_token.get(token).copied()
    }

    pub(crate) fn by_id(&self, id: &EniId) -> Option<EniNo> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn by_mac(&self, mac: MacAddr) -> Option<EniNo> {
        self.by_mac.get(&mac).copied()
    }

    pub(crate) fn by_address(&self, address: IpAddr) -> Option<EniNo> {
        self.by_address.get(&address).copied()
    }

    pub(crate) fn by_claim(&self, claim: &ClaimId) -> Option<EniNo> {
        self.by_claim.get(claim).copied()
    }

    pub(crate) fn link_present(&self, mac: MacAddr) -> bool {
        self.links.contains(&mac)
    }

    /// Remembers that a NIC came or went; tells whose it is.
    pub(crate) fn set_link(&mut self, mac: MacAddr, present: bool) -> Option<EniNo> {
        if present {
            self.links.insert(mac);
        } else {
            self.links.remove(&mac);
        }
        self.by_mac(mac)
    }

    /// The idle ENIs of one class.
    pub(crate) fn idle(&self, class: ClassNo) -> &[EniNo] {
        self.idle.of(class)
    }

    /// The classes that have an idle ENI.
    pub(crate) fn idle_classes(&self) -> impl Iterator<Item = ClassNo> + '_ {
        self.idle.classes()
    }

    /// Those with something due by now, the most overdue first.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<EniNo> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, eni)| *eni).collect()
    }

    /// When the next ENI has something due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn insert(&mut self, record: EniRecord, now: Timestamp, settings: &PoolSettings) -> EniNo {
        let number = EniNo(self.next);
        self.next += 1;
        let class = self.classes.intern(&record.vswitch, &record.security_groups);
        let eni = Eni::new(record, class, now);
        self.mark(number, Marks::of(&eni, settings));
        self.name(number, &eni.record);
        self.enis.insert(number, eni);
        number
    }

    pub(crate) fn remove(&mut self, number: EniNo, settings: &PoolSettings) -> Option<Eni> {
        let eni = self.enis.remove(&number)?;
        self.unmark(number, Marks::of(&eni, settings));
        self.unname(number, &eni.record);
        Some(eni)
    }

    /// Changes where an ENI is in its life. Unknown ones change nothing.
    pub(crate) fn edit(&mut self, number: EniNo, settings: &PoolSettings, change: impl FnOnce(&mut Eni)) {
        let Some(eni) = self.enis.get_mut(&number) else { return };
        let before = Marks::of(eni, settings);
        change(eni);
        let after = Marks::of(eni, settings);
        if before != after {
            self.unmark(number, before);
            self.mark(number, after);
        }
    }

    /// Changes what an ENI is: ids, addresses, vSwitch, groups, claim. Its token stays.
    pub(crate) fn identify(
        &mut self,
        number: EniNo,
        settings: &PoolSettings,
        change: impl FnOnce(&mut EniRecord),
    ) {
        let Some(mut eni) = self.enis.remove(&number) else { return };
        self.unmark(number, Marks::of(&eni, settings));
        self.unname(number, &eni.record);
        change(&mut eni.record);
        eni.class = self.classes.intern(&eni.record.vswitch, &eni.record.security_groups);
        self.mark(number, Marks::of(&eni, settings));
        self.name(number, &eni.record);
        self.enis.insert(number, eni);
    }

    /// Works out everything that depends on the settings again.
    pub(crate) fn resettle(&mut self, settings: &PoolSettings) {
        let due = |(number, eni): (&EniNo, &Eni)| eni.due(settings).map(|at| (at, *number));
        self.due = self.enis.iter().filter_map(due).collect();
    }

    fn mark(&mut self, number: EniNo, marks: Marks) {
        self.tally.add(marks.stand);
        if let Some(class) = marks.class {
            if self.tallies.len() <= class.index() {
                self.tallies.resize(class.index() + 1, Tally::default());
            }
            self.tallies[class.index()].add(marks.stand);
            self.pooled.add(marks.stand);
            if marks.stand == Stand::Idle {
                self.idle.insert(class, number);
            }
        }
        if let Some(at) = marks.due {
            self.due.insert((at, number));
        }
    }

    fn unmark(&mut self, number: EniNo, marks: Marks) {
        self.tally.remove(marks.stand);
        if let Some(class) = marks.class {
            self.tallies[class.index()].remove(marks.stand);
            self.pooled.remove(marks.stand);
            if marks.stand == Stand::Idle {
                self.idle.remove(class, number);
            }
        }
        if let Some(at) = marks.due {
            self.due.remove(&(at, number));
        }
    }

    fn name(&mut self, number: EniNo, record: &EniRecord) {
        self.by_token.insert(record.token.clone(), number);
        if let Some(id) = &record.id {
            self.by_id.insert(id.clone(), number);
        }
        if let Some(mac) = record.mac {
            self.by_mac.insert(mac, number);
        }
        for address in record.addresses.iter() {
            self.by_address.insert(address, number);
        }
        if let Some(claim) = &record.claim {
            self.by_claim.insert(claim.id.clone(), number);
        }
    }

    fn unname(&mut self, number: EniNo, record: &EniRecord) {
        drop_own(&mut self.by_token, &record.token, number);
        if let Some(id) = &record.id {
            drop_own(&mut self.by_id, id, number);
        }
        if let Some(mac) = &record.mac {
            drop_own(&mut self.by_mac, mac, number);
        }
        for address in record.addresses.iter() {
            drop_own(&mut self.by_address, &address, number);
        }
        if let Some(claim) = &record.claim {
            drop_own(&mut self.by_claim, &claim.id, number);
        }
    }

    /// Drops what does not decide the future: the indexes, what is only for people, times that are over. Looks ask
    /// how long before them something changed, if that is `recent`.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, now: Timestamp, recent: Option<Timestamp>) {
        (self.next, self.by_token, self.by_id, self.by_mac, self.by_address) = <_>::default();
        (self.by_claim, self.idle, self.due, self.tally, self.tallies) = <_>::default();
        self.pooled = Tally::default();
        // Of the times of other changes only their order counts.
        let changes: BTreeSet<_> = self.enis.values().map(|eni| eni.record.since).collect();
        for eni in self.enis.values_mut() {
            if recent.is_none_or(|recent| eni.record.since < recent) {
                eni.record.since = Timestamp(changes.range(..eni.record.since).count() as u64);
            }
            eni.forget_past(now);
        }
    }

    /// Whether the indexes say what a full look at every ENI says.
    #[cfg(test)]
    pub(crate) fn check(&self, settings: &PoolSettings) {
        let mut fresh = Self { links: self.links.clone(), classes: self.classes.clone(), ..Self::default() };
        for (number, eni) in &self.enis {
            assert_eq!(eni.class, fresh.classes.intern(&eni.record.vswitch, &eni.record.security_groups));
            fresh.mark(*number, Marks::of(eni, settings));
            fresh.name(*number, &eni.record);
        }
        assert_eq!((fresh.tally, fresh.pooled), (self.tally, self.pooled));
        for class in self.classes.numbers() {
            assert_eq!(fresh.tally_of(class), self.tally_of(class));
        }
        assert_eq!(fresh.idle.sorted(), self.idle.sorted());
        assert_eq!(fresh.due, self.due);
        assert_eq!(fresh.by_token, self.by_token);
        assert_eq!(fresh.by_id, self.by_id);
        assert_eq!(fresh.by_mac, self.by_mac);
        assert_eq!(fresh.by_claim, self.by_claim);
        for eni in self.enis.values() {
            let present = eni.record.mac.is_some_and(|mac| self.links.contains(&mac));
            assert_eq!(eni.link, present, "{}", eni.record.token);
        }
    }
}

fn drop_own<K: Ord>(index: &mut BTreeMap<K, EniNo>, key: &K, number: EniNo) {
    if index.get(key) == Some(&number) {
        index.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{record, settings};
    use terway_types::{AfterClaim, ClaimHold, EniPhase};

    fn ready(token: &str, last_byte: u8) -> EniRecord {
        EniRecord { mac: Some(MacAddr([2, 0, 0, 0, 0, last_byte])), ..record(token, EniPhase::Ready) }
    }

    #[test]
    fn idle_is_what_is_ready_with_its_link_and_without_a_claim() {
        let (mut books, settings) = (Books::default(), settings());
        let claim = Some(ClaimHold { id: "c".into(), then: AfterClaim::Keep });
        let records = [ready("a", 1), ready("b", 2), EniRecord { claim, ..ready("c", 3) }];
        let enis = records.map(|record| books.insert(record, Timestamp(1), &settings));
        let class = books.get(enis[0]).unwrap().class;
        assert_eq!(books.idle(class), []);
        for byte in 1..=3 {
            let eni = books.set_link(MacAddr([2, 0, 0, 0, 0, byte]), true).unwrap();
            books.edit(eni, &settings, |eni| eni.link = true);
        }
        assert_eq!(books.idle(class), &enis[..2]);
        assert_eq!((books.tally().idle, books.tally().linking), (2, 1));
        books.identify(enis[2], &settings, |record| record.claim = None);
        assert_eq!(books.idle(class), enis);
        books.identify(enis[0], &settings, |record| record.security_groups = vec!["sg-9".into()]);
        assert_eq!(books.idle(class), [enis[2], enis[1]]);
        books.remove(enis[1], &settings);
        assert_eq!(books.idle(class), [enis[2]]);
        books.check(&settings);
    }

    #[test]
    fn due_times_follow_every_edit() {
        let (mut books, settings) = (Books::default(), settings());
        let eni = books.insert(ready("a", 1), Timestamp(10), &settings);
        let at = Timestamp(10) + settings.link_timeout;
        assert_eq!(books.next_due(), Some(at));
        assert!(books.overdue(Timestamp(at.0 - 1)).is_empty());
        assert_eq!(books.overdue(at), [eni]);
        books.set_link(MacAddr([2, 0, 0, 0, 0, 1]), true);
        books.edit(eni, &settings, |eni| eni.link = true);
        assert_eq!(books.next_due(), None);
        books.check(&settings);
    }
}
