//! Histories of the node's end.

use terway_types::FaultCode;

use super::scenarios::{faults, warm};
use super::world::{Demand, World, fast_settings};
use crate::testing::key;
use crate::{Capacity, Keep, PoolSettings};

fn used() -> World {
    let mut world = warm(PoolSettings { min_idle: 2, max_idle: 2, ..fast_settings() });
    world.allocate(1, 100);
    world.settle_for(300);
    world.enter(1);
    world.settle_for(1);
    world
}

#[test]
fn a_node_that_goes_away_serves_nobody_new_and_lets_everything_go_that_nobody_holds() {
    let mut world = used();
    world.retire();
    world.execute(usize::MAX);
    assert_eq!(world.view().capacity, Capacity::default());
    world.allocate(2, 1000);
    world.demand(3, Demand::Claim(0, Keep::Fixed), 1000);
    world.execute(usize::MAX);
    assert_eq!(faults(&world), [FaultCode::NodeRetiring; 2], "told at once");
    world.settle_for(300);
    assert_eq!(world.ledger_phases(), ["InUse"]);
    assert!(world.told().contains_key(&key(1)));
    world.release(1);
    world.leave(0);
    world.settle_for(300);
    assert_eq!(world.ledger_phases().len(), 0);
    world.come_to_rest();
}

/// Nobody knows of the pod that has the netdev, so it is asked of the netdev.
#[test]
fn an_eni_in_a_pod_of_a_lost_ledger_stays_until_its_netdev_is_home() {
    let mut world = used();
    world.reconfigure(PoolSettings { min_idle: 0, max_idle: 1, ..fast_settings() });
    world.lose_ledger();
    world.settle_for(10);
    world.look_twice();
    world.retire();
    world.settle_for(500);
    assert_eq!(world.ledger_phases(), ["Quarantined"]);
    world.leave(0);
    world.settle_for(300);
    assert_eq!(world.ledger_phases().len(), 0);
    world.come_to_rest();
}
