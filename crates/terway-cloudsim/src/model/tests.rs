//! The cloud's promises: addresses are never double, limits hold, tokens make creation repeatable, and
//! the API's states wait for the link where the vendor's do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use terway_types::AddressCounts;

use ipnetwork::IpNetwork;

use super::*;
use crate::fixture::config;

const BEGINNING: Timestamp = Timestamp(1_000_000);

fn booted() -> World {
    let mut world = World::from_config(config(), BEGINNING).unwrap();
    run(&mut world, BEGINNING);
    world
}

/// Lets time pass up to `now`, with a fabric that does at once what it is asked.
fn run(world: &mut World, now: Timestamp) {
    world.advance(now);
    loop {
        let actions = world.take_actions();
        if actions.is_empty() {
            break;
        }
        for action in actions {
            match action {
                FabricAction::Plug(nic) => world.plugged(&nic.eni, now),
                FabricAction::Unplug(eni) => world.unplugged(&eni, now),
                FabricAction::Guard(_) => {}
            }
        }
        world.advance(now);
    }
}

fn counts(ipv4: u32, ipv6: u32) -> AddressCounts {
    AddressCounts { ipv4, ipv6, ..AddressCounts::default() }
}

fn wish(token: &str) -> CreateEni {
    CreateEni {
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        kind: EniKind::Secondary,
        counts: counts(1, 1),
        primary_ipv4: None,
        delete_on_release: true,
        lingjun: false,
        tags: BTreeMap::from([("creator".to_owned(), "terway".to_owned())]),
        name: String::new(),
        description: String::new(),
        client_token: Some(token.to_owned()),
    }
}

fn status(world: &World, id: &EniId) -> Option<Status> {
    world.eni(id).map(|eni| eni.status)
}

fn later(ms: u64) -> Timestamp {
    Timestamp(BEGINNING.0 + ms)
}

#[test]
fn an_eni_lives_its_life() {
    let mut world = booted();
    let node = InstanceId::from("i-1");
    let id = world.create_eni(&wish("t1"), BEGINNING).unwrap().id;
    assert_eq!(status(&world, &id), Some(Status::Creating));
    assert_eq!(
        world.attach_eni(&id, &node, None, BEGINNING).unwrap_err().code(),
        "InvalidOperation.InvalidEniState"
    );
    run(&mut world, later(20));
    assert_eq!(status(&world, &id), Some(Status::Available));
    world.attach_eni(&id, &node, None, later(20)).unwrap();
    run(&mut world, later(119));
    assert_eq!(status(&world, &id), Some(Status::Attaching));
    run(&mut world, later(120));
    assert_eq!(status(&world, &id), Some(Status::InUse));
    assert_eq!(world.delete_eni(&id, later(120)).unwrap_err().code(), "InvalidOperation.InvalidEniState");
    world.detach_eni(&id, &node, None, later(120)).unwrap();
    world.detach_eni(&id, &node, None, later(121)).unwrap();
    run(&mut world, later(220));
    assert_eq!(status(&world, &id), Some(Status::Available));
    assert_eq!(world.eni(&id).unwrap().attachment, None);
    world.delete_eni(&id, later(220)).unwrap();
    run(&mut world, later(240));
    assert_eq!(status(&world, &id), None);
    assert_eq!(world.attach_eni(&id, &node, None, later(240)).unwrap_err().code(), "InvalidEniId.NotFound");
    assert_eq!(world.next_deadline(), None);
}

#[test]
fn in_use_waits_for_the_link_unless_told_otherwise() {
    for link_after in [false, true] {
        let mut world = booted();
        let node = InstanceId::from("i-1");
        let id = world.create_eni(&wish("t1"), BEGINNING).unwrap().id;
        run(&mut world, later(20));
        let latency = Latency { link_after_in_use: link_after, ..Latency::default() };
        world.set_latency(latency);
        world.attach_eni(&id, &node, None, later(20)).unwrap();
        world.advance(later(1000));
        assert!(matches!(&world.take_actions()[..], [FabricAction::Plug(nic)] if nic.eni == id));
        let expected = if link_after { Status::InUse } else { Status::Attaching };
        assert_eq!(status(&world, &id), Some(expected), "link_after_in_use = {link_after}");
        world.plugged(&id, later(1000));
        world.advance(later(1000));
        assert_eq!(status(&world, &id), Some(Status::InUse));
    }
}

#[test]
fn available_waits_until_the_link_is_gone() {
    let mut world = booted();
    let node = InstanceId::from("i-1");
    let id = world.create_eni(&wish("t1"), BEGINNING).unwrap().id;
    run(&mut world, later(20));
    world.attach_eni(&id, &node, None, later(20)).unwrap();
    run(&mut world, later(120));
    world.detach_eni(&id, &node, None, later(120)).unwrap();
    world.advance(later(500));
    assert_eq!(world.take_actions(), [FabricAction::Unplug(id.clone())]);
    assert_eq!(status(&world, &id), Some(Status::Detaching));
    world.unplugged(&id, later(500));
    world.advance(later(500));
    assert_eq!(status(&world, &id), Some(Status::Available));
}

