//! Supply against demand: what those who wait need, then what the stock of idle ENIs lacks. An idle ENI of the right
//! vSwitch is regrouped rather than another one made; at the limit an idle ENI makes room.

use terway_types::{EniRecord, SecurityGroupId, VSwitchId};

use crate::books::EniNo;
use crate::classes::ClassNo;
use crate::effect::Note;
use crate::engine::Pool;
use crate::eni::{Eni, Service};
use crate::eni_life::Step;
use crate::outbox::Outbox;
use crate::sharing::sharing;
use crate::supply::Job;
use crate::wishes::{DEFAULT, Wish, WishNo};

/// ENIs on their way, by class, that are not meant for anybody yet.
struct Coming(Vec<u32>);

impl Coming {
    /// Takes up to `count` that fulfil a wish; tells how many are missing.
    fn take(&mut self, wish: &Wish, count: u32) -> u32 {
        wish.classes().fold(count, |missing, class| {
            let Some(there) = self.0.get_mut(class.index()) else { return missing };
            let taken = missing.min(*there);
            *there -= taken;
            missing - taken
        })
    }

    /// As if one of this class were not on its way.
    fn leave_out(&mut self, class: ClassNo) {
        if let Some(there) = self.0.get_mut(class.index()) {
            *there = there.saturating_sub(1);
        }
    }

    fn of(&self, class: ClassNo) -> u32 {
        self.0.get(class.index()).copied().unwrap_or(0)
    }
}

/// How an ENI is provided.
enum Way {
    Regroup(EniNo, Vec<SecurityGroupId>),
    Create(VSwitchId, Vec<SecurityGroupId>),
    MakeRoom,
}

impl Pool {
    /// Provides what is missing.
    pub(crate) fn balance(&mut self, out: &mut Outbox) {
        if self.retired {
            return;
        }
        let mut coming = None;
        if !self.waiters.is_empty() {
            self.provide_claims(out);
            let mut on_the_way = self.coming();
            self.provide_lines(&mut on_the_way, out);
            coming = Some(on_the_way);
        }
        self.provide_stock(coming.as_ref(), out);
    }

    fn coming(&self) -> Coming {
        let count = |class| {
            let tally = self.books.tally_of(class);
            tally.coming + tally.linking
        };
        Coming(self.books.classes.numbers().map(count).collect())
    }

    /// For those who wait, in turns: nobody's many keep another's one waiting. ENIs in quarantine do not count, for
    /// they may take longer than new ones.
    fn provide_lines(&mut self, coming: &mut Coming, out: &mut Outbox) {
        let missing =
            |line: crate::waiters::Line| (line.wish, coming.take(self.wishes.get(line.wish), line.len));
        let mut lines: Vec<(WishNo, u32)> = self.waiters.lines().into_iter().map(missing).collect();
        // Each that leaves makes room for one that is missing already.
        let mut leaving = self.books.tally().leaving;
        while lines.iter().any(|(_, missing)| *missing > 0) {
            for (wish, missing) in lines.iter_mut().filter(|(_, missing)| *missing > 0) {
                *missing -= 1;
                let Some(way) = self.way(*wish) else {
                    *missing = 0;
                    continue;
                };
                match way {
                    Way::MakeRoom if leaving > 0 => leaving -= 1,
                    Way::MakeRoom => {
                        if !self.let_one_go(out) {
                            *missing = 0;
                        }
                    }
                    way => self.go(way, out),
                }
            }
        }
    }

    /// How an ENI for somebody who waits can be had now. Whatever is idle after serving serves nobody who waits.
    fn way(&mut self, wish: WishNo) -> Option<Way> {
        if let Some(eni) = self.regroupable(wish, true) {
            return Some(Way::Regroup(eni, self.wishes.get(wish).groups.clone()));
        }
        let wish = self.wishes.get(wish);
        if self.room() == 0 {
            return self.supply.can_create(wish, self.now).then_some(Way::MakeRoom);
        }
        let wish = self.creatable(wish)?;
        self.create_way(wish)
    }

    fn creatable(&self, wish: &Wish) -> Option<Wish> {
        (self.free_slots() > 0 && self.supply.can_create(wish, self.now)).then(|| wish.clone())
    }

    fn create_way(&mut self, wish: Wish) -> Option<Way> {
        let vswitch = self.supply.choose(&wish, self.now, &self.settings, &mut self.random)?.clone();
        Some(Way::Create(vswitch, wish.groups))
    }

    fn go(&mut self, way: Way, out: &mut Outbox) {
        match way {
            Way::Regroup(eni, groups) => drop(self.regroup(eni, groups, out)),
            Way::Create(vswitch, groups) => {
                let record = self.intent(vswitch, groups);
                self.begin(record, Service::Whole, out);
            }
            Way::MakeRoom => {}
        }
    }

    /// What there is and comes for the low water mark. ENIs in quarantine come back by themselves, suspect ones
    /// mostly do, so they count: steady churn of pods costs no cloud call.
    fn stock(&self, coming: Option<&Coming>) -> u32 {
        let there = |class| {
            let tally = self.books.tally_of(class);
            let on_the_way = coming.map_or(tally.coming + tally.linking, |coming| coming.of(class));
            tally.idle + tally.suspect + tally.resting + on_the_way
        };
        self.wishes.get(DEFAULT).classes().map(there).sum()
    }

