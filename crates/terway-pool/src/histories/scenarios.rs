//! Histories a person would tell, one for each promise of the pool, in the same world as the random ones.

use std::time::Duration;

use terway_types::{
    AddressCounts, CloudFailureKind as Kind, EniPhase, FaultCode, IntentToken, LedgerSnapshot, Timestamp,
};

use super::cloud::RealCloud;
use super::world::{Demand, Fate, World, fast_settings};
use crate::testing::{key, record};
use crate::{
    Answer, Capacity, CloudAction, CloudAnswer, CloudEni, Effect, Event, Keep, Pool, PoolSettings,
    ReleasePace, VSwitchSeen,
};

fn world(settings: PoolSettings) -> World {
    World::new(settings, [50, 50], 50)
}

pub(super) fn warm(settings: PoolSettings) -> World {
    let mut world = world(settings);
    world.settle_for(400);
    world
}

pub(super) fn faults(world: &World) -> Vec<FaultCode> {
    let fault = |answer: &Answer| match answer {
        Answer::Failed(fault) => Some(fault.code),
        _ => None,
    };
    world.answers.iter().filter_map(|(_, answer)| fault(answer)).collect()
}

fn eni_of(world: &World, number: u8) -> Option<IntentToken> {
    world.told().get(&key(number)).cloned()
}

#[test]
fn a_warm_pool_answers_within_one_event() {
    let mut world = warm(fast_settings());
    assert_eq!(world.view().idle, 1);
    world.allocate(1, 0);
    assert!(faults(&world).is_empty());
    world.allocate(2, 10);
    world.execute(usize::MAX);
    assert!(eni_of(&world, 2).is_some(), "served from the pool though its deadline is near");
    assert_eq!(faults(&world), [FaultCode::PoolExhausted], "a deadline that has passed is never served");
    world.come_to_rest();
}

#[test]
fn the_same_key_gets_the_same_eni_waiting_or_not() {
    let mut world = world(PoolSettings { min_idle: 0, ..fast_settings() });
    world.allocate(1, 1000);
    world.allocate(1, 1000);
    world.settle_for(300);
    world.allocate(1, 1000);
    world.execute(usize::MAX);
    let given: Vec<_> = world.answers.iter().map(|(_, answer)| answer).collect();
    assert_eq!(given.len(), 3);
    assert!(given.iter().all(|answer| *answer == given[0]), "{given:?}");
    assert_eq!(world.cloud.enis.len(), 1);
    world.come_to_rest();
}

#[test]
fn those_who_wait_are_served_in_order() {
    let mut world = world(PoolSettings { min_idle: 0, max_idle: 0, max_enis: 2, ..fast_settings() });
    for number in [3, 1, 4, 2] {
        world.allocate(number, 2000);
    }
    let places: Vec<_> = world.view().waiters.into_iter().map(|waiter| (waiter.place, waiter.key)).collect();
    assert_eq!(places, [(1, key(3)), (2, key(1)), (3, key(4)), (4, key(2))]);
    world.settle_for(300);
    assert!(world.told().keys().eq([&key(1), &key(3)]));
    world.release(3);
    world.settle_for(200);
    assert!(world.told().keys().eq([&key(1), &key(4)]));
    world.come_to_rest();
}

#[test]
fn at_the_limit_one_waits_until_the_deadline_and_learns_the_numbers() {
    let mut world = world(PoolSettings { min_idle: 0, max_enis: 2, ..fast_settings() });
    (1..=3).for_each(|number| world.allocate(number, 500));
    world.settle_for(400);
    assert!(faults(&world).is_empty());
    let waits_for = world.view().waiters[0].waits_for.clone();
    assert_eq!(waits_for, "the limit of 2 ENIs is reached (2 in use; 2 at most)");
    world.settle_for(200);
    assert_eq!(faults(&world), [FaultCode::PoolExhausted]);
    world.come_to_rest();
}

