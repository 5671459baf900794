//! What looks have shown so far. One look may be stale or partial, so a difference acts only when two looks apart
//! by more than a read can be stale have shown it, both begun after the subject's last change. Whatever a look
//! does not show again is forgotten.
//!
//! That something is missing needs more: the first look may show the time before the last change and the second one
//! may be partial. So a look that is too early to be fresh says nothing of what it misses.

use std::collections::BTreeMap;
use std::time::Duration;

use terway_types::Timestamp;

/// A difference that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sight<D> {
    difference: D,
    /// When the first look began that showed it.
    first: Timestamp,
    /// Whether it was confirmed by a later look.
    confirmed: bool,
}

/// What a look makes of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict<D> {
    pub(crate) difference: D,
    /// Whether two looks apart have shown it.
    pub(crate) confirmed: bool,
}

/// What one witness has shown, by subject.
#[derive(Clone, Debug)]
pub(crate) struct Sightings<S, D> {
    sights: BTreeMap<S, Vec<Sight<D>>>,
    /// When the last look began.
    last: Timestamp,
    /// From when on a look may say what the last one was too early for.
    early: Option<Timestamp>,
}

impl<S, D> Default for Sightings<S, D> {
    fn default() -> Self {
        Self { sights: BTreeMap::new(), last: Timestamp(0), early: None }
    }
}

/// A look while it is compared. What it neither shows nor passes by the time it is dropped is forgotten.
#[derive(Debug)]
pub(crate) struct Look<'a, S, D> {
    store: &'a mut Sightings<S, D>,
    before: BTreeMap<S, Vec<Sight<D>>>,
    began: Timestamp,
    consistency: Duration,
}

impl<S: Ord, D: PartialEq + Clone> Sightings<S, D> {
    /// Takes a look. `None`: it began before the one taken last, and shows nothing new.
    pub(crate) fn look(
        &mut self,
        began: Timestamp,
        now: Timestamp,
        consistency: Duration,
    ) -> Option<Look<'_, S, D>> {
        if self.last > now {
            // The clock was set back. What was seen by the old time proves nothing by the new one.
            *self = Self::default();
        }
        if began < self.last {
            return None;
        }
        (self.last, self.early) = (began, None);
        let before = std::mem::take(&mut self.sights);
        Some(Look { store: self, before, began, consistency })
    }

    /// When a further look may confirm something, if anything waits for that.
    pub(crate) fn wants_look(&self, consistency: Duration) -> Option<Timestamp> {
        let open = self.sights.values().flatten().filter(|sight| !sight.confirmed);
        open.map(|sight| sight.first + consistency).chain(self.early).min()
    }

    /// Drops what does not decide the future. No look that is yet to come began before `oldest`.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, oldest: Option<Timestamp>) {
        self.early = None;
        if oldest.is_none_or(|oldest| self.last <= oldest) {
            self.last = Timestamp(0);
        }
    }

    /// When the first of the looks began that show this of the subject.
    pub(crate) fn first(&self, subject: &S, difference: &D) -> Option<Timestamp> {
        let sights = self.sights.get(subject)?;
        sights.iter().find(|sight| sight.difference == *difference).map(|sight| sight.first)
    }
}