    fn provide_stock(&mut self, coming: Option<&Coming>, out: &mut Outbox) {
        self.watch_warm_up();
        for _ in self.stock(coming)..self.low_mark() {
            let way = if let Some(eni) = self.regroupable(DEFAULT, false) {
                Some(Way::Regroup(eni, self.wishes.get(DEFAULT).groups.clone()))
            } else if self.room() > 0
                && let Some(wish) = self.creatable(self.wishes.get(DEFAULT))
            {
                self.create_way(wish)
            } else {
                None
            };
            let Some(way) = way else { return };
            self.go(way, out);
        }
    }

    /// An idle ENI that only lacks the right groups. Those of the stock only if `stock_too`, and last.
    fn regroupable(&self, wish: WishNo, stock_too: bool) -> Option<EniNo> {
        if self.books.tally().idle == 0 || self.supply.opens(Job::Regroup) > self.now {
            return None;
        }
        let wanted = self.wishes.get(wish);
        let stock = self.wishes.get(DEFAULT);
        let fits = |class: &ClassNo| {
            let target = wanted.in_vswitch(&self.books.classes.get(*class).vswitch);
            target.is_some_and(|target| target != *class && !self.supply.is_barred(target, self.now))
        };
        let settled = |eni: &EniNo| self.books.get(*eni).is_some_and(|eni| eni.unsettled_until <= self.now);
        let classes: Vec<_> = self.books.classes.numbers().filter(fits).collect();
        let of_stock = |class: &ClassNo| stock.accepts(*class);
        let others = classes.iter().filter(|class| !of_stock(class));
        let stocked = classes.iter().filter(|class| stock_too && of_stock(class));
        others.chain(stocked).find_map(|class| self.books.idle(*class).iter().copied().find(settled))
    }

    /// Records the intent to own an ENI and starts on it.
    pub(crate) fn begin(&mut self, record: EniRecord, service: Service, out: &mut Outbox) {
        if record.id.is_none() {
            self.supply.asked(&record.vswitch);
        }
        out.note(Note::Phase {
            token: record.token.clone(),
            eni: record.id.clone(),
            from: "",
            to: record.phase.name(),
        });
        let number = self.books.insert(record, self.now, &self.settings);
        self.books.edit(number, &self.settings, |eni| eni.service = service);
        out.put_eni(number);
        self.advance(number, out);
    }

    /// Lets an idle ENI go, one that is not of the stock if there is one. Tells whether it did.
    pub(crate) fn let_one_go(&mut self, out: &mut Outbox) -> bool {
        let stock = self.wishes.get(DEFAULT);
        let mut classes: Vec<_> = self.books.classes.numbers().collect();
        classes.sort_by_key(|class| stock.accepts(*class));
        let Some(eni) = classes.into_iter().find_map(|class| self.books.idle(class).last().copied()) else {
            return false;
        };
        let gone = self.step(eni, Step::Detach, out);
        self.advance(eni, out);
        gone
    }

    /// Whether one more ENI can be had for somebody who waits; if not, an idle one makes room.
    pub(crate) fn has_room_for_waiter(&mut self, out: &mut Outbox) -> bool {
        if self.room() == 0 && self.books.tally().leaving == 0 {
            self.let_one_go(out);
        }
        self.room() > 0
    }

    /// How many more ENIs the node takes.
    pub(crate) fn room(&self) -> u32 {
        self.limit().saturating_sub(self.books.tally().total())
    }

    /// How many more ENIs may be under way.
    pub(crate) fn free_slots(&self) -> u32 {
        self.settings.parallel.saturating_sub(self.books.tally().coming)
    }

    /// Whether an ENI that is being made, sought or attached is still wanted: those who waited for it may have
    /// gone.
    pub(crate) fn wanted(&self, eni: &Eni) -> bool {
        if let Some(claim) = &eni.record.claim {
            return self.waiters.of_claim(&claim.id).is_some();
        }
        if sharing(&self.settings).is_some() {
            return !self.retired && self.worth_opening(&eni.record.token);
        }
        let tally = self.books.tally();
        if self.retired || tally.total() - tally.leaving > self.limit() {
            return false;
        }
        // Whatever is made because it is missing must be wanted once it is there, or it would be made for ever. So
        // the same is asked as before it was made: what is missing without it?
        let mut coming = self.coming();
        coming.leave_out(eni.class);
        let all: u32 = coming.0.iter().sum();
        if all.saturating_add(tally.idle) < self.waiters.unclaimed().saturating_add(self.high_mark()) {
            return true;
        }
        let mut missing = false;
        for line in self.waiters.lines() {
            let wish = self.wishes.get(line.wish);
            missing |= coming.take(wish, line.len) > 0 && wish.accepts(eni.class);
        }
        missing
            || (self.wishes.get(DEFAULT).accepts(eni.class) && self.stock(Some(&coming)) < self.low_mark())
    }
}
