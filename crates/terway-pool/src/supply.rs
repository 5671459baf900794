//! Whether, where and under which token new ENIs are asked for, and what stands in the way: each kind of work has
//! its own pause after refusals, and so has each vSwitch. None holds up another kind.

use std::collections::BTreeMap;
use std::time::Duration;

use terway_types::{Fault, IntentToken, Timestamp, VSwitchId};

use crate::classes::ClassNo;
use crate::event::VSwitchSeen;
use crate::failure::back_off;
use crate::random::Random;
use crate::settings::{PoolSettings, VSwitchPolicy};
use crate::wishes::Wish;

/// ENIs under way at once at first, and again after a refusal. Clouds attach to one instance one after the other or
/// refuse what comes too fast, and which of them does is only found by asking.
const EAGER_AT_FIRST: u32 = 4;

/// A kind of work that can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    Create,
    Find,
    Attach,
    /// Making ENIs instead of those that never became of use.
    Replace,
    Regroup,
    Assign,
    Detach,
    Delete,
}

/// What a pause is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Job(Job),
    /// It has no free address.
    VSwitch(VSwitchId),
    /// The cloud does not take this vSwitch with these groups.
    Class(ClassNo),
}

#[derive(Clone, Debug, Default)]
struct Gate {
    until: Timestamp,
    failures: u32,
    trouble: Option<Fault>,
}

/// The state of supply.
#[derive(Clone, Debug)]
pub(crate) struct Supply {
    token_stem: String,
    tokens: u64,
    gates: BTreeMap<Cause, Gate>,
    /// Free addresses as last read, less those we asked for since.
    free: BTreeMap<VSwitchId, u32>,
    /// ENIs that the cloud said it allows, and how long that is believed.
    quota: Option<(u32, Timestamp)>,
    /// ENIs under way at once, as far as the cloud has kept up so far.
    eager: u32,
}

impl Supply {
    pub(crate) fn new(settings: &PoolSettings, now: Timestamp) -> Self {
        Self {
            // Time and generation both: an engine rebuilt within one life of the daemon must not repeat the
            // token of an ENI that is gone, because the cloud would answer with that ENI.
            token_stem: format!("{}-{:x}-{:x}", settings.token_prefix, settings.generation, now.0),
            tokens: 0,
            gates: BTreeMap::new(),
            free: BTreeMap::new(),
            quota: None,
            eager: EAGER_AT_FIRST,
        }
    }

    /// A token never used before.
    pub(crate) fn mint(&mut self) -> IntentToken {
        self.tokens += 1;
        IntentToken(format!("{}-{:x}", self.token_stem, self.tokens))
    }