#[test]
fn a_lost_link_comes_back_while_the_eni_is_attached() {
    let mut world = booted();
    let primary = world.instance(&"i-1".into()).unwrap().primary.clone();
    world.link_lost(&primary, later(1));
    world.advance(later(1));
    assert!(
        matches!(&world.take_actions()[..], [FabricAction::Plug(nic)] if nic.eni == primary && nic.primary)
    );
}

#[test]
fn a_node_that_does_not_answer_gives_the_eni_back() {
    let mut world = booted();
    let id = world.create_eni(&wish("t1"), BEGINNING).unwrap().id;
    run(&mut world, later(20));
    world.attach_eni(&id, &"i-1".into(), None, later(20)).unwrap();
    world.advance(later(100));
    assert_eq!(world.take_actions().len(), 1);
    world.plug_failed(&id, later(101));
    world.advance(later(101));
    assert_eq!(status(&world, &id), Some(Status::Available));
}

#[test]
fn a_token_makes_creation_repeatable() {
    let mut world = booted();
    let first = world.create_eni(&wish("t1"), BEGINNING).unwrap();
    assert_eq!(world.create_eni(&wish("t1"), later(5)).unwrap(), first);
    let other = CreateEni { counts: counts(1, 0), ..wish("t1") };
    assert_eq!(world.create_eni(&other, later(5)).unwrap_err().code(), "IdempotentParameterMismatch");
    run(&mut world, later(20));
    world.delete_by_hand(&first.id, later(20)).unwrap();
    run(&mut world, later(20));
    assert_eq!(status(&world, &first.id), None);
    assert_eq!(world.create_eni(&wish("t1"), later(30)).unwrap().id, first.id);
}

#[test]
fn limits_are_told_by_their_codes() {
    let mut world = booted();
    let node = InstanceId::from("i-1");
    // Type small: 3 ENIs with the primary one; two more fit.
    let ids: Vec<_> =
        (0..3).map(|n| world.create_eni(&wish(&format!("t{n}")), BEGINNING).unwrap().id).collect();
    run(&mut world, later(20));
    world.attach_eni(&ids[0], &node, None, later(20)).unwrap();
    world.attach_eni(&ids[1], &node, None, later(20)).unwrap();
    assert_eq!(
        world.attach_eni(&ids[2], &node, None, later(20)).unwrap_err().code(),
        "EniPerInstanceLimitExceeded"
    );
    world.set_quota(Quota { enis: 3, ..Quota::default() });
    assert_eq!(world.create_eni(&wish("t9"), later(20)).unwrap_err().code(), "MaxEniCountExceeded");
    world.set_quota(Quota { enis: 100, ..Quota::default() });
    // vsw-tiny is a /29: four addresses.
    let tiny = |token: &str| CreateEni { vswitch: "vsw-tiny".into(), counts: counts(1, 0), ..wish(token) };
    for n in 0..4 {
        world.create_eni(&tiny(&format!("tiny{n}")), later(20)).unwrap();
    }
    assert_eq!(
        world.create_eni(&tiny("tiny4"), later(20)).unwrap_err().code(),
        "InvalidVSwitchId.IpNotEnough"
    );
    let v6 = CreateEni { vswitch: "vsw-tiny".into(), ..wish("v6") };
    assert_eq!(
        world.create_eni(&v6, later(20)).unwrap_err().code(),
        "InvalidOperation.VSwitchIpv6NotEnabled"
    );
}

#[test]
fn zones_and_primary_enis_are_respected() {
    let mut world = booted();
    let far = CreateEni { vswitch: "vsw-far".into(), counts: counts(1, 0), ..wish("far") };
    let id = world.create_eni(&far, BEGINNING).unwrap().id;
    run(&mut world, later(20));
    let code = world.attach_eni(&id, &"i-1".into(), None, later(20)).unwrap_err().code();
    assert_eq!(code, "InvalidOperation.AvailabilityZoneMismatch");
    let primary = world.instance(&"i-1".into()).unwrap().primary.clone();
    let code = world.detach_eni(&primary, &"i-1".into(), None, later(20)).unwrap_err().code();
    assert_eq!(code, "InvalidOperation.DetachPrimaryEniNotAllowed");
}

#[derive(Clone, Debug)]
enum Move {
    Create { token: u8, tiny: bool },
    Attach { eni: usize, node: bool },
    Detach { eni: usize, node: bool },
    Delete { eni: usize },
    DeleteByHand { eni: usize },
    LoseLink { eni: usize },
    Assign { eni: usize, ipv4: u32, prefixes: u32 },
    Unassign { eni: usize },
    DetachByHand { eni: usize },
    Pass { ms: u64 },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (any::<u8>(), any::<bool>()).prop_map(|(token, tiny)| Move::Create { token, tiny }),
        (0..12usize, any::<bool>()).prop_map(|(eni, node)| Move::Attach { eni, node }),
        (0..12usize, any::<bool>()).prop_map(|(eni, node)| Move::Detach { eni, node }),
        (0..12usize).prop_map(|eni| Move::Delete { eni }),
        (0..12usize).prop_map(|eni| Move::DeleteByHand { eni }),
        (0..12usize).prop_map(|eni| Move::LoseLink { eni }),
        (0..12usize, 0..4u32, 0..2u32).prop_map(|(eni, ipv4, prefixes)| Move::Assign { eni, ipv4, prefixes }),
        (0..12usize).prop_map(|eni| Move::Unassign { eni }),
        (0..12usize).prop_map(|eni| Move::DetachByHand { eni }),
        (0..150u64).prop_map(|ms| Move::Pass { ms }),
    ];
    prop::collection::vec(one, 1..80)
}

