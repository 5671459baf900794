//! Everything that may happen next in a small world, each with its price: what is no part of a quiet life costs one
//! fault, and the search bounds the faults of a path.

use std::time::Duration;

use terway_types::{CloudFailureKind as Kind, Timestamp};

use super::{Demand, Fate, World};
use crate::exhaustive::canonical::canonical;
use crate::exhaustive::search::Explored;
use crate::histories::deed::Deed;
use crate::random::Random;
use crate::testing::key;
use crate::{ClaimFate, CloudAction, Effect, Event};

/// Time passes in steps of this many milliseconds: of a time in between the pool hears at the next full one.
pub(crate) const GRAIN: u64 = 20;

/// What the search chooses from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// Attachments.
    pub(crate) keys: u8,
    /// How long askers wait, in milliseconds.
    pub(crate) patience: u64,
    /// Events may be handled before the effects of earlier ones are executed, as one fault.
    pub(crate) lag: bool,
    /// What the last attachment asks for.
    pub(crate) demand: Demand,
    /// Somebody may look at the cloud, as one fault: fresh, as stale as may be, or missing everything.
    pub(crate) looks: bool,
    /// The node may go away, as one fault.
    pub(crate) retires: bool,
    /// Anything else may go wrong. If not, faults are looks and the node's end alone.
    pub(crate) mishaps: bool,
}

/// What happens to the effects of a deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// All are executed.
    Run,
    /// So many are executed; then the daemon dies and starts again.
    Die(usize),
    /// All are executed, but whoever asked has gone.
    Deaf,
    /// They wait; something else happens first.
    Lag,
}

/// One step of a search: a deed, and what happens to its effects.
#[derive(Clone, Debug)]
pub(crate) struct Step<D> {
    pub(crate) deed: D,
    /// What the pool's random choices start from.
    pub(crate) luck: u64,
    pub(crate) after: After,
}

impl Explored for World {
    type Deed = Deed;
    type Scope = Scope;

    fn begin(&mut self, deed: &Deed, luck: u64) {
        self.pool.random = Random::new(luck, Timestamp(0));
        self.enact(deed.clone());
    }

    fn lucks(&self, deed: &Deed) -> u64 {
        let choice = matches!(deed, Deed::Allocate(..)) && self.pool.books.tally().idle > 1;
        if choice { 4 } else { 1 }
    }

    fn finish(&mut self, after: After) {
        match after {
            After::Lag => return,
            After::Die(effects) => self.fuse = Some(effects),
            After::Deaf => self.go_deaf(),
            After::Run => {}
        }
        self.execute(usize::MAX);
    }

    fn deeds(&self, scope: Scope) -> Vec<(Deed, u32)> {
        let mut deeds = self.all_deeds(scope);
        let kept = |deed: &Deed| matches!(deed, Deed::Look(..) | Deed::Retire);
        deeds.retain(|(deed, price)| scope.mishaps || *price == 0 || kept(deed));
        deeds
    }

    fn afters(&self, scope: Scope) -> Vec<(After, u32)> {
        if scope.mishaps { self.all_afters(scope) } else { vec![(After::Run, 0)] }
    }

    fn spelt(&self) -> String {
        canonical(&format!("{:?}", self.essence()), self.now())
    }

    fn come_to_rest(&mut self) {
        World::come_to_rest(self);
    }

    fn describe(&self, step: &Step<Deed>) -> String {
        World::describe(self, step)
    }

    fn situation(&self) -> String {
        World::situation(self)
    }
}

impl World {
    /// What may happen next, and its price in faults.
    fn all_deeds(&self, scope: Scope) -> Vec<(Deed, u32)> {
        let mut deeds = Vec::new();
        if self.queue.is_empty() {
            deeds.push((Deed::Crash, 1));
        } else {
            deeds.push((Deed::Execute(0), 0));
        }
        self.askers_may(scope, &mut deeds);
        // Whoever watches netdevs lags behind by two moves at most.
        if self.unseen.len() < 2 {
            self.cloud_may(&mut deeds);
        }
        self.netdevs_may(scope, &mut deeds);
        self.witnesses_may(scope, &mut deeds);
        // Whoever watches netdevs lags behind, but not for ever.
        if let Some(millis) = self.next_instant().filter(|_| self.unseen.len() < 2) {
            let then = self.now + Duration::from_millis(millis);
            let limit = self.settings.operation_timeout;
            // The driver's own limits are shorter than the pool's.
            let becomes = |since: Timestamp| since + limit > self.now && since + limit <= then;
            let overdue = self.running.iter().any(|running| becomes(running.since));
            deeds.push((Deed::Wait(millis), u32::from(overdue)));
        }
        deeds
    }

    /// What may become of the effects that wait, and its price.
    fn all_afters(&self, scope: Scope) -> Vec<(After, u32)> {
        let mut afters = vec![(After::Run, 0)];
        if self.queue.is_empty() {
            return afters;
        }
        let mut before: Option<&Effect> = None;
        for (index, effect) in self.queue.iter().enumerate() {
            // Death after words for people is like death before them.
            if !matches!(before, Some(Effect::Note(_) | Effect::Publish(_))) {
                afters.push((After::Die(index), 1));
            }
            before = Some(effect);
        }
        let allocates = |effect: &Effect| match effect {
            Effect::Reply { request, .. } => {
                self.open.get(request).is_some_and(|ask| ask.allocates && ask.heard)
            }
            _ => false,
        };
        if self.queue.iter().any(allocates) {
            afters.push((After::Deaf, 1));
        }
        if scope.lag {
            afters.push((After::Lag, 1));
        }
        afters
    }