#[test]
fn a_released_eni_rests_and_comes_home_before_it_is_given_again() {
    let mut world = world(PoolSettings { min_idle: 0, max_enis: 1, ..fast_settings() });
    world.allocate(1, 1000);
    world.settle_for(300);
    world.enter(1);
    world.see_links();
    world.release(1);
    world.allocate(2, 5000);
    world.settle_for(100);
    assert_eq!(eni_of(&world, 2), None, "rested, but not home");
    world.settle_for(200);
    assert_eq!(eni_of(&world, 2), None);
    assert_eq!(world.view().capacity, Capacity { now: 0, later: 0 }, "an ENI astray is no capacity");
    let last_fault = world.view().enis[0].last_fault.clone().unwrap();
    assert_eq!(last_fault.code, FaultCode::NicMissing);
    world.leave(0);
    world.see_links();
    world.execute(usize::MAX);
    assert!(eni_of(&world, 2).is_some());
    world.come_to_rest();
}

#[test]
fn a_released_eni_rests_even_when_it_is_home() {
    let mut world = world(PoolSettings { min_idle: 0, max_enis: 1, ..fast_settings() });
    world.allocate(1, 1000);
    world.settle_for(300);
    world.release(1);
    world.allocate(2, 1000);
    world.settle_for(45);
    assert_eq!(eni_of(&world, 2), None);
    world.settle_for(10);
    assert!(eni_of(&world, 2).is_some());
    world.come_to_rest();
}

#[test]
fn steady_churn_costs_no_cloud_call() {
    let mut world = warm(PoolSettings { min_idle: 1, max_idle: 4, ..fast_settings() });
    world.allocate(0, 1000);
    world.settle_for(300);
    let calls = world.cloud_calls;
    for round in 1..50 {
        world.release(round - 1);
        world.allocate(round, 1000);
        world.execute(usize::MAX);
        assert!(eni_of(&world, round).is_some(), "round {round}");
        world.settle_for(60);
    }
    assert_eq!(world.cloud_calls, calls);
    world.come_to_rest();
}

#[test]
fn an_answer_nobody_heard_puts_the_eni_back_at_once() {
    let mut world =
        warm(PoolSettings { min_idle: 1, quarantine: Duration::from_mins(10), ..fast_settings() });
    world.allocate(1, 1000);
    world.cancel(0);
    world.execute(usize::MAX);
    assert_eq!((world.view().idle, world.view().in_use), (1, 0), "put back without rest");
    assert!(world.pool().attachment(&key(1)).is_none());
    world.come_to_rest();
}

#[test]
fn a_cancelled_repeat_does_not_take_the_eni_from_the_first() {
    let mut world = warm(fast_settings());
    world.allocate(1, 1000);
    world.execute(usize::MAX);
    world.allocate(1, 1000);
    world.cancel(0);
    world.execute(usize::MAX);
    assert!(world.pool().attachment(&key(1)).is_some());
    world.come_to_rest();
}

#[test]
fn releasing_a_key_that_waits_answers_both() {
    let mut world = world(fast_settings());
    world.allocate(1, 1000);
    world.release(1);
    world.execute(usize::MAX);
    assert_eq!(faults(&world), [FaultCode::AttachmentBusy]);
    assert_eq!(world.answers[1].1, Answer::Released(None));
    world.release(9);
    world.execute(usize::MAX);
    assert_eq!(world.answers[2].1, Answer::Released(None), "an unknown key is a success");
    world.come_to_rest();
}

#[test]
fn an_exhausted_vswitch_is_left_for_the_next() {
    let settings = PoolSettings { min_idle: 2, max_idle: 2, ..fast_settings() };
    let mut world = World::new(settings, [1, 5], 50);
    world.settle_for(300);
    assert_eq!(world.view().idle, 2);
    let vswitches: Vec<_> = world.cloud.enis.values().map(|eni| eni.vswitch.as_str()).collect();
    assert_eq!(vswitches, ["vsw-a", "vsw-b"]);
    world.come_to_rest();
}

