//! Brings supply and demand of addresses together: fills ENIs, makes new ones, lets go what is too much.

use terway_types::{EniRecord, IntentToken, PrefixPhase};

use crate::engine::Pool;
use crate::eni::Service;
use crate::eni_life::Step;
use crate::outbox::Outbox;
use crate::settings::Sharing;
use crate::sharing::demand::{Needs, needs};
use crate::sharing::sharing;
use crate::stock::{EniNo, PREFIX_V4, Shelf, Stage};
use crate::wishes::DEFAULT;

impl Pool {
    /// Asks for what is missing, lets go what is too much.
    pub(crate) fn balance_shared(&mut self, sharing: Sharing, out: &mut Outbox) {
        self.let_go_lost(out);
        self.let_go_frozen(out);
        let totals = *self.shared.stock.totals();
        self.pace.warm |= totals.idle >= self.settings.warm_up || self.is_full();
        let needs = needs(&totals, self.waiters.unclaimed(), self.pace.warm, &self.settings);
        if self.shared.gather.is_over(needs.missing > 0, self.now) {
            let missing = self.fill_enis(needs.missing, out);
            self.make_enis(missing, out);
        }
        self.shed(needs, sharing, out);
    }

    /// Whether an ENI that was just made is still worth attaching: those who waited for it may have gone.
    pub(crate) fn worth_opening(&self, token: &IntentToken) -> bool {
        let (tally, totals) = (self.books.tally(), self.shared.stock.totals());
        let in_limit = tally.total() - tally.leaving <= self.limit();
        let own = self.shared.stock.of(token).map_or(0, |shelf| {
            let pairs = shelf.pairs(&self.shared.stock.rules);
            pairs.idle + pairs.resting + pairs.coming
        });
        let others = (totals.idle + totals.coming).saturating_sub(own);
        let wanted = self.settings.max_idle.max(if self.pace.warm { 0 } else { self.settings.warm_up });
        in_limit && others < self.waiters.unclaimed().saturating_add(wanted)
    }

    /// Whether the node takes no more addresses, and none is on its way.
    fn is_full(&self) -> bool {
        self.room() == 0 && self.shared.stock.totals().coming == 0 && self.open_room() == 0
    }

    /// Asks for addresses on ENIs with room, as few calls as possible. Tells what is still missing.
    fn fill_enis(&mut self, mut missing: u32, out: &mut Outbox) -> u32 {
        while missing > 0 && self.shared.paused <= self.now {
            let (supply, now) = (&self.supply, self.now);
            let Some(no) = self.shared.stock.taker(|vswitch| supply.is_aside(vswitch, now)) else { break };
            let rules = self.shared.stock.rules;
            let Some(counts) = self.shared.stock.get(no).map(|shelf| shelf.for_more(missing, &rules)) else {
                break;
            };
            let gained = self.assign(no, counts, out);
            if gained == 0 {
                break;
            }
            missing = missing.saturating_sub(gained);
        }
        missing
    }

    /// Makes ENIs for what does not fit on those there are and those coming.
    fn make_enis(&mut self, missing: u32, out: &mut Outbox) {
        let rules = self.shared.stock.rules;
        let mut missing = missing.saturating_sub(self.shared.stock.totals().later);
        if self.shared.throttled && self.shared.paused > self.now {
            // Asking for new ENIs instead would only add to the calls.
            missing = missing.saturating_sub(self.open_room());
        }
        while missing > 0 {
            let tally = self.books.tally();
            if tally.total() >= self.limit() || self.free_slots() == 0 {
                return;
            }
            let wish = self.wishes.get(DEFAULT);
            let chosen = self.supply.choose(wish, self.now, &self.settings, &mut self.random);
            let Some(vswitch) = chosen.cloned() else { return };
            let counts = rules.for_new_eni(missing);
            missing = missing.saturating_sub(rules.full_eni().max(1));
            let groups = self.settings.security_groups.clone();
            let record = EniRecord { counts, ..self.intent(vswitch, groups) };
            let shelf = Shelf::new(record.token.clone(), record.vswitch.clone(), Stage::Creating, counts);
            self.shared.stock.insert(shelf);
            self.begin(record, Service::Shared, out);
        }
    }

    /// Pairs that ENIs in vSwitches with free addresses can take besides.
    pub(super) fn open_room(&self) -> u32 {
        let stock = &self.shared.stock;
        let open = stock.roomy().filter(|vswitch| !self.supply.is_aside(vswitch, self.now));
        open.fold(0, |sum, vswitch| sum.saturating_add(stock.room_in(vswitch)))
    }

    // ------------------------------------------------------------------ too much

    /// ENIs that the cloud says are gone leave as soon as nobody has an address of theirs.
    fn let_go_lost(&mut self, out: &mut Outbox) {
        while let Some(no) = self.shared.stock.lost() {
            if !self.let_go(no, out) {
                return;
            }
        }
    }

    /// Prefixes that take nobody new leave as soon as they are empty.
    fn let_go_frozen(&mut self, out: &mut Outbox) {
        while let Some(no) = self.shared.stock.leftover() {
            let empty = self.shared.stock.get(no).map(|shelf| shelf.empty_blocks(PrefixPhase::Frozen));
            let nets: Vec<_> = empty.into_iter().flatten().map(|block| block.net).collect();
            self.unassign(no, &[], &nets, out);
        }
    }