    fn askers_may(&self, scope: Scope, deeds: &mut Vec<(Deed, u32)>) {
        for number in 0..scope.keys {
            let key = key(number);
            let holds = self.told.contains_key(&key);
            let asking =
                self.open.values().filter(|ask| ask.allocates && ask.key.as_ref() == Some(&key)).count();
            if asking < 2 {
                let again = u32::from(holds || asking > 0);
                let asks = match scope.demand {
                    Demand::Any => Deed::Allocate(number, scope.patience),
                    _ if number + 1 < scope.keys => Deed::Allocate(number, scope.patience),
                    demand => Deed::Demand(number, demand, scope.patience),
                };
                deeds.push((asks, again));
            }
            if holds || asking > 0 || self.attachments.contains_key(&key) {
                deeds.push((Deed::Release(number), 0));
            }
        }
        let allocations = self.open.values().enumerate().filter(|(_, ask)| ask.allocates && ask.heard);
        deeds.extend(allocations.map(|(index, _)| (Deed::Cancel(index), 0)));
        if !self.attachments.is_empty() {
            deeds.push((Deed::Collect(0), 0));
            deeds.push((Deed::Collect(u8::MAX), 0));
        }
        if let Demand::Claim(claim, _) | Demand::Named(claim, _) = scope.demand
            && (self.enis.values().any(|eni| eni.claim.is_some())
                || self.pool.waiters.iter().any(|waiter| waiter.claim.is_some()))
        {
            deeds.push((Deed::Unclaim(claim, ClaimFate::Delete), 0));
            deeds.push((Deed::Unclaim(claim, ClaimFate::Moved), 1));
        }
        if scope.retires && !self.pool.retired {
            deeds.push((Deed::Retire, 1));
        }
    }

    /// Whoever looks tells what was seen before looking again.
    fn witnesses_may(&self, scope: Scope, deeds: &mut Vec<(Deed, u32)>) {
        if scope.looks && !self.unseen.iter().any(|event| matches!(event, Event::Inventory(_))) {
            deeds.extend(
                [(0, 0), (u64::MAX, 0), (0, u8::MAX)].map(|(stale, hide)| (Deed::Look(stale, hide), 1)),
            );
        }
    }

    fn cloud_may(&self, deeds: &mut Vec<(Deed, u32)>) {
        for (index, running) in self.running.iter().enumerate() {
            deeds.push((Deed::Answer(index, Fate::Done), 0));
            let fates = [Fate::DoneUnheard, Fate::Lost, Fate::Late(self.pace.latest), Fate::Twice];
            let refusals = refusals(&running.action).into_iter().map(Fate::Refused);
            deeds.extend(fates.into_iter().chain(refusals).map(|fate| (Deed::Answer(index, fate), 1)));
        }
        for index in 0..self.late.len() {
            deeds.push((Deed::Land(index), 0));
            deeds.push((Deed::Vanish(index), 0));
        }
    }

    fn netdevs_may(&self, scope: Scope, deeds: &mut Vec<(Deed, u32)>) {
        if !self.unseen.is_empty() {
            deeds.push((Deed::SeeNext, 0));
        }
        // Moves that nobody has seen yet are not piled up.
        if self.unseen.len() > 1 {
            return;
        }
        for (number, key) in (0..scope.keys).map(|number| (number, key(number))) {
            let real = self.told.get(&key).and_then(|token| self.cloud.enis.get(token));
            if real.is_some_and(|real| self.home.contains(&real.mac)) {
                deeds.push((Deed::Enter(number), 0));
            }
        }
        deeds.extend((0..self.inside.len()).map(|index| (Deed::Leave(index), 0)));
        deeds.extend((0..self.home.len()).map(|index| (Deed::LoseNetdev(index), 1)));
    }

    /// Milliseconds until something happens by itself.
    fn next_instant(&self) -> Option<u64> {
        let late = self.late.iter().map(|(at, ..)| *at).min();
        let next = self.pool.next_deadline().into_iter().chain(late).min()?;
        let millis: u64 = next.since(self.now).as_millis().try_into().ok()?;
        Some(millis.next_multiple_of(GRAIN))
    }
}

/// Refusals that lead somewhere else than others.
fn refusals(action: &CloudAction) -> Vec<Kind> {
    let quota = Kind::Quota { which: "Eni".to_owned(), limit: None };
    match action {
        CloudAction::Create { .. } => vec![Kind::Throttled, quota, Kind::SubnetExhausted, Kind::Conflict],
        CloudAction::Attach { .. } => vec![Kind::Throttled, quota, Kind::Gone],
        CloudAction::Delete { .. } => vec![Kind::InvalidState, Kind::Gone],
        _ => vec![Kind::Throttled, Kind::Gone],
    }
}