#[test]
fn an_exhausted_vswitch_is_taken_again_once_it_has_addresses() {
    let settings = PoolSettings { min_idle: 2, max_idle: 2, ..fast_settings() };
    let exhausted = || {
        let mut world = world(PoolSettings { vswitches: vec!["vsw-a".into()], ..settings.clone() });
        world.execute(usize::MAX);
        world.answer(0, Fate::Refused(Kind::SubnetExhausted));
        assert_eq!(world.view().set_aside.len(), 1);
        world
    };
    let mut world = exhausted();
    world.answer(0, Fate::Done);
    assert_eq!(world.view().set_aside, [], "it has just given one");
    world.come_to_rest();
    let mut world = exhausted();
    let seen = |free_ipv4| Event::VSwitches(vec![VSwitchSeen { id: "vsw-a".into(), free_ipv4 }]);
    world.event(seen(0));
    assert_eq!(world.view().set_aside.len(), 1);
    world.event(seen(1));
    assert_eq!(world.view().set_aside, [], "somebody has looked");
    world.come_to_rest();
}

#[test]
fn what_is_still_mentioned_rests_longer() {
    let mut world = world(PoolSettings { min_idle: 0, ..fast_settings() });
    world.allocate(1, 1000);
    world.settle_for(300);
    world.release(1);
    world.settle_for(40);
    world.mention(0);
    world.settle_for(30);
    assert_eq!(world.ledger_phases(), ["Quarantined"], "it was to rest for 50 ms");
    world.settle_for(30);
    assert_eq!(world.ledger_phases(), ["Ready"]);
    world.come_to_rest();
}

/// An ENI that a call under way makes is the call's to tell of.
#[test]
fn what_a_create_call_makes_is_not_taken_over_while_it_is_out() {
    let mut world = world(PoolSettings { min_idle: 1, max_idle: 1, ..fast_settings() });
    world.execute(usize::MAX);
    world.work_silently(0);
    for _ in 0..2 {
        world.wait(41);
        world.look(0, 0);
        world.see_links();
        world.execute(usize::MAX);
    }
    assert_eq!((world.ledger_phases(), world.told_events.len()), (vec!["Creating"], 0));
    world.answer(0, Fate::Done);
    world.settle_for(300);
    assert_eq!(world.ledger_phases(), ["Ready"]);
    world.come_to_rest();
}

#[test]
fn each_cause_has_its_own_code() {
    let quota = Kind::Quota { which: "Eni".to_owned(), limit: Some(3) };
    let causes = [
        (Kind::SubnetExhausted, FaultCode::SubnetExhausted),
        (quota, FaultCode::QuotaReached),
        (Kind::Denied, FaultCode::CloudDenied),
        (Kind::ClockSkew, FaultCode::ClockSkew),
        (Kind::Invalid, FaultCode::CloudInvalid),
        (Kind::Throttled, FaultCode::CloudUnavailable),
        (Kind::Transient, FaultCode::CloudUnavailable),
    ];
    for (kind, code) in causes {
        let mut world = world(PoolSettings { min_idle: 0, ..fast_settings() });
        world.allocate(1, 200);
        for _ in 0..250 {
            world.execute(usize::MAX);
            world.answer(0, Fate::Refused(kind.clone()));
            world.wait(1);
        }
        assert_eq!(faults(&world), [code], "{kind:?}");
        let asked = world.cloud_calls;
        assert!(asked < 16, "{kind:?}: {asked} calls in 250 ms with pauses from 10 to 100 ms");
        world.come_to_rest();
    }
}

#[test]
fn an_eni_that_never_shows_its_netdev_is_replaced() {
    let mut world = warm(PoolSettings { min_idle: 1, max_idle: 1, ..fast_settings() });
    let first = world.cloud.enis.keys().next().unwrap().clone();
    world.lose_netdev(0);
    world.see_links();
    world.execute(usize::MAX);
    assert_eq!(world.view().idle, 0, "not given while its netdev is away");
    world.settle_for(310);
    assert!(!world.cloud.enis.contains_key(&first), "detached and deleted after the time limit");
    world.settle_for(300);
    assert_eq!(world.ledger_phases(), ["Ready"]);
    world.come_to_rest();
}

