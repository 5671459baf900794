//! Supply against demand: what those who wait need, then what the stock of idle ENIs lacks. An idle ENI of the right
//! vSwitch is regrouped rather than another one made; at the limit an idle ENI makes room.

use std::collections::BTreeMap;

use terway_types::{EniRecord, SecurityGroupId, VSwitchId};

use crate::books::{Books, EniNo};
use crate::classes::ClassNo;
use crate::effect::Note;
use crate::engine::Pool;
use crate::eni::{Eni, Service};
use crate::eni_life::Step;
use crate::outbox::Outbox;
use crate::sharing::sharing;
use crate::supply::Job;
use crate::waiters::Line;
use crate::wishes::{DEFAULT, Wish, WishNo};

/// ENIs on their way that are meant for somebody already, by class. The others are anybody's.
#[derive(Default)]
struct Meant(BTreeMap<ClassNo, u32>);

impl Meant {
    fn extend(&mut self, class: Option<ClassNo>) {
        if let Some(class) = class {
            *self.0.entry(class).or_default() += 1;
        }
    }

    /// How many of a class are anybody's still.
    fn left(&self, class: ClassNo, books: &Books) -> u32 {
        let tally = books.tally_of(class);
        (tally.coming + tally.linking).saturating_sub(self.0.get(&class).copied().unwrap_or(0))
    }

    /// Takes up to `count` that fulfil a wish; tells how many are missing.
    fn take(&mut self, wish: &Wish, count: u32, books: &Books) -> u32 {
        wish.classes().fold(count, |missing, class| {
            let taken = missing.min(self.left(class, books));
            if taken > 0 {
                *self.0.entry(class).or_default() += taken;
            }
            missing - taken
        })
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
        self.provide_claims(out);
        self.watch_warm_up();
        if !self.can_provide() {
            return;
        }
        let mut meant = Meant::default();
        if self.waiters.unclaimed() > 0 {
            self.provide_lines(&mut meant, out);
        }
        self.provide_stock(&meant, out);
    }

    /// Whether anything could be done for anybody. Mostly nothing can while many wait: the limit is reached, or as
    /// much is under way as may be.
    fn can_provide(&self) -> bool {
        let may_create = || self.room() > 0 && self.free_slots() > 0 && self.supply.may_create(self.now);
        self.books.tally().idle > 0 || may_create()
    }

    /// For those who wait, in turns: nobody's many keep another's one waiting. ENIs in quarantine do not count, for
    /// they may take longer than new ones.
    fn provide_lines(&mut self, meant: &mut Meant, out: &mut Outbox) {
        let mut missing = |line: Line| {
            let missing = meant.take(self.wishes.get(line.wish), line.len, &self.books);
            (missing > 0).then_some((line.wish, missing))
        };
        let mut lines: Vec<(WishNo, u32)> = self.waiters.lines().filter_map(&mut missing).collect();
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
                    way => meant.extend(self.go(way, out)),
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

    /// Tells the class of the ENI that is on its way then.
    fn go(&mut self, way: Way, out: &mut Outbox) -> Option<ClassNo> {
        match way {
            Way::Regroup(eni, groups) => {
                self.regroup(eni, groups, out);
                self.books.get(eni).map(|eni| eni.class)
            }
            Way::Create(vswitch, groups) => {
                let class = self.books.classes.intern(&vswitch, &groups);
                let record = self.intent(vswitch, groups);
                self.begin(record, Service::Whole, out);
                Some(class)
            }
            Way::MakeRoom => None,
        }
    }

    /// What there is and comes for the low water mark. ENIs in quarantine come back by themselves, suspect ones
    /// mostly do, so they count: steady churn of pods costs no cloud call.
    fn stock(&self, meant: &Meant) -> u32 {
        let there = |class| {
            let tally = self.books.tally_of(class);
            tally.idle + tally.suspect + tally.resting + meant.left(class, &self.books)
        };
        self.wishes.get(DEFAULT).classes().map(there).sum()
    }

    fn provide_stock(&mut self, meant: &Meant, out: &mut Outbox) {
        for _ in self.stock(meant)..self.low_mark() {
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
        let opens = self.supply.opens(Job::Regroup).max(self.settled_from);
        if self.books.tally().idle == 0 || opens > self.now {
            return None;
        }
        let wanted = self.wishes.get(wish);
        let stock = self.wishes.get(DEFAULT);
        let fits = |class: &ClassNo| {
            let target = wanted.in_vswitch(&self.books.classes.get(*class).vswitch);
            target.is_some_and(|target| target != *class && !self.supply.is_barred(target, self.now))
        };
        let settled = |eni: &EniNo| self.books.get(*eni).is_some_and(|eni| eni.unsettled_until <= self.now);
        let classes: Vec<_> = self.books.idle_classes().filter(fits).collect();
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
        let other = self.books.idle_classes().find(|class| !stock.accepts(*class));
        let Some(class) = other.or_else(|| self.books.idle_classes().next()) else { return false };
        let Some(&eni) = self.books.idle(class).last() else { return false };
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
        self.supply.at_once(&self.settings).saturating_sub(self.books.tally().coming)
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
        let pooled = self.books.pooled();
        let others = (pooled.coming + pooled.linking).saturating_sub(1);
        if others.saturating_add(tally.idle) < self.waiters.unclaimed().saturating_add(self.high_mark()) {
            return true;
        }
        let mut meant = Meant::default();
        meant.extend(Some(eni.class));
        // Only those who want the same groups compete for it.
        let competing = self.wishes.with_groups(&self.books.classes.get(eni.class).groups);
        let mut lines: Vec<_> = competing.iter().filter_map(|wish| self.waiters.line(*wish)).collect();
        lines.sort_unstable_by_key(|line| line.first);
        let mut missing = false;
        for line in lines {
            let wish = self.wishes.get(line.wish);
            missing |= meant.take(wish, line.len, &self.books) > 0 && wish.accepts(eni.class);
        }
        missing || (self.wishes.get(DEFAULT).accepts(eni.class) && self.stock(&meant) < self.low_mark())
    }
}
