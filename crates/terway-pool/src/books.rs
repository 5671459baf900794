//! All ENIs, and the indexes that keep decisions flat: by token, by MAC, idle ones by age, those with
//! something due by time, and the tally. An ENI is changed only through [`Books::edit`], so the indexes
//! cannot go stale.

use std::collections::{BTreeMap, BTreeSet};

use terway_types::{IntentToken, MacAddr, Timestamp};

use crate::eni::Eni;
use crate::settings::PoolSettings;
use crate::tally::{Stand, Tally};

/// What an ENI's entries in the indexes depend on.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    stand: Stand,
    since: Timestamp,
    due: Option<Timestamp>,
    mac: Option<MacAddr>,
}

impl Marks {
    fn of(eni: &Eni, settings: &PoolSettings) -> Self {
        Self { stand: eni.stand(), since: eni.record.since, due: eni.due(settings), mac: eni.record.mac }
    }
}

/// All ENIs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    enis: BTreeMap<IntentToken, Eni>,
    by_mac: BTreeMap<MacAddr, IntentToken>,
    /// Hardware addresses of NICs in the host's namespace, ours or not.
    links: BTreeSet<MacAddr>,
    idle: BTreeSet<(Timestamp, IntentToken)>,
    due: BTreeSet<(Timestamp, IntentToken)>,
    tally: Tally,
}

impl Books {
    pub(crate) fn get(&self, token: &IntentToken) -> Option<&Eni> {
        self.enis.get(token)
    }

    /// All ENIs, sorted by token.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Eni> {
        self.enis.values()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn owner_of(&self, mac: MacAddr) -> Option<&IntentToken> {
        self.by_mac.get(&mac)
    }

    pub(crate) fn link_present(&self, mac: MacAddr) -> bool {
        self.links.contains(&mac)
    }

    /// Remembers that a NIC came or went; tells whose it is.
    pub(crate) fn set_link(&mut self, mac: MacAddr, present: bool) -> Option<IntentToken> {
        if present {
            self.links.insert(mac);
        } else {
            self.links.remove(&mac);
        }
        self.by_mac.get(&mac).cloned()
    }

    /// The ENI that has been idle longest.
    pub(crate) fn longest_idle(&self) -> Option<&IntentToken> {
        self.idle.first().map(|(_, token)| token)
    }

    /// The ENI that has been idle shortest.
    pub(crate) fn shortest_idle(&self) -> Option<&IntentToken> {
        self.idle.last().map(|(_, token)| token)
    }

    /// Those with something due by now, the most overdue first.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<IntentToken> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, token)| token.clone()).collect()
    }

    /// When the next ENI has something due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn insert(&mut self, eni: Eni, settings: &PoolSettings) {
        let token = eni.record.token.clone();
        self.mark(&token, &Marks::of(&eni, settings));
        self.enis.insert(token, eni);
    }

    pub(crate) fn remove(&mut self, token: &IntentToken, settings: &PoolSettings) -> Option<Eni> {
        let eni = self.enis.remove(token)?;
        self.unmark(token, &Marks::of(&eni, settings));
        Some(eni)
    }

    /// Changes an ENI. Unknown tokens change nothing.
    pub(crate) fn edit(
        &mut self,
        token: &IntentToken,
        settings: &PoolSettings,
        change: impl FnOnce(&mut Eni),
    ) {
        let Some(eni) = self.enis.get_mut(token) else { return };
        let before = Marks::of(eni, settings);
        change(eni);
        let after = Marks::of(eni, settings);
        if before != after {
            self.unmark(token, &before);
            self.mark(token, &after);
        }
    }

    /// Works out everything that depends on the settings again.
    pub(crate) fn resettle(&mut self, settings: &PoolSettings) {
        self.due = self
            .enis
            .iter()
            .filter_map(|(token, eni)| eni.due(settings).map(|at| (at, token.clone())))
            .collect();
    }

    fn mark(&mut self, token: &IntentToken, marks: &Marks) {
        self.tally.add(marks.stand);
        if marks.stand == Stand::Idle {
            self.idle.insert((marks.since, token.clone()));
        }
        if let Some(at) = marks.due {
            self.due.insert((at, token.clone()));
        }
        if let Some(mac) = marks.mac {
            self.by_mac.insert(mac, token.clone());
        }
    }

    fn unmark(&mut self, token: &IntentToken, marks: &Marks) {
        self.tally.remove(marks.stand);
        self.idle.remove(&(marks.since, token.clone()));
        if let Some(at) = marks.due {
            self.due.remove(&(at, token.clone()));
        }
        if let Some(mac) = marks.mac.filter(|mac| self.by_mac.get(mac) == Some(token)) {
            self.by_mac.remove(&mac);
        }
    }

    /// Whether the indexes say what a full look at every ENI says.
    #[cfg(test)]
    pub(crate) fn check(&self, settings: &PoolSettings) {
        let mut fresh = Self { links: self.links.clone(), ..Self::default() };
        for eni in self.enis.values() {
            fresh.insert(eni.clone(), settings);
        }
        assert_eq!(fresh.tally, self.tally);
        assert_eq!(fresh.idle, self.idle);
        assert_eq!(fresh.due, self.due);
        assert_eq!(fresh.by_mac, self.by_mac);
        for eni in self.enis.values() {
            let present = eni.record.mac.is_some_and(|mac| self.links.contains(&mac));
            assert_eq!(eni.link, present, "{}", eni.record.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{record, settings};
    use terway_types::EniPhase;

    fn ready(token: &str, since: u64, last_byte: u8) -> Eni {
        let mut record = record(token, EniPhase::Ready);
        record.since = Timestamp(since);
        record.mac = Some(MacAddr([2, 0, 0, 0, 0, last_byte]));
        Eni::new(record, Timestamp(since))
    }

    #[test]
    fn the_one_idle_longest_comes_first_and_one_without_link_not_at_all() {
        let (mut books, settings) = (Books::default(), settings());
        for (token, since, byte) in [("a", 30, 1), ("b", 10, 2), ("c", 20, 3)] {
            books.insert(ready(token, since, byte), &settings);
        }
        assert_eq!(books.longest_idle(), None);
        for byte in 1..=3 {
            let token = books.set_link(MacAddr([2, 0, 0, 0, 0, byte]), true).unwrap();
            books.edit(&token, &settings, |eni| eni.link = true);
        }
        assert_eq!(books.longest_idle(), Some(&IntentToken::from("b")));
        assert_eq!(books.shortest_idle(), Some(&IntentToken::from("a")));
        assert_eq!(books.tally().idle, 3);
        books.remove(&IntentToken::from("b"), &settings);
        assert_eq!(books.longest_idle(), Some(&IntentToken::from("c")));
        books.check(&settings);
    }

    #[test]
    fn due_times_follow_every_edit() {
        let (mut books, settings) = (Books::default(), settings());
        books.insert(ready("a", 10, 1), &settings);
        let at = Timestamp(10) + settings.link_timeout;
        assert_eq!(books.next_due(), Some(at));
        assert!(books.overdue(Timestamp(at.0 - 1)).is_empty());
        assert_eq!(books.overdue(at), [IntentToken::from("a")]);
        books.set_link(MacAddr([2, 0, 0, 0, 0, 1]), true);
        books.edit(&"a".into(), &settings, |eni| eni.link = true);
        assert_eq!(books.next_due(), None);
        books.check(&settings);
    }
}