/// What holds at every instant.
fn check_promises(world: &World) {
    let mut addresses = BTreeSet::new();
    let mut macs = BTreeSet::new();
    let prefixes: Vec<IpNetwork> = world.enis().flat_map(|eni| eni.addresses.prefixes.clone()).collect();
    for eni in world.enis() {
        assert!(eni.mac.is_unicast() && macs.insert(eni.mac), "MAC {} is double", eni.mac);
        let vswitch = world.vswitch(&eni.vswitch).unwrap();
        let gateways = vswitch.gateways;
        for address in eni.addresses.singles() {
            assert!(addresses.insert(address), "{address} is double");
            assert!(prefixes.iter().all(|prefix| !prefix.contains(address)), "{address} is in a prefix");
            assert!(
                Some(address) != gateways.v4.map(IpAddr::V4) && Some(address) != gateways.v6.map(IpAddr::V6)
            );
        }
        assert!(eni.addresses.ipv4.iter().all(|address| vswitch.subnets.v4.unwrap().contains(*address)));
        let attached = matches!(eni.status, Status::Attaching | Status::InUse | Status::Detaching);
        assert_eq!(eni.attachment.is_some(), attached, "{} is {}", eni.id, eni.status);
    }
    for instance in world.instances() {
        assert!(world.enis_of(&instance.id).len() <= instance.instance_type.enis as usize);
    }
    for vswitch in world.vswitches() {
        let held: usize = world.enis().filter(|eni| eni.vswitch == vswitch.id).map(Eni::ipv4_held).sum();
        let size = u128::from(2_u64.pow(32 - u32::from(vswitch.subnets.v4.unwrap().prefix()))) - 4;
        assert_eq!(vswitch.free_ipv4(), size - held as u128);
    }
}

proptest! {
    #[test]
    fn promises_hold_in_every_history(history in moves()) {
        let mut world = booted();
        let mut now = BEGINNING;
        for step in history {
            let ids: Vec<EniId> = world.enis().map(|eni| eni.id.clone()).collect();
            let pick = |n: usize| ids[n % ids.len()].clone();
            let node = |second: bool| InstanceId::from(if second { "i-2" } else { "i-1" });
            // Refusals are part of the history; what they must not do is break a promise.
            match step {
                Move::Create { token, tiny } => {
                    let vswitch = if tiny { "vsw-tiny" } else { "vsw-a" };
                    let request =
                        CreateEni { vswitch: vswitch.into(), counts: counts(1, u32::from(!tiny)), ..wish(&token.to_string()) };
                    let _ = world.create_eni(&request, now);
                }
                Move::Attach { eni, node: n } => { let _ = world.attach_eni(&pick(eni), &node(n), None, now); }
                Move::Detach { eni, node: n } => { let _ = world.detach_eni(&pick(eni), &node(n), None, now); }
                Move::Delete { eni } => { let _ = world.delete_eni(&pick(eni), now); }
                Move::DeleteByHand { eni } => { let _ = world.delete_by_hand(&pick(eni), now); }
                Move::LoseLink { eni } => world.link_lost(&pick(eni), now),
                Move::Assign { eni, ipv4, prefixes } => {
                    let more = AddressCounts { ipv4, ipv4_prefixes: prefixes, ..AddressCounts::default() };
                    let request = Assign { eni: pick(eni), wanted: Wanted::Any(more), client_token: None };
                    let _ = world.assign(&request, None, now);
                }
                Move::Unassign { eni } => {
                    let mut all = world.eni(&pick(eni)).unwrap().addresses.clone();
                    all.ipv4.remove(0);
                    let _ = world.unassign(&pick(eni), &all, now);
                }
                Move::DetachByHand { eni } => { let _ = world.detach_by_hand(&pick(eni), now); }
                Move::Pass { ms } => now = now + Duration::from_millis(ms),
            }
            run(&mut world, now);
            check_promises(&world);
        }
        // Everything passing ends by itself.
        while let Some(next) = world.next_deadline() {
            now = next;
            run(&mut world, now);
        }
        for eni in world.enis() {
            prop_assert!(matches!(eni.status, Status::Available | Status::InUse), "{} is {}", eni.id, eni.status);
            let linked = eni.link == Link::Present;
            prop_assert_eq!(linked, eni.status == Status::InUse);
        }
    }
}
