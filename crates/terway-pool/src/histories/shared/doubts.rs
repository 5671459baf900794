//! Histories of calls for addresses of which it is not known whether they have landed.

use std::time::Duration;

use terway_types::{AddressPhase, CloudFailureKind as Kind, EniPhase};

use super::looks::Meddling;
use super::world::World;
use crate::histories::world::{Fate, fast_settings};
use crate::{CloudAction, EniPolicy, Mode, PoolSettings, Sharing};

/// One ENI that takes eight addresses; so many are to be idle.
fn idle(min_idle: u32, max_idle: u32) -> PoolSettings {
    let sharing =
        Sharing { per_eni: 8, prefixes: false, assign_batch: 8, eni_policy: EniPolicy::MostIps, min_enis: 0 };
    PoolSettings {
        mode: Mode::Shared(sharing),
        min_idle,
        max_idle,
        max_enis: 1,
        operation_timeout: Duration::from_secs(2),
        ..fast_settings()
    }
}

/// The same with long pauses after refusals.
fn slow(min_idle: u32) -> PoolSettings {
    let pause = Duration::from_millis(500);
    PoolSettings { retry_first: pause, retry_max: pause, ..idle(min_idle, 20) }
}

/// A pool with four idle addresses.
fn warm(settings: PoolSettings) -> World {
    let mut world = World::new(settings, [50, 50], 4, 50);
    world.settle_for(400);
    assert_eq!(world.view().idle, 4);
    world.events.clear();
    world
}

/// Time passes until a call is out.
fn until_asked(world: &mut World) {
    for _ in 0..200 {
        world.execute(usize::MAX);
        if !world.running.is_empty() {
            return;
        }
        world.wait(1);
    }
    panic!("nothing is asked: {:#?}", world.view());
}

fn is_assigning(world: &World) -> bool {
    world.enis.values().any(|eni| eni.assigning.is_some())
}

/// Two looks apart in time, and nothing else that moves.
fn look_twice(world: &mut World) {
    for _ in 0..2 {
        world.wait(41);
        world.look(0, 0);
        world.see_links();
        world.execute(usize::MAX);
    }
}

#[test]
fn what_a_lost_call_may_still_take_off_is_not_asked_for_meanwhile() {
    let mut world = warm(idle(4, 4));
    world.reconfigure(idle(0, 2));
    until_asked(&mut world);
    world.answer(0, Fate::Late(60));
    until_asked(&mut world);
    world.answer(0, Fate::Done);
    world.reconfigure(idle(4, 4));
    for _ in 0..80 {
        world.wait(1);
        world.execute(usize::MAX);
        assert!(world.running.is_empty(), "the lost call would take it off again");
    }
    world.settle_for(100);
    assert_eq!((world.calls["assign"], world.view().idle), (1, 4));
    world.come_to_rest();
}

#[test]
fn an_eni_on_its_way_is_asked_for_no_addresses() {
    let mut world = warm(slow(4));
    world.reconfigure(slow(6));
    until_asked(&mut world);
    world.answer(0, Fate::Lost);
    world.meddle(0, Meddling::Detach);
    look_twice(&mut world);
    assert!(world.enis.values().all(|eni| eni.phase == EniPhase::Attaching));
    world.wait(500);
    world.execute(usize::MAX);
    assert!(!world.running.is_empty() && is_assigning(&world));
    assert!(world.running.iter().all(|(_, action)| matches!(action, CloudAction::Attach { .. })));
    world.come_to_rest();
}

#[test]
fn what_a_call_brings_is_not_taken_over_before_it_is_heard() {
    let mut world = warm(slow(4));
    world.reconfigure(slow(6));
    until_asked(&mut world);
    world.answer(0, Fate::DoneUnheard);
    look_twice(&mut world);
    assert_eq!((world.events.as_slice(), world.addresses.len()), (&[""; 0][..], 4));
    world.settle_for(600);
    assert_eq!((world.events.as_slice(), world.view().idle), (&[""; 0][..], 6));
    world.come_to_rest();
}

