//! How many pairs are missing or too many, and the moment for which demand is gathered before the cloud is asked.

use std::time::Duration;

use terway_types::Timestamp;

use crate::settings::PoolSettings;
use crate::stock::Totals;

/// How long demand is gathered. Next to the seconds an ENI takes it is nothing, and a burst of pods arrives within.
const MOMENT: Duration = Duration::from_millis(10);

/// What the numbers ask for, in pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Wanted beyond those there are and those asked for.
    pub(crate) missing: u32,
    /// Idle beyond the high water mark.
    pub(crate) surplus: u32,
}

/// Weighs supply against demand.
///
/// Addresses in quarantine come back by themselves, so they count for the low water mark: steady churn of pods
/// costs no cloud call. They do not count for pods that wait.
pub(crate) fn needs(totals: &Totals, waiters: u32, warm: bool, settings: &PoolSettings) -> Needs {
    let warm_up = if warm { 0 } else { settings.warm_up };
    let (low, high) = (settings.min_idle.max(warm_up), settings.max_idle.max(warm_up));
    let supply = totals.idle.saturating_add(totals.coming);
    let for_waiters = waiters.saturating_sub(supply);
    let for_mark = waiters.saturating_add(low).saturating_sub(supply.saturating_add(totals.resting));
    let surplus = if waiters == 0 { totals.idle.saturating_sub(high) } else { 0 };
    Needs { missing: for_waiters.max(for_mark), surplus }
}

/// Since when something is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gather {
    since: Option<Timestamp>,
}

impl Gather {
    /// Whether it is time to ask. Nothing missing ends the gathering.
    pub(crate) fn is_over(&mut self, missing: bool, now: Timestamp) -> bool {
        if !missing {
            self.since = None;
            return false;
        }
        now >= *self.since.get_or_insert(now) + MOMENT
    }

    /// When it is time to ask, if that is later than now.
    pub(crate) fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.since.map(|since| since + MOMENT).filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    fn of(totals: Totals, waiters: u32, warm: bool) -> (u32, u32) {
        let settings = PoolSettings { min_idle: 3, max_idle: 5, warm_up: 20, ..settings() };
        let needs = needs(&totals, waiters, warm, &settings);
        (needs.missing, needs.surplus)
    }

    #[test]
    fn the_marks_rule_and_before_them_the_warm_up() {
        assert_eq!(of(Totals::default(), 0, true), (3, 0));
        assert_eq!(of(Totals::default(), 0, false), (20, 0));
        assert_eq!(of(Totals { idle: 12, ..Totals::default() }, 0, true), (0, 7));
        assert_eq!(of(Totals { idle: 12, ..Totals::default() }, 0, false), (8, 0));
        assert_eq!(of(Totals { idle: 1, coming: 1, ..Totals::default() }, 0, true), (1, 0));
    }

    #[test]
    fn resting_addresses_serve_the_mark_but_not_those_who_wait() {
        assert_eq!(of(Totals { resting: 3, ..Totals::default() }, 0, true), (0, 0));
        assert_eq!(of(Totals { resting: 9, ..Totals::default() }, 4, true), (4, 0));
        assert_eq!(of(Totals { resting: 1, coming: 2, ..Totals::default() }, 4, true), (4, 0));
    }

    #[test]
    fn demand_is_gathered_once() {
        let mut gather = Gather::default();
        assert!(!gather.is_over(true, Timestamp(100)));
        assert_eq!(gather.ends(Timestamp(100)), Some(Timestamp(110)));
        assert!(!gather.is_over(true, Timestamp(109)));
        assert!(gather.is_over(true, Timestamp(110)));
        assert!(gather.is_over(true, Timestamp(200)), "what is still missing is not gathered again");
        assert_eq!(gather.ends(Timestamp(200)), None);
        assert!(!gather.is_over(false, Timestamp(200)));
        assert!(!gather.is_over(true, Timestamp(201)));
    }
}