    /// Drops what does not decide the future: counters of names, words for people, pauses that are over.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, now: Timestamp, settings: &PoolSettings) {
        (self.token_stem, self.tokens) = (String::new(), 0);
        let longest = (1..64).find(|n| back_off(*n, settings) == settings.retry_max).unwrap_or(64);
        for gate in self.gates.values_mut() {
            gate.trouble = None;
            gate.failures = gate.failures.min(longest);
            gate.until = if gate.until > now { gate.until } else { Timestamp(0) };
        }
        self.gates.retain(|_, gate| gate.failures > 0 || gate.until > Timestamp(0));
        self.quota = self.quota.filter(|(_, until)| *until > now);
    }

    // ------------------------------------------------------------------ where

    /// Where the next ENI for this wish is to be made. `None` while there is no place, or the work is paused.
    pub(crate) fn choose<'a>(
        &self,
        wish: &'a Wish,
        now: Timestamp,
        settings: &PoolSettings,
        random: &mut Random,
    ) -> Option<&'a VSwitchId> {
        if !self.may_create(now) {
            return None;
        }
        let open: Vec<_> = self.open_places(wish, now).collect();
        match settings.vswitch_policy {
            VSwitchPolicy::Ordered => open.first().copied(),
            VSwitchPolicy::Random => open.get(random.below(open.len())).copied(),
            // One whose free addresses were never read comes after those that surely have some.
            VSwitchPolicy::MostFree => {
                let free = |vswitch: &VSwitchId| self.free.get(vswitch).copied().unwrap_or_default();
                open.into_iter().rev().max_by_key(|vswitch| free(vswitch))
            }
        }
    }

    /// Whether an ENI for this wish could be made now.
    pub(crate) fn can_create(&self, wish: &Wish, now: Timestamp) -> bool {
        self.may_create(now) && self.open_places(wish, now).next().is_some()
    }

    fn open_places<'a>(&self, wish: &'a Wish, now: Timestamp) -> impl Iterator<Item = &'a VSwitchId> {
        let place = wish.places.iter().filter(move |(vswitch, class)| {
            self.until(&Cause::VSwitch(vswitch.clone())) <= now && self.until(&Cause::Class(*class)) <= now
        });
        place.map(|(vswitch, _)| vswitch)
    }

    /// Making ENIs helps nobody while they cannot be attached, or do not become of use.
    pub(crate) fn may_create(&self, now: Timestamp) -> bool {
        [Job::Create, Job::Attach, Job::Replace].into_iter().all(|job| self.opens(job) <= now)
    }

    /// An ENI is asked for in this vSwitch.
    pub(crate) fn asked(&mut self, vswitch: &VSwitchId) {
        if let Some(free) = self.free.get_mut(vswitch) {
            *free = free.saturating_sub(1);
        }
    }

    /// An ENI was made in this vSwitch, of this class.
    pub(crate) fn made(&mut self, vswitch: &VSwitchId, class: ClassNo) {
        self.succeeded(Job::Create);
        self.gates.remove(&Cause::VSwitch(vswitch.clone()));
        self.gates.remove(&Cause::Class(class));
    }

    /// Addresses came from this vSwitch.
    pub(crate) fn gave_addresses(&mut self, vswitch: &VSwitchId) {
        self.gates.remove(&Cause::VSwitch(vswitch.clone()));
    }

    /// Whether this vSwitch is set aside.
    pub(crate) fn is_aside(&self, vswitch: &VSwitchId, now: Timestamp) -> bool {
        self.until(&Cause::VSwitch(vswitch.clone())) > now
    }

    /// How many addresses vSwitches have left, as read just now. Those that have some are tried again; should
    /// the reading be stale, the pause goes on doubling.
    pub(crate) fn seen(&mut self, vswitches: Vec<VSwitchSeen>) {
        for VSwitchSeen { id, free_ipv4 } in vswitches {
            if free_ipv4 > 0
                && let Some(gate) = self.gates.get_mut(&Cause::VSwitch(id.clone()))
            {
                gate.until = Timestamp(0);
            }
            self.free.insert(id, free_ipv4);
        }
    }

    // ------------------------------------------------------------------ how many

    /// ENIs that may be under way at once.
    pub(crate) fn at_once(&self, settings: &PoolSettings) -> u32 {
        self.eager.min(settings.parallel)
    }

    /// An ENI was attached: the cloud keeps up, so there may be one more. That doubles them as often as all came.
    pub(crate) fn came(&mut self, settings: &PoolSettings) {
        if self.eager < settings.parallel {
            self.eager += 1;
        }
    }

    /// A create or an attach failed.
    pub(crate) fn held_back(&mut self) {
        self.eager = EAGER_AT_FIRST;
    }

    // ------------------------------------------------------------------ pauses

    /// No work of this kind for a while; `at_least` is the shortest pause. Further refusals during the pause do
    /// not lengthen it: they belong to the same cause.
    pub(crate) fn shut(
        &mut self,
        job: Job,
        at_least: Duration,
        fault: &Fault,
        now: Timestamp,
        settings: &PoolSettings,
    ) {
        self.close(Cause::Job(job), at_least, fault, now, settings);
    }

    /// No ENI in this vSwitch for a while.
    pub(crate) fn set_aside(
        &mut self,
        vswitch: &VSwitchId,
        fault: &Fault,
        now: Timestamp,
        settings: &PoolSettings,
    ) {
        self.free.insert(vswitch.clone(), 0);
        self.close(Cause::VSwitch(vswitch.clone()), Duration::ZERO, fault, now, settings);
    }

    /// No ENI of this class for a while.
    pub(crate) fn bar(&mut self, class: ClassNo, fault: &Fault, now: Timestamp, settings: &PoolSettings) {
        self.close(Cause::Class(class), settings.retry_max, fault, now, settings);
    }

    fn close(
        &mut self,
        cause: Cause,
        at_least: Duration,
        fault: &Fault,
        now: Timestamp,
        settings: &PoolSettings,
    ) {
        let gate = self.gates.entry(cause).or_default();
        if gate.until <= now {
            gate.failures = gate.failures.saturating_add(1);
        }
        gate.until = gate.until.max(now + back_off(gate.failures, settings).max(at_least));
        gate.trouble = Some(fault.clone());
    }

    /// Something went wrong with this kind of work that is no reason for a pause.
    pub(crate) fn troubled(&mut self, job: Job, fault: &Fault) {
        self.gates.entry(Cause::Job(job)).or_default().trouble = Some(fault.clone());
    }

    /// This kind of work works.
    pub(crate) fn succeeded(&mut self, job: Job) {
        self.gates.remove(&Cause::Job(job));
    }

    /// When this kind of work may go on.
    pub(crate) fn opens(&self, job: Job) -> Timestamp {
        self.until(&Cause::Job(job))
    }

    pub(crate) fn is_barred(&self, class: ClassNo, now: Timestamp) -> bool {
        self.until(&Cause::Class(class)) > now
    }

    /// The vSwitches that are set aside, and until when.
    pub(crate) fn set_aside_at(&self, now: Timestamp) -> Vec<(VSwitchId, Timestamp)> {
        let aside = |(cause, gate): (&Cause, &Gate)| match cause {
            Cause::VSwitch(vswitch) if gate.until > now => Some((vswitch.clone(), gate.until)),
            _ => None,
        };
        self.gates.iter().filter_map(aside).collect()
    }

    /// When the next pause ends, or the belief in a quota, if there is one. The belief may outlive its pause, which
    /// ends early with a success.
    pub(crate) fn reopens(&self, now: Timestamp) -> Option<Timestamp> {
        let quota = self.quota.map(|(_, until)| until);
        self.gates.values().map(|gate| gate.until).chain(quota).filter(|until| *until > now).min()
    }

    /// The settings are new: whatever was wrong may be mended.
    pub(crate) fn reopen(&mut self) {
        self.gates.clear();
        self.quota = None;
    }

    /// Why ENIs for this wish do not come, as far as failures say since the last one came.
    pub(crate) fn trouble(&self, wish: &Wish) -> Option<&Fault> {
        let jobs =
            [Job::Replace, Job::Attach, Job::Create, Job::Regroup, Job::Assign].into_iter().map(Cause::Job);
        let places = wish
            .places
            .iter()
            .flat_map(|(vswitch, class)| [Cause::Class(*class), Cause::VSwitch(vswitch.clone())]);
        jobs.chain(places).find_map(|cause| self.gates.get(&cause)?.trouble.as_ref())
    }

    fn until(&self, cause: &Cause) -> Timestamp {
        self.gates.get(cause).map(|gate| gate.until).unwrap_or_default()
    }

    // ------------------------------------------------------------------ quota

    /// The cloud said how many ENIs it allows. Believed as long as `job` is paused.
    pub(crate) fn limited(&mut self, limit: u32, job: Job) {
        self.quota = Some((limit, self.opens(job)));
    }

    /// How many ENIs the cloud allows, if it said so lately.
    pub(crate) fn quota(&self, now: Timestamp) -> Option<u32> {
        self.quota.filter(|(_, until)| *until > now).map(|(limit, _)| limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::Classes;
    use crate::testing::settings;
    use crate::wishes::{DEFAULT, Wishes};
    use terway_types::FaultCode;

    fn two_vswitches(vswitch_policy: VSwitchPolicy) -> (PoolSettings, Wish) {
        let settings = PoolSettings {
            vswitches: vec!["vsw-a".into(), "vsw-b".into()],
            vswitch_policy,
            retry_first: Duration::from_millis(10),
            retry_max: Duration::from_millis(40),
            ..settings()
        };
        let wish = Wishes::new(&settings, &mut Classes::default()).get(DEFAULT).clone();
        (settings, wish)
    }

    fn fault() -> Fault {
        Fault::new(FaultCode::CloudUnavailable, "no")
    }

    fn seen(free: [u32; 2]) -> Vec<VSwitchSeen> {
        let [a, b] = free.map(|free_ipv4| move |id: &str| VSwitchSeen { id: id.into(), free_ipv4 });
        vec![a("vsw-a"), b("vsw-b")]
    }

    #[test]
    fn an_exhausted_vswitch_is_passed_over_for_longer_and_longer() {
        let (settings, wish) = two_vswitches(VSwitchPolicy::Ordered);
        let mut supply = Supply::new(&settings, Timestamp(0));
        let (a, b) = (VSwitchId::from("vsw-a"), VSwitchId::from("vsw-b"));
        let class = wish.places[0].1;
        let mut random = Random::new(1, Timestamp(0));
        let mut next =
            |supply: &Supply, at| supply.choose(&wish, Timestamp(at), &settings, &mut random).cloned();
        supply.set_aside(&a, &fault(), Timestamp(100), &settings);
        assert_eq!(next(&supply, 100), Some(b.clone()));
        supply.set_aside(&b, &fault(), Timestamp(105), &settings);
        assert_eq!(next(&supply, 106), None);
        assert_eq!(supply.reopens(Timestamp(106)), Some(Timestamp(110)));
        assert_eq!(next(&supply, 110), Some(a.clone()));
        supply.set_aside(&a, &fault(), Timestamp(110), &settings);
        assert_eq!(next(&supply, 129), Some(b.clone()), "aside for 20 ms now");
        supply.seen(seen([1, 0]));
        assert_eq!(next(&supply, 129), Some(a.clone()), "seen to have an address again");
        supply.set_aside(&a, &fault(), Timestamp(129), &settings);
        assert_eq!(next(&supply, 168), Some(b), "the reading was stale, so the pause doubles on");
        supply.made(&a, class);
        assert_eq!(next(&supply, 168), Some(a));
    }

    #[test]
    fn most_free_goes_by_the_last_reading_and_our_own_requests() {
        let (settings, wish) = two_vswitches(VSwitchPolicy::MostFree);
        let mut supply = Supply::new(&settings, Timestamp(0));
        let mut random = Random::new(1, Timestamp(0));
        let mut next = |supply: &mut Supply| {
            let chosen = supply.choose(&wish, Timestamp(1), &settings, &mut random).cloned().unwrap();
            supply.asked(&chosen);
            chosen.0
        };
        assert_eq!(next(&mut supply), "vsw-a", "the first one as long as nothing is known");
        supply.seen(seen([5, 7]));
        let order: Vec<_> = (0..5).map(|_| next(&mut supply)).collect();
        assert_eq!(order, ["vsw-b", "vsw-b", "vsw-a", "vsw-b", "vsw-a"]);
    }

    #[test]
    fn more_come_at_once_while_the_cloud_keeps_up() {
        let (mut settings, _) = two_vswitches(VSwitchPolicy::Ordered);
        let mut supply = Supply::new(&settings, Timestamp(0));
        settings.parallel = 3;
        assert_eq!(supply.at_once(&settings), 3, "never more than the operator says");
        settings.parallel = 10;
        let mut rounds = Vec::new();
        for _ in 0..4 {
            let at_once = supply.at_once(&settings);
            (0..at_once).for_each(|_| supply.came(&settings));
            rounds.push(at_once);
        }
        assert_eq!(rounds, [4, 8, 10, 10]);
        supply.held_back();
        assert_eq!(supply.at_once(&settings), 4);
    }

    #[test]
    fn random_uses_every_open_vswitch() {
        let (settings, wish) = two_vswitches(VSwitchPolicy::Random);
        let supply = Supply::new(&settings, Timestamp(0));
        let mut random = Random::new(1, Timestamp(0));
        let chosen: Vec<_> = (0..20)
            .map(|_| supply.choose(&wish, Timestamp(1), &settings, &mut random).unwrap().as_str())
            .collect();
        assert!(chosen.contains(&"vsw-a") && chosen.contains(&"vsw-b"), "{chosen:?}");
    }

    #[test]
    fn pauses_grow_once_per_cause_and_hold_up_nothing_else() {
        let (settings, wish) = two_vswitches(VSwitchPolicy::Ordered);
        let mut supply = Supply::new(&settings, Timestamp(0));
        for _ in 0..5 {
            supply.shut(Job::Detach, Duration::ZERO, &fault(), Timestamp(100), &settings);
        }
        assert_eq!(supply.opens(Job::Detach), Timestamp(110));
        assert!(supply.can_create(&wish, Timestamp(100)) && supply.opens(Job::Delete) == Timestamp(0));
        supply.shut(Job::Detach, Duration::ZERO, &fault(), Timestamp(110), &settings);
        assert_eq!(supply.opens(Job::Detach), Timestamp(130));
        supply.shut(Job::Attach, Duration::from_millis(35), &fault(), Timestamp(110), &settings);
        assert!(!supply.can_create(&wish, Timestamp(110)), "what cannot be attached is not made");
        assert_eq!(supply.opens(Job::Attach), Timestamp(145));
        supply.succeeded(Job::Attach);
        assert!(supply.can_create(&wish, Timestamp(110)) && supply.trouble(&wish).is_none());
        supply.reopen();
        assert_eq!(supply.reopens(Timestamp(110)), None);
    }

    #[test]
    fn a_barred_class_leaves_its_vswitch_to_others() {
        let (settings, wish) = two_vswitches(VSwitchPolicy::Ordered);
        let mut classes = Classes::default();
        let mut wishes = Wishes::new(&settings, &mut classes);
        let other = wishes.intern(&[], &["sg-bad".into()], &settings, &mut classes);
        let other = wishes.get(other).clone();
        let mut supply = Supply::new(&settings, Timestamp(0));
        other.classes().for_each(|class| supply.bar(class, &fault(), Timestamp(0), &settings));
        assert!(supply.can_create(&wish, Timestamp(1)) && !supply.can_create(&other, Timestamp(1)));
        assert!(supply.trouble(&wish).is_none() && supply.trouble(&other).is_some());
        assert!(supply.can_create(&other, Timestamp(40)));
    }

    #[test]
    fn a_quota_is_believed_as_long_as_its_pause() {
        let (settings, _) = two_vswitches(VSwitchPolicy::Ordered);
        let mut supply = Supply::new(&settings, Timestamp(0));
        supply.shut(Job::Create, Duration::ZERO, &fault(), Timestamp(5), &settings);
        supply.limited(3, Job::Create);
        assert_eq!((supply.quota(Timestamp(14)), supply.quota(Timestamp(15))), (Some(3), None));
    }

    #[test]
    fn tokens_never_repeat_and_fit_the_cloud() {
        let settings = PoolSettings { generation: u64::MAX, token_prefix: "x".repeat(26), ..settings() };
        let mut supply = Supply::new(&settings, Timestamp(1_800_000_000_000));
        let (first, second) = (supply.mint(), supply.mint());
        assert_ne!(first, second);
        assert_ne!(Supply::new(&settings, Timestamp(1_800_000_000_001)).mint(), first);
        assert!(first.as_str().len() <= 64, "{first}");
    }
}
