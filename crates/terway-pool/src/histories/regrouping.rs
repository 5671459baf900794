//! Histories of ENIs that get other security groups, when it is not known which calls have landed.

use terway_types::CloudFailureKind as Kind;

use super::scenarios::warm;
use super::world::{Demand, Fate, World, fast_settings};
use crate::PoolSettings;
use crate::testing::key;

fn one() -> PoolSettings {
    PoolSettings { min_idle: 0, max_idle: 1, max_enis: 1, ..fast_settings() }
}

/// One idle ENI, and nobody who waits.
fn idle(settings: PoolSettings) -> World {
    let mut world = warm(PoolSettings { min_idle: 1, ..settings.clone() });
    world.reconfigure(settings);
    world.settle_for(1);
    assert_eq!(world.ledger_phases(), ["Ready"]);
    world
}

#[test]
fn an_idle_eni_gets_other_groups_by_one_call() {
    let mut world = idle(one());
    let calls = world.cloud_calls;
    world.demand(1, Demand::Groups, 1000);
    world.settle_for(10);
    assert!(world.told().contains_key(&key(1)));
    assert_eq!(world.cloud_calls, calls + 1);
    world.come_to_rest();
}

#[test]
fn after_a_death_no_eni_is_regrouped_before_old_calls_have_landed() {
    let mut world = idle(PoolSettings { max_enis: 2, ..one() });
    world.crash();
    world.see_links();
    world.execute(usize::MAX);
    world.demand(1, Demand::Groups, 1000);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Ready", "Creating"], "another one is made");
    world.come_to_rest();
    let mut world = idle(PoolSettings { max_enis: 2, ..one() });
    world.crash();
    world.settle_for(110);
    world.demand(1, Demand::Groups, 1000);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Regrouping"]);
    world.come_to_rest();
}

#[test]
fn an_eni_is_not_said_to_keep_its_groups_while_a_lost_call_may_change_them() {
    let mut world = idle(one());
    world.demand(1, Demand::Groups, 1000);
    world.execute(usize::MAX);
    world.answer(0, Fate::Late(60));
    world.wait(20);
    world.execute(usize::MAX);
    world.answer(0, Fate::Refused(Kind::Transient));
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Regrouping"]);
    world.settle_for(300);
    assert!(world.told().contains_key(&key(1)));
    world.come_to_rest();
}

#[test]
fn a_refused_regrouping_leaves_an_eni_its_groups() {
    let mut world = idle(one());
    world.demand(1, Demand::Groups, 1000);
    world.execute(usize::MAX);
    world.answer(0, Fate::Refused(Kind::Transient));
    world.execute(usize::MAX);
    assert_ne!(world.ledger_phases(), ["Regrouping"]);
    world.come_to_rest();
}

/// The first of two calls is answered late, when the second one is out. That one may land after a third call.
#[test]
fn a_call_that_is_out_when_an_earlier_one_is_answered_keeps_an_eni_from_being_regrouped_again() {
    let mut world = idle(one());
    world.demand(1, Demand::Groups, 2000);
    world.execute(usize::MAX);
    world.time_out();
    world.wait(20);
    world.execute(usize::MAX);
    world.see_links();
    world.execute(usize::MAX);
    assert!(world.told().contains_key(&key(1)), "the first call's answer is believed");
    world.release(1);
    world.wait(60);
    world.execute(usize::MAX);
    world.wait(60);
    world.allocate(2, 2000);
    world.execute(usize::MAX);
    assert_ne!(world.ledger_phases(), ["Regrouping"], "the second call may still land");
    world.settle_for(1000);
    assert!(world.told().contains_key(&key(2)));
    world.come_to_rest();
}