#[test]
fn surplus_leaves_one_at_a_time_once_it_has_lasted() {
    let mut world = warm(PoolSettings { min_idle: 4, max_idle: 4, ..fast_settings() });
    world.reconfigure(PoolSettings { min_idle: 0, max_idle: 1, ..fast_settings() });
    world.settle_for(38);
    assert_eq!(world.cloud.enis.len(), 4);
    for left in [3, 2, 1, 1] {
        world.settle_for(40);
        assert_eq!(world.cloud.enis.len(), left);
    }
    assert_eq!(world.ledger_phases(), ["Ready"]);
    world.come_to_rest();
}

#[test]
fn surplus_leaves_all_at_once_if_quick_and_what_exceeds_the_limit_without_waiting() {
    let quick = ReleasePace { interval: Duration::from_millis(40), quick: true };
    let mut world = warm(PoolSettings { min_idle: 4, max_idle: 4, release: quick, ..fast_settings() });
    world.reconfigure(PoolSettings {
        min_idle: 0,
        max_idle: 3,
        max_enis: 3,
        release: quick,
        ..fast_settings()
    });
    world.settle_for(2);
    assert_eq!(world.cloud.enis.len(), 3, "the node takes no more than that");
    world.reconfigure(PoolSettings { min_idle: 0, max_idle: 1, release: quick, ..fast_settings() });
    world.settle_for(38);
    assert_eq!(world.cloud.enis.len(), 3);
    world.settle_for(5);
    assert_eq!(world.cloud.enis.len(), 1);
    world.come_to_rest();
}

#[test]
fn an_eni_that_somebody_deleted_leaves_by_the_delete_calls_own_word() {
    let mut world = warm(PoolSettings { min_idle: 1, max_idle: 1, ..fast_settings() });
    world.reconfigure(PoolSettings { min_idle: 0, max_idle: 0, max_enis: 0, ..fast_settings() });
    for call in ["detach", "delete"] {
        world.execute(usize::MAX);
        world.answer(0, Fate::Refused(Kind::Gone));
        world.execute(usize::MAX);
        assert_eq!(world.ledger_phases(), ["Deleting"], "after {call}");
        world.wait(100);
    }
    world.come_to_rest();
}

#[test]
fn any_idle_eni_may_be_given() {
    let mut given = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut world = warm(PoolSettings { min_idle: 3, max_idle: 3, seed, ..fast_settings() });
        world.allocate(1, 100);
        world.execute(usize::MAX);
        given.extend(eni_of(&world, 1));
    }
    assert_eq!(given.len(), 3, "{given:?}");
}

/// A create call repeated after a crash finds the ENI attached, and its netdev long on the node.
#[test]
fn an_eni_found_attached_with_its_netdev_is_ready_at_once() {
    let now = Timestamp(1);
    let enis = vec![record("t", EniPhase::Creating)];
    let (mut pool, effects) =
        Pool::new(fast_settings(), LedgerSnapshot { enis, ..LedgerSnapshot::default() }, now);
    let Some(Effect::Cloud { operation, action }) = effects.first() else { panic!("{effects:?}") };
    let Ok(CloudAnswer::Created(made)) = RealCloud::new(1, [1, 1]).act(action) else { panic!("{action:?}") };
    pool.handle(now, Event::LinkUp { mac: made.mac });
    let outcome = Ok(CloudAnswer::Created(CloudEni { attached: true, ..made }));
    pool.handle(now, Event::CloudDone { operation: *operation, outcome });
    assert_eq!(pool.view(now).enis[0].record.phase, EniPhase::Ready);
    assert_eq!(pool.view(now).idle, 1);
}

