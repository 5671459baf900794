//! How many more pods the node can serve: published for the scheduler, whenever it changes.

use terway_types::Timestamp;

use crate::effect::Capacity;
use crate::engine::Pool;
use crate::routed::ranges;
use crate::sharing::sharing;
use crate::tally::Tally;
use crate::wishes::DEFAULT;

impl Pool {
    /// How many more pods the node can serve.
    pub(crate) fn capacity(&self, now: Timestamp) -> Capacity {
        if self.retired {
            return Capacity::default();
        }
        if ranges(&self.settings).is_some() {
            return self.routed_capacity();
        }
        let can_create = self.supply.can_create(self.wishes.get(DEFAULT), now);
        if sharing(&self.settings).is_some() {
            return self.shared_capacity(can_create);
        }
        capacity(self.books.tally(), can_create, self.limit(), self.supply.quota(now))
    }
}

/// The capacity by these numbers. `can_create` tells whether the cloud gives new ENIs, as far as known; if it
/// does, whatever is not held and not astray can be had in the end, up to the limit.
fn capacity(tally: &Tally, can_create: bool, limit: u32, quota: Option<u32>) -> Capacity {
    let now = tally.idle;
    let taken = tally.held + tally.strayed;
    let room = limit.min(quota.unwrap_or(limit)).saturating_sub(taken);
    let later = if can_create { room } else { (tally.spare() + tally.coming).min(room) };
    Capacity { now, later: later.max(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_net_of_what_cannot_come() {
        let tally = Tally { idle: 1, held: 2, strayed: 1, resting: 1, coming: 1, ..Tally::default() };
        assert_eq!(capacity(&tally, true, 8, None), Capacity { now: 1, later: 5 });
        assert_eq!(capacity(&tally, false, 8, None), Capacity { now: 1, later: 3 });
        assert_eq!(capacity(&tally, false, 8, Some(5)), Capacity { now: 1, later: 2 });
        assert_eq!(capacity(&tally, true, 8, Some(7)), Capacity { now: 1, later: 4 });
    }

    #[test]
    fn later_is_never_less_than_now() {
        let tally = Tally { idle: 2, held: 1, ..Tally::default() };
        assert_eq!(capacity(&tally, true, 1, None), Capacity { now: 2, later: 2 });
    }
}
