//! Histories of ENIs that are on their way: for whom they are meant, and who is counted for.

use super::world::{Demand, Fate, World, fast_settings};
use crate::PoolSettings;

/// A pool without a stock.
fn world(settings: PoolSettings) -> World {
    World::new(settings, [50, 50], 50)
}

#[test]
fn what_somebody_waits_for_is_attached_though_many_others_come() {
    let settings = PoolSettings { min_idle: 0, max_idle: 0, max_enis: 3, parallel: 3, ..fast_settings() };
    let mut world = world(settings);
    world.demand(1, Demand::Groups, 1000);
    world.execute(usize::MAX);
    world.allocate(2, 1000);
    world.allocate(3, 1000);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Creating"; 3]);
    world.cancel(1);
    world.cancel(1);
    world.answer(0, Fate::Done);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Attaching", "Creating", "Creating"]);
    world.come_to_rest();
}

#[test]
fn what_is_made_for_somebody_who_waits_does_not_count_for_the_stock() {
    let none = PoolSettings { min_idle: 1, max_idle: 1, max_enis: 0, ..fast_settings() };
    let mut world = world(none.clone());
    world.allocate(1, 1000);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), [""; 0]);
    world.reconfigure(PoolSettings { max_enis: 2, ..none });
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Creating"; 2], "one for who waits and one for the stock, at once");
    world.come_to_rest();
}