    fn shed(&mut self, needs: Needs, sharing: Sharing, out: &mut Outbox) {
        loop {
            let tally = self.books.tally();
            let over_limit = tally.total() - tally.leaving > self.limit();
            let Some(no) = self.shared.stock.unused(u32::MAX).filter(|_| over_limit) else { break };
            if !self.let_go(no, out) {
                break;
            }
        }
        let surplus = if self.can_shed(needs.surplus, sharing) { needs.surplus } else { 0 };
        let odd = self.odd(needs);
        if self.pace.sheds(surplus > 0 || odd.is_some(), true, self.now, &self.settings) {
            if let Some(no) = odd {
                self.shed_odd(no, out);
            }
            let mut left = surplus.min(self.shared.stock.totals().idle);
            loop {
                let gone = self.shed_once(left, sharing, out);
                left = left.saturating_sub(gone);
                if gone == 0 || left == 0 || !self.settings.release.quick {
                    break;
                }
            }
        }
        let mut left = self.next_batch(sharing);
        if left == 0 || !self.pace.reclaims(self.now, &self.settings, &mut self.random) {
            return;
        }
        while left > 0 {
            let gone = self.shed_once(left, sharing, out);
            if gone == 0 {
                break;
            }
            left = left.saturating_sub(gone);
        }
    }

    /// Idle pairs above the low water mark, if nobody waits for them and the pool was warm once.
    fn above_low(&self) -> u32 {
        if self.waiters.unclaimed() > 0 || !self.pace.warm {
            return 0;
        }
        self.shared.stock.totals().idle.saturating_sub(self.settings.min_idle)
    }

    /// Whether there is anything to reclaim.
    pub(super) fn can_reclaim(&self) -> bool {
        sharing(&self.settings).is_some_and(|sharing| self.next_batch(sharing) > 0)
    }

    /// How many pairs the next batch takes. Less than a prefix cannot go, so it may be more than a batch.
    fn next_batch(&self, sharing: Sharing) -> u32 {
        let Some(reclaim) = self.settings.reclaim else { return 0 };
        let above_low = self.above_low();
        let batches = [reclaim.batch.max(1).min(above_low), PREFIX_V4.min(above_low)];
        batches.into_iter().find(|batch| self.can_shed(*batch, sharing)).unwrap_or(0)
    }

    /// Whether surplus could go that has not gone.
    #[cfg(test)]
    pub(crate) fn can_shed_surplus(&self) -> bool {
        let needs =
            needs(self.shared.stock.totals(), self.waiters.unclaimed(), self.pace.warm, &self.settings);
        let surplus = sharing(&self.settings).is_some_and(|sharing| self.can_shed(needs.surplus, sharing));
        surplus || self.odd(needs).is_some() || self.can_reclaim()
    }

    /// An ENI with addresses whose other half is missing. While pairs are missing, the other half is asked for.
    fn odd(&self, needs: Needs) -> Option<EniNo> {
        self.shared.stock.odd().filter(|_| needs.missing == 0)
    }

    fn shed_odd(&mut self, no: EniNo, out: &mut Outbox) {
        let rules = self.shared.stock.rules;
        if let Some(singles) = self.shared.stock.get(no).map(|shelf| shelf.odd_ones(&rules)) {
            self.unassign(no, &singles, &[], out);
        }
    }

    /// Whether at most so many pairs can go at all: primary addresses and parts of prefixes cannot.
    fn can_shed(&self, at_most: u32, sharing: Sharing) -> bool {
        let stock = &self.shared.stock;
        let whole = stock.totals().enis > sharing.min_enis && stock.unused(at_most).is_some();
        let part = || {
            let shelf = stock.sparer().and_then(|no| stock.get(no));
            shelf.is_some_and(|shelf| shelf.can_give_back(at_most, &stock.rules))
        };
        at_most > 0 && (whole || part())
    }

    /// Lets at most so many pairs go by one call: a whole ENI if nobody uses it, else the longest idle addresses of
    /// the ENI that would give them last. Tells how many.
    fn shed_once(&mut self, at_most: u32, sharing: Sharing, out: &mut Outbox) -> u32 {
        if at_most == 0 {
            return 0;
        }
        let stock = &self.shared.stock;
        let before = stock.totals().idle;
        if stock.totals().enis > sharing.min_enis
            && let Some(no) = stock.unused(at_most)
            && self.let_go(no, out)
        {
            return before.saturating_sub(self.shared.stock.totals().idle).max(1);
        }
        let Some(no) = self.shared.stock.sparer() else { return 0 };
        let rules = self.shared.stock.rules;
        let Some((singles, nets)) = self.shared.stock.get(no).map(|shelf| shelf.for_less(at_most, &rules))
        else {
            return 0;
        };
        self.unassign(no, &singles, &nets, out);
        before.saturating_sub(self.shared.stock.totals().idle)
    }

    fn let_go(&mut self, no: EniNo, out: &mut Outbox) -> bool {
        let token = self.shared.stock.get(no).map(|shelf| &shelf.token);
        let Some(number) = token.and_then(|token| self.books.by_token(token)) else { return false };
        let gone = self.step(number, Step::Detach, out);
        if gone {
            self.advance(number, out);
        }
        gone
    }
}
