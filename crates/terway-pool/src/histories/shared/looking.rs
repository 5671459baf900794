//! Histories of looks at the addresses of shared ENIs: one for each rule that a look can set in motion.

use std::net::IpAddr;

use terway_types::AddressPhase;

use super::looks::Meddling;
use super::world::World;
use crate::histories::world::fast_settings;
use crate::testing::key;
use crate::{EniPolicy, Mode, PoolSettings, Sharing};

/// A pool with four idle addresses of one ENI, or with its primary one and a prefix.
fn warm(prefixes: bool) -> World {
    let sharing = Sharing {
        per_eni: if prefixes { 2 } else { 4 },
        prefixes,
        assign_batch: 4,
        eni_policy: EniPolicy::MostIps,
        min_enis: 0,
    };
    let settings = PoolSettings {
        mode: Mode::Shared(sharing),
        min_idle: 4,
        max_idle: 20,
        max_enis: 1,
        ..fast_settings()
    };
    let mut world = World::new(settings, [50, 50], 4, 50);
    world.settle_for(400);
    world.events.clear();
    world
}

#[test]
fn an_ipv6_address_without_its_other_half_is_given_back() {
    for ipv6 in [false, true] {
        let mut world = warm(false);
        if ipv6 {
            world = World::new(PoolSettings { ipv6, ..world.settings.clone() }, [50, 50], 4, 50);
            world.settle_for(400);
        }
        let before = world.addresses.len();
        world.meddle(0, Meddling::AddV6);
        (0..2).for_each(|_| world.look_twice());
        world.settle_for(200);
        assert_eq!(
            (world.events.as_slice(), world.calls["unassign"]),
            (&["AddressAdopted"][..], 1),
            "{ipv6}"
        );
        assert_eq!((world.addresses.len(), idle(&world)), (before, 4));
        world.come_to_rest();
    }
}

/// A vSwitch has no address left, so pairs stay missing: the other half of what is there is asked for, not given back.
#[test]
fn half_a_pair_waits_for_its_other_half_while_pairs_are_missing() {
    let settings = warm(false).settings;
    let Mode::Shared(sharing) = settings.mode else { unreachable!() };
    let mode = Mode::Shared(Sharing { per_eni: 6, ..sharing });
    let settings = PoolSettings { mode, ipv6: true, ..settings };
    let mut world = World::new(settings.clone(), [50, 0], 4, 50);
    world.settle_for(400);
    world.meddle(0, Meddling::AddV6);
    let free = std::mem::take(&mut world.cloud.free);
    world.reconfigure(PoolSettings { min_idle: 5, ..settings });
    world.look_twice();
    world.settle_for(400);
    assert_eq!((idle(&world), world.addresses.len(), world.calls.get("unassign")), (4, 9, None));
    world.cloud.free = free;
    world.settle_for(400);
    assert_eq!((idle(&world), world.addresses.len(), world.calls.get("unassign")), (5, 10, None));
    world.come_to_rest();
}

fn idle(world: &World) -> u32 {
    world.view().idle
}

fn held(world: &World, number: u8) -> IpAddr {
    world.told[&key(number)].1.iter().next().unwrap()
}

#[test]
fn stale_and_partial_looks_hurt_nobody() {
    let mut world = warm(false);
    (1..=3).for_each(|number| world.allocate(number, 1000));
    world.settle_for(20);
    let (calls, told) = (world.calls.clone(), world.told.clone());
    for (stale, hide) in [(0, 0), (39, 0), (0, 1), (0, 0), (20, 0), (0, 1), (0, 0)] {
        world.look(stale, hide);
        world.settle_for(25);
        assert_eq!((&world.told, &world.calls), (&told, &calls));
    }
    assert_eq!(world.events, [""; 0]);
    world.come_to_rest();
}

#[test]
fn an_idle_address_that_somebody_took_off_is_not_given_and_then_forgotten() {
    let mut world = warm(false);
    world.settle_for(60);
    world.meddle(0, Meddling::TakeOff);
    world.look(0, 0);
    world.flow();
    assert_eq!((idle(&world), world.events.len()), (3, 0), "one look makes it suspect");
    (0..4).for_each(|number| world.allocate(number, 30));
    world.flow();
    assert_eq!(world.told.len(), 3, "the suspect one is given to nobody");
    world.look_twice();
    assert_eq!(world.events, ["AddressVanished"]);
    world.settle_for(100);
    assert!(world.addresses.keys().all(|address| !world.is_taken_off(*address)));
    assert_eq!(world.calls["assign"], 1, "another one comes for it");
    world.come_to_rest();
}