impl<S: Ord, D: PartialEq + Clone> Look<'_, S, D> {
    /// Whether the look may speak about something that last changed at `since`.
    pub(crate) fn is_witness(&self, since: Timestamp) -> bool {
        self.began > since
    }

    /// Whether the look may say that something is missing that last changed at `since`. If not, a later one is
    /// wanted.
    pub(crate) fn may_miss(&mut self, since: Timestamp) -> bool {
        let fresh = since + self.consistency;
        if self.began < fresh {
            self.store.early = Some(self.store.early.map_or(fresh, |early| early.min(fresh)));
        }
        self.began >= fresh
    }

    /// The look shows these differences of the subject, and no others. `since` is the subject's last change,
    /// `earlier` when another witness showed the same.
    pub(crate) fn shows(
        &mut self,
        subject: S,
        differences: Vec<D>,
        since: Timestamp,
        earlier: Option<Timestamp>,
    ) -> Vec<Verdict<D>> {
        let before = self.before.remove(&subject).unwrap_or_default();
        let (mut sights, mut verdicts) = (Vec::new(), Vec::new());
        for difference in differences {
            let same = before.iter().find(|sight| sight.difference == difference && sight.first > since);
            let others = earlier.filter(|at| *at > since).unwrap_or(self.began);
            let first = same.map_or(self.began, |sight| sight.first).min(others);
            let apart = first + self.consistency <= self.began && first < self.began;
            let confirmed = apart || same.is_some_and(|sight| sight.confirmed);
            verdicts.push(Verdict { difference: difference.clone(), confirmed });
            sights.push(Sight { difference, first, confirmed });
        }
        if !sights.is_empty() {
            self.store.sights.insert(subject, sights);
        }
        verdicts
    }

    /// The look says nothing about the subject; what was seen of it before stays.
    pub(crate) fn passes(&mut self, subject: S) {
        if let Some(sights) = self.before.remove(&subject) {
            self.store.sights.insert(subject, sights);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSISTENCY: Duration = Duration::from_millis(10);

    fn show(seen: &mut Sightings<u8, char>, began: u64, differences: &[char], since: u64) -> Vec<bool> {
        let Some(mut look) = seen.look(Timestamp(began), Timestamp(began), CONSISTENCY) else {
            return Vec::new();
        };
        let verdicts = look.shows(1, differences.to_vec(), Timestamp(since), None);
        verdicts.into_iter().map(|verdict| verdict.confirmed).collect()
    }

    #[test]
    fn two_looks_apart_confirm() {
        let mut seen = Sightings::default();
        assert_eq!(show(&mut seen, 100, &['a'], 50), [false]);
        assert_eq!(seen.wants_look(CONSISTENCY), Some(Timestamp(110)));
        assert_eq!(show(&mut seen, 109, &['a'], 50), [false], "too close");
        assert_eq!(show(&mut seen, 110, &['a'], 50), [true], "apart from the first");
        assert_eq!(seen.wants_look(CONSISTENCY), None);
        assert_eq!(show(&mut seen, 111, &['a'], 50), [true]);
    }

    #[test]
    fn a_look_without_it_forgets_it() {
        let mut seen = Sightings::default();
        assert_eq!(show(&mut seen, 100, &['a', 'b'], 50), [false, false]);
        assert_eq!(show(&mut seen, 110, &['b'], 50), [true]);
        assert_eq!(show(&mut seen, 120, &['a'], 50), [false]);
        seen.look(Timestamp(130), Timestamp(130), CONSISTENCY);
        assert_eq!(show(&mut seen, 140, &['a'], 50), [false], "a look in between did not show the subject");
    }

    #[test]
    fn what_was_seen_before_the_last_change_does_not_count() {
        let mut seen = Sightings::default();
        assert_eq!(show(&mut seen, 100, &['a'], 50), [false]);
        assert_eq!(show(&mut seen, 110, &['a'], 100), [false]);
        assert_eq!(show(&mut seen, 120, &['a'], 100), [true]);
    }

    #[test]
    fn a_look_that_says_nothing_changes_nothing() {
        let mut seen = Sightings::default();
        assert_eq!(show(&mut seen, 100, &['a'], 50), [false]);
        seen.look(Timestamp(105), Timestamp(105), CONSISTENCY).unwrap().passes(1);
        assert_eq!(show(&mut seen, 110, &['a'], 50), [true]);
    }

    #[test]
    fn looks_out_of_order_are_dropped_and_a_clock_set_back_starts_anew() {
        let mut seen = Sightings::default();
        assert_eq!(show(&mut seen, 100, &['a'], 50), [false]);
        assert!(seen.look(Timestamp(99), Timestamp(120), CONSISTENCY).is_none());
        assert_eq!(show(&mut seen, 20, &['a'], 5), [false], "the clock stands at 20 again");
        assert_eq!(show(&mut seen, 30, &['a'], 5), [true]);
    }

    #[test]
    fn a_look_that_may_show_the_time_before_misses_nothing_and_wants_another() {
        let mut seen: Sightings<u8, char> = Sightings::default();
        let mut misses = |began| {
            let may =
                seen.look(Timestamp(began), Timestamp(began), CONSISTENCY).unwrap().may_miss(Timestamp(95));
            (may, seen.wants_look(CONSISTENCY))
        };
        assert_eq!(misses(104), (false, Some(Timestamp(105))));
        assert_eq!(misses(105), (true, None));
    }

    #[test]
    fn another_witness_may_be_the_first() {
        let mut seen: Sightings<u8, char> = Sightings::default();
        let mut look = seen.look(Timestamp(110), Timestamp(110), CONSISTENCY).unwrap();
        let mut confirmed = |subject, since, earlier: u64| {
            look.shows(subject, vec!['a'], Timestamp(since), Some(Timestamp(earlier)))[0].confirmed
        };
        assert!(confirmed(1, 50, 100));
        assert!(!confirmed(2, 50, 101), "too close");
        assert!(!confirmed(3, 100, 100), "before the last change");
    }
}