#[test]
fn what_a_call_takes_off_is_not_forgotten_while_it_is_out() {
    let mut world = warm(idle(4, 4));
    world.reconfigure(idle(0, 2));
    until_asked(&mut world);
    let action = world.running[0].1.clone();
    world.act(&action).unwrap();
    look_twice(&mut world);
    let leaving = world.addresses.values().filter(|held| held.phase == AddressPhase::Unassigning);
    assert_eq!(leaving.count(), 2, "should the call be repeated, they must be there");
    world.answer(0, Fate::Done);
    world.execute(usize::MAX);
    assert_eq!(world.addresses.len(), 2);
    world.come_to_rest();
}

/// One look begins while addresses are there, the other one is stale. Between them they are taken off.
fn look_around(world: &mut World, between: impl FnOnce(&mut World)) {
    until_asked(world);
    world.look(0, 0);
    let look = world.unseen.pop_front().unwrap();
    world.wait(39);
    world.answer(0, Fate::Done);
    world.execute(usize::MAX);
    between(world);
    world.event(look);
    world.wait(1);
    world.look(39, 0);
    world.see_links();
    world.execute(usize::MAX);
    assert_eq!(world.events, [""; 0]);
}

#[test]
fn what_was_just_taken_off_is_not_taken_over_again() {
    let mut world = warm(idle(4, 4));
    world.reconfigure(idle(0, 2));
    look_around(&mut world, |_| ());
    assert_eq!(world.addresses.len(), 2);
    world.come_to_rest();
}

#[test]
fn a_prefix_that_was_just_taken_off_is_not_taken_over_again() {
    let prefixes = |settings: PoolSettings| {
        let Mode::Shared(sharing) = settings.mode else { unreachable!() };
        PoolSettings { mode: Mode::Shared(Sharing { prefixes: true, ..sharing }), ..settings }
    };
    let mut world = World::new(prefixes(idle(30, 40)), [50, 50], 4, 50);
    world.settle_for(400);
    assert_eq!(world.prefixes.len(), 2);
    world.reconfigure(prefixes(idle(0, 17)));
    look_around(&mut world, |_| ());
    assert_eq!(world.prefixes.len(), 1);
    world.come_to_rest();
}

/// A daemon that was away does not know when its addresses were taken off.
#[test]
fn what_was_taken_off_just_before_a_death_is_not_taken_over_again() {
    let mut world = warm(idle(4, 4));
    world.reconfigure(idle(0, 2));
    look_around(&mut world, World::crash);
    world.settle_for(5);
    assert_eq!(world.addresses.len(), 2);
    world.come_to_rest();
}

#[test]
fn after_a_death_one_refusal_does_not_end_what_may_have_been_asked_before() {
    let mut world = warm(slow(4));
    world.reconfigure(slow(6));
    until_asked(&mut world);
    world.answer(0, Fate::Late(60));
    world.crash();
    world.see_links();
    until_asked(&mut world);
    world.answer(0, Fate::Refused(Kind::SubnetExhausted));
    world.execute(usize::MAX);
    assert!(is_assigning(&world), "the call of the life before may still land");
    world.settle_for(1200);
    assert_eq!(world.view().idle, 6);
    world.come_to_rest();
}

#[test]
fn a_vswitch_that_gives_addresses_again_is_not_set_aside_any_more() {
    let many = |per_eni, min_idle| {
        let settings = PoolSettings { max_enis: 2, ..idle(min_idle, 8) };
        let Mode::Shared(sharing) = settings.mode else { unreachable!() };
        PoolSettings { mode: Mode::Shared(Sharing { per_eni, ..sharing }), ..settings }
    };
    let mut world = World::new(many(1, 2), [50, 0], 4, 50);
    world.settle_for(400);
    world.reconfigure(many(4, 8));
    until_asked(&mut world);
    assert_eq!(world.running.len(), 2, "both ENIs are asked");
    world.answer(0, Fate::Refused(Kind::SubnetExhausted));
    assert_eq!(world.view().set_aside.len(), 1);
    world.answer(0, Fate::Done);
    assert_eq!(world.view().set_aside, []);
    world.come_to_rest();
}
