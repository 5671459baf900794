//! How many ENIs to create and whether to let one go: supply against demand, within the limits.

use crate::settings::PoolSettings;
use crate::tally::Tally;

/// What the numbers ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    /// ENIs wanted beyond those there are and those coming, before the limits.
    pub(crate) missing: u32,
    /// ENIs to create now.
    pub(crate) create: u32,
    /// Whether to let one idle ENI go.
    pub(crate) release: bool,
}

/// Weighs supply against demand.
///
/// ENIs in quarantine come back by themselves, and suspect ones mostly do, so they count for the low water mark: steady churn of pods
/// costs no cloud call. They do not count for pods that wait, who would wait longer than for a new ENI.
pub(crate) fn balance(tally: &Tally, waiters: u32, settings: &PoolSettings) -> Balance {
    let supply = tally.idle + tally.coming + tally.linking;
    let for_waiters = waiters.saturating_sub(supply);
    let for_mark = (waiters + settings.min_idle).saturating_sub(supply + tally.resting + tally.suspect);
    let missing = for_waiters.max(for_mark);
    let room = settings.max_enis.saturating_sub(tally.total());
    let slots = settings.parallel.saturating_sub(tally.coming);

    let surplus = waiters == 0 && tally.idle > settings.max_idle;
    let over_limit = tally.total() - tally.leaving > settings.max_enis;
    let release = tally.leaving == 0 && tally.idle > 0 && (surplus || over_limit);
    Balance { missing, create: missing.min(room).min(slots), release }
}

/// Whether an ENI that was just made is still worth attaching: those who waited for it may have gone.
/// `tally` counts it among those coming.
pub(crate) fn worth_attaching(tally: &Tally, waiters: u32, settings: &PoolSettings) -> bool {
    let others = tally.idle + tally.linking + tally.coming.saturating_sub(1);
    let in_limit = tally.total() - tally.leaving <= settings.max_enis;
    in_limit && others < waiters.saturating_add(settings.max_idle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    fn marks(min_idle: u32, max_idle: u32, max_enis: u32) -> PoolSettings {
        PoolSettings { min_idle, max_idle, max_enis, parallel: 3, ..settings() }
    }

    #[test]
    fn it_fills_up_to_the_low_mark_and_for_every_waiter() {
        let settings = marks(2, 3, 10);
        assert_eq!(balance(&Tally::default(), 0, &settings).create, 2);
        let tally = Tally { coming: 1, linking: 1, ..Tally::default() };
        assert_eq!(balance(&tally, 0, &settings).create, 0);
        assert_eq!(balance(&tally, 1, &settings).create, 1);
    }

    #[test]
    fn it_keeps_to_limit_and_parallelism() {
        let settings = marks(9, 9, 5);
        assert_eq!(balance(&Tally::default(), 0, &settings).create, 3);
        let tally = Tally { coming: 1, held: 3, ..Tally::default() };
        assert_eq!(balance(&tally, 7, &settings), Balance { missing: 15, create: 1, release: false });
        let tally = Tally { held: 4, leaving: 1, ..Tally::default() };
        assert_eq!(balance(&tally, 7, &settings).create, 0, "what leaves still takes its place");
    }

    #[test]
    fn quarantined_enis_serve_the_mark_but_not_the_waiters() {
        let settings = marks(2, 3, 10);
        let tally = Tally { resting: 2, ..Tally::default() };
        assert_eq!(balance(&tally, 0, &settings).create, 0);
        assert_eq!(balance(&tally, 1, &settings).create, 1);
        let tally = Tally { strayed: 2, ..Tally::default() };
        assert_eq!(balance(&tally, 0, &settings).create, 2);
    }

    #[test]
    fn surplus_goes_one_at_a_time() {
        let settings = marks(1, 2, 10);
        let idle = |idle, leaving| Tally { idle, leaving, ..Tally::default() };
        assert!(balance(&idle(3, 0), 0, &settings).release);
        assert!(!balance(&idle(3, 1), 0, &settings).release);
        assert!(!balance(&idle(2, 0), 0, &settings).release);
    }

    #[test]
    fn a_lowered_limit_lets_idle_enis_go_though_the_mark_asks_for_them() {
        let settings = marks(2, 4, 3);
        assert!(balance(&Tally { idle: 1, held: 3, ..Tally::default() }, 0, &settings).release);
        assert!(!balance(&Tally { held: 5, ..Tally::default() }, 0, &settings).release);
    }

    #[test]
    fn an_eni_nobody_waits_for_any_more_is_not_attached() {
        let settings = marks(0, 0, 10);
        let tally = Tally { coming: 1, ..Tally::default() };
        assert!(worth_attaching(&tally, 1, &settings));
        assert!(!worth_attaching(&tally, 0, &settings));
        assert!(worth_attaching(&tally, 0, &marks(0, 1, 10)));
        assert!(!worth_attaching(&Tally { held: 10, ..tally }, 1, &settings));
    }
}