#[test]
fn one_stale_look_makes_suspect_and_the_next_one_clears() {
    let mut world = warm(false);
    world.settle_for(60);
    // The cloud forgets an address for a moment.
    let token = world.cloud.enis.keys().next().unwrap().clone();
    let lost = world.cloud.enis.get_mut(&token).unwrap().has.ipv4.pop().unwrap();
    world.wait(1);
    world.look(0, 0);
    world.flow();
    assert_eq!(idle(&world), 3);
    world.cloud.enis.get_mut(&token).unwrap().has.ipv4.push(lost);
    world.wait(1);
    world.look(0, 0);
    world.flow();
    assert_eq!((idle(&world), world.calls.get("assign")), (4, None));
    assert_eq!(world.events, [""; 0]);
    world.come_to_rest();
}

#[test]
fn an_address_in_use_that_somebody_took_off_stays_until_its_release_and_goes_to_nobody_after_it() {
    let mut world = warm(false);
    (1..=4).for_each(|number| world.allocate(number, 1000));
    world.settle_for(60);
    world.meddle(0, Meddling::TakeOff);
    let owner = (1..=4).find(|number| world.is_taken_off(held(&world, *number))).unwrap();
    let address = held(&world, owner);
    (0..3).for_each(|_| world.look_twice());
    assert_eq!(world.events, ["UsedAddressVanished"], "told once");
    assert_eq!(world.addresses[&address].phase, AddressPhase::InUse(key(owner)));
    world.release(owner);
    world.allocate(9, 80);
    world.settle_for(70);
    assert_ne!(world.told.get(&key(9)).map(|(_, held)| held.iter().any(|own| own == address)), Some(true));
    world.look_twice();
    assert_eq!(world.events, ["UsedAddressVanished", "AddressVanished"]);
    assert!(!world.addresses.contains_key(&address));
    world.come_to_rest();
}

#[test]
fn an_address_that_somebody_added_is_taken_over_and_rests_first() {
    let mut world = warm(false);
    world.meddle(0, Meddling::Add);
    world.look(0, 0);
    world.flow();
    assert_eq!(world.addresses.len(), 4, "one look proves nothing");
    world.wait(41);
    world.look(0, 0);
    world.flow();
    assert_eq!(
        (world.events.as_slice(), world.addresses.len(), idle(&world)),
        (&["AddressAdopted"][..], 5, 4)
    );
    world.settle_for(60);
    assert_eq!(idle(&world), 5, "rested");
    world.come_to_rest();
}

#[test]
fn a_prefix_is_taken_over_and_forgotten_like_an_address() {
    let mut world = warm(true);
    assert_eq!((idle(&world), world.prefixes.len()), (17, 1));
    world.settle_for(60);
    let prefix = *world.prefixes.keys().next().unwrap();
    world.meddle(0, Meddling::TakeOff);
    world.look_twice();
    assert_eq!(world.events, ["PrefixVanished"]);
    assert!(!world.prefixes.contains_key(&prefix));
    world.settle_for(200);
    assert_eq!((idle(&world), world.prefixes.len()), (17, 1), "another one came");
    world.lose_ledger();
    world.settle_for(20);
    world.look_twice();
    assert_eq!(world.prefixes.len(), 1);
    (0..3).for_each(|_| world.look_twice());
    assert_eq!(idle(&world), 17, "rested and seen again");
    world.come_to_rest();
}

#[test]
fn shared_enis_of_a_lost_ledger_are_adopted_and_their_addresses_rest() {
    let mut world = warm(false);
    (1..=2).for_each(|number| world.allocate(number, 1000));
    world.settle_for(50);
    let (calls, before) = (world.calls.clone(), world.cloud.enis.clone());
    world.lose_ledger();
    world.cloud.slots = 1;
    world.reconfigure(PoolSettings { min_idle: 0, ..world.settings.clone() });
    world.wait(1);
    world.look(0, 0);
    world.flow();
    world.wait(41);
    world.look(0, 0);
    world.flow();
    assert_eq!((world.events.as_slice(), world.enis.len()), (&["OrphanAttached"][..], 1));
    assert_eq!((world.addresses.len(), idle(&world)), (4, 0), "all of them rest");
    world.allocate(5, 200);
    world.settle_for(60);
    assert!(world.told.contains_key(&key(5)));
    assert_eq!(
        (world.calls["create"], &world.cloud.enis),
        (calls["create"], &before),
        "nothing was made anew"
    );
    world.come_to_rest();
}