#[test]
fn one_eni_is_never_taken_for_two() {
    let settings = PoolSettings { min_idle: 2, ..fast_settings() };
    let (mut pool, effects) = Pool::new(settings, LedgerSnapshot::default(), Timestamp(1));
    let creates = effects.iter().filter_map(|effect| match effect {
        Effect::Cloud { operation, .. } => Some(*operation),
        _ => None,
    });
    let made = RealCloud::new(1, [1, 1]).act(&CloudAction::Create {
        token: "somebody".into(),
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
    });
    for operation in creates {
        pool.handle(Timestamp(2), Event::CloudDone { operation, outcome: made.clone() });
    }
    let phases: Vec<_> =
        pool.view(Timestamp(2)).enis.into_iter().map(|eni| eni.record.phase.name()).collect();
    assert_eq!(phases, ["Attaching", "Creating"]);
}

#[test]
fn an_answer_to_an_earlier_life_means_nothing() {
    let born = |token: &str, now| {
        let enis = vec![record(token, EniPhase::Deleting)];
        let settings = PoolSettings { min_idle: 0, ..fast_settings() };
        Pool::new(settings, LedgerSnapshot { enis, ..LedgerSnapshot::default() }, Timestamp(now))
    };
    let (_, effects) = born("first", 1);
    let Some(Effect::Cloud { operation, .. }) = effects.first() else { panic!("{effects:?}") };
    let (mut pool, _) = born("second", 2);
    let outcome = Ok(CloudAnswer::Deleted);
    let effects = pool.handle(Timestamp(3), Event::CloudDone { operation: *operation, outcome });
    assert_eq!(effects, []);
    assert!(pool.view(Timestamp(3)).enis.iter().any(|eni| eni.record.token.as_str() == "second"));
}

#[test]
fn an_unheard_create_is_not_forgotten_on_one_refusal() {
    let settings = PoolSettings { min_idle: 1, max_idle: 1, max_enis: 1, ..fast_settings() };
    let mut world = world(settings);
    world.execute(usize::MAX);
    world.answer(0, Fate::Late(50));
    world.wait(10);
    world.execute(usize::MAX);
    world.answer(0, Fate::Refused(Kind::SubnetExhausted));
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Creating"], "the first call may still land");
    world.wait(60);
    assert_eq!(world.cloud.enis.len(), 1, "it did");
    world.settle_for(300);
    assert_eq!(world.ledger_phases(), ["Ready"]);
    world.come_to_rest();
}

/// A life with everything in it, up to the `fuse`-th effect; then the daemon dies. Tells whether it came so far.
fn life_until(fuse: usize) -> bool {
    let mut world = world(PoolSettings { min_idle: 1, max_idle: 1, max_enis: 3, ..fast_settings() });
    world.fuse = Some(fuse);
    world.settle_for(200);
    for round in 0..2 {
        (0..3).for_each(|number| world.allocate(number + round, 500));
        world.settle_for(300);
        (0..3).for_each(|number| world.enter(number + round));
        world.settle_for(10);
        (0..3).for_each(|_| world.leave(0));
        (0..3).for_each(|number| world.release(number + round));
        world.settle_for(100);
    }
    let died = world.fuse.is_none();
    world.come_to_rest();
    died
}

#[test]
fn a_death_after_any_effect_heals() {
    let effects = (0..10_000).take_while(|fuse| life_until(*fuse)).count();
    assert!(effects > 100, "only {effects} effects in a whole life");
}

#[test]
fn a_claims_eni_is_not_attached_again_while_a_call_that_detaches_it_is_out() {
    let mut world = world(PoolSettings { min_idle: 0, max_idle: 0, ..fast_settings() });
    let claim = Demand::Claim(0, Keep::Fixed);
    world.demand(1, claim, 1000);
    world.settle_for(300);
    assert!(eni_of(&world, 1).is_some());
    world.release(1);
    world.execute(usize::MAX);
    // The first call works, but its answer comes after the pool has asked again.
    world.time_out();
    world.wait(120);
    world.execute(usize::MAX);
    world.demand(1, claim, 1000);
    world.see_links();
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Detaching"], "the second call would take it from its pod");
    world.settle_for(300);
    assert!(eni_of(&world, 1).is_some(), "attached again once that has ended");
    world.come_to_rest();
}
