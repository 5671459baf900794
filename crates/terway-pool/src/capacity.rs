//! How many more pods the node can serve: published for the scheduler, whenever it changes.

use crate::effect::Capacity;
use crate::settings::PoolSettings;
use crate::tally::Tally;

/// The capacity by these numbers. `can_create` tells whether the cloud gives new ENIs, as far as known; if it
/// does, whatever is not held and not astray can be had in the end, up to the limit.
pub(crate) fn capacity(tally: &Tally, can_create: bool, settings: &PoolSettings) -> Capacity {
    let now = tally.idle;
    let later = if can_create {
        settings.max_enis.saturating_sub(tally.held + tally.strayed)
    } else {
        now + tally.suspect + tally.linking + tally.coming + tally.resting
    };
    Capacity { now, later: later.max(now) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn it_is_net_of_what_cannot_come() {
        let settings = PoolSettings { max_enis: 8, ..settings() };
        let tally = Tally { idle: 1, held: 2, strayed: 1, resting: 1, coming: 1, ..Tally::default() };
        assert_eq!(capacity(&tally, true, &settings), Capacity { now: 1, later: 5 });
        assert_eq!(capacity(&tally, false, &settings), Capacity { now: 1, later: 3 });
    }

    #[test]
    fn later_is_never_less_than_now() {
        let settings = PoolSettings { max_enis: 1, ..settings() };
        let tally = Tally { idle: 2, held: 1, ..Tally::default() };
        assert_eq!(capacity(&tally, true, &settings), Capacity { now: 2, later: 2 });
    }
}
