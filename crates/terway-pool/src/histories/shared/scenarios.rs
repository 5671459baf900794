//! Histories of addresses a person would tell, one for each promise, in the same world as the random ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use terway_types::{
    AddressPhase, AddressRecord, Addresses, CloudFailureKind as Kind, EniPhase, FaultCode, LedgerSnapshot,
    Timestamp,
};

use super::world::World;
use crate::histories::world::{Fate, fast_settings};
use crate::testing::{attachment, key, record};
use crate::{
    Answer, Effect, EniPolicy, Event, Mode, Note, Pool, PoolSettings, Reclaim, ReleasePace, Sharing,
};

fn sharing() -> Sharing {
    Sharing { per_eni: 10, prefixes: false, assign_batch: 10, eni_policy: EniPolicy::MostIps, min_enis: 0 }
}

fn settings(sharing: Sharing) -> PoolSettings {
    PoolSettings {
        mode: Mode::Shared(sharing),
        min_idle: 0,
        max_idle: 1000,
        max_enis: 20,
        ipv6: true,
        release: ReleasePace { interval: Duration::from_millis(40), quick: true },
        ..fast_settings()
    }
}

fn world(settings: PoolSettings) -> World {
    World::new(settings, [5000, 5000], 100, 1000)
}

fn calls(world: &World) -> BTreeMap<&'static str, u32> {
    world.calls.clone()
}

fn faults(world: &World) -> Vec<FaultCode> {
    let fault = |answer: &Answer| match answer {
        Answer::Failed(fault) => Some(fault.code),
        _ => None,
    };
    world.answers.iter().filter_map(|(_, answer)| fault(answer)).collect()
}

#[test]
fn a_burst_of_100_pods_costs_ten_enis_and_not_one_call_more() {
    let mut world = world(settings(sharing()));
    (0..100).for_each(|number| world.allocate(number, 5000));
    world.settle_for(600);
    assert_eq!(world.told.len(), 100);
    assert_eq!(calls(&world), BTreeMap::from([("create", 10), ("attach", 10)]));
    world.come_to_rest();
}

#[test]
fn a_burst_on_large_enis_fills_as_few_as_possible() {
    let mut world = world(settings(Sharing { per_eni: 20, ..sharing() }));
    (0..100).for_each(|number| world.allocate(number, 5000));
    world.settle_for(800);
    assert_eq!(world.told.len(), 100);
    assert_eq!(calls(&world), BTreeMap::from([("create", 5), ("attach", 5), ("assign", 5)]));
    world.come_to_rest();
}

#[test]
fn a_burst_of_100_pods_out_of_prefixes_costs_one_eni() {
    let mut world = world(settings(Sharing { prefixes: true, ..sharing() }));
    (0..100).for_each(|number| world.allocate(number, 5000));
    world.settle_for(400);
    assert_eq!(world.told.len(), 100);
    assert_eq!(calls(&world), BTreeMap::from([("create", 1), ("attach", 1)]));
    assert_eq!(world.prefixes.len(), 8, "seven of IPv4, for 99 and the primary one, and one of IPv6");
    world.come_to_rest();
}

#[test]
fn steady_churn_costs_no_call() {
    let mut world = world(PoolSettings { min_idle: 3, max_idle: 10, ..settings(sharing()) });
    world.settle_for(400);
    let before = calls(&world);
    for round in 0..40 {
        world.allocate(round % 4, 1000);
        world.settle_for(5);
        world.release(round % 4);
        world.settle_for(60);
    }
    assert_eq!((calls(&world), faults(&world)), (before, vec![]));
    world.come_to_rest();
}

#[test]
fn quiet_after_a_burst_the_enis_go_by_few_calls_and_their_records_with_them() {
    let reclaim = Reclaim {
        after: Duration::from_millis(300),
        interval: Duration::from_millis(50),
        batch: 10,
        jitter_permille: 0,
    };
    let mut world =
        world(PoolSettings { min_idle: 2, max_idle: 5, reclaim: Some(reclaim), ..settings(sharing()) });
    (0..40).for_each(|number| world.allocate(number, 5000));
    world.settle_for(400);
    (1..40).for_each(|number| world.release(number));
    world.settle_for(60);
    assert_eq!(world.view().idle, 41, "with the two of the low water mark");
    world.come_to_rest();
    assert_eq!((world.view().idle, world.enis.len()), (2, 1));
    assert_eq!(world.addresses.len(), 6);
    assert_eq!((world.calls["detach"], world.calls["delete"]), (4, 4));
    assert!(world.calls["unassign"] <= 2, "{:?}", world.calls);
}

#[test]
fn a_warm_up_is_reached_once() {
    let release = ReleasePace { interval: Duration::from_secs(10), quick: true };
    let mut world = world(PoolSettings { max_idle: 4, warm_up: 25, release, ..settings(sharing()) });
    world.settle_for(250);
    assert_eq!(world.view().idle, 25);
    world.come_to_rest();
    assert_eq!(world.view().idle, 4);
}

#[test]
fn a_warm_up_that_the_node_cannot_reach_ends_when_it_is_full() {
    let sharing = Sharing { per_eni: 4, ..sharing() };
    let mut world = world(PoolSettings { max_idle: 1, warm_up: 50, max_enis: 2, ..settings(sharing) });
    world.settle_for(400);
    world.come_to_rest();
    assert_eq!((world.view().idle, world.enis.len()), (1, 1), "the high water mark rules");
}

#[test]
fn a_node_that_goes_away_keeps_its_pods_until_their_release() {
    let mut world = world(PoolSettings { min_idle: 15, ..settings(sharing()) });
    world.allocate(1, 1000);
    world.settle_for(400);
    world.event(Event::Retire);
    world.settle_for(400);
    assert_eq!((world.enis.len(), world.told.len()), (1, 1));
    world.release(1);
    world.settle_for(400);
    assert!(world.enis.is_empty() && world.addresses.is_empty() && world.cloud.enis.is_empty());
}

#[test]
fn a_partial_answer_is_kept_and_the_rest_comes_from_another_vswitch() {
    let mut world = World::new(settings(sharing()), [7, 100], 100, 1000);
    world.allocate(1, 5000);
    world.settle_for(300);
    (2..8).for_each(|number| world.allocate(number, 5000));
    world.settle_for(300);
    assert_eq!((world.told.len(), faults(&world)), (7, vec![]));
    let vswitches: Vec<_> = world.enis.values().map(|eni| eni.vswitch.as_str()).collect();
    assert_eq!(vswitches, ["vsw-a", "vsw-b"]);
    world.come_to_rest();
}

#[test]
fn a_lower_limit_is_learned_from_the_cloud() {
    let mut world = World::new(settings(sharing()), [100, 100], 100, 4);
    world.allocate(1, 5000);
    world.settle_for(300);
    (2..10).for_each(|number| world.allocate(number, 5000));
    world.settle_for(100);
    assert!(world.events.contains(&"AddressLimitLearned"), "{:?}", world.events);
    world.settle_for(500);
    assert_eq!((world.told.len(), faults(&world)), (9, vec![]));
    world.come_to_rest();
}

#[test]
fn an_unheard_assign_is_repeated_with_its_token() {
    let mut world = world(settings(sharing()));
    world.allocate(1, 5000);
    world.settle_for(300);
    world.allocate(2, 5000);
    world.wait(10);
    world.execute(usize::MAX);
    world.answer(0, Fate::DoneUnheard);
    world.settle_for(50);
    assert_eq!(world.told.len(), 2);
    assert_eq!(world.cloud.enis.values().map(|real| real.has.ipv4.len()).sum::<usize>(), 2);
    world.come_to_rest();
}

#[test]
fn an_assign_that_died_with_the_daemon_is_repeated_with_its_token() {
    let mut world = world(settings(sharing()));
    world.allocate(1, 5000);
    world.settle_for(300);
    world.allocate(2, 5000);
    world.wait(10);
    world.execute(usize::MAX);
    assert_eq!(world.calls["assign"], 1);
    world.crash();
    world.settle_for(100);
    assert_eq!(world.view().idle, 1, "it came, and nobody waits for it any more");
    assert_eq!(world.cloud.enis.values().map(|real| real.has.ipv4.len()).sum::<usize>(), 2);
    world.come_to_rest();
}

#[test]
fn an_address_of_another_eni_is_refused_loudly() {
    let mut world = world(settings(Sharing { per_eni: 2, ..sharing() }));
    (0..3).for_each(|number| world.allocate(number, 5000));
    world.settle_for(400);
    world.allocate(9, 5000);
    world.wait(10);
    world.execute(usize::MAX);
    world.lie(0);
    assert!(faults(&world).is_empty());
    world.settle_for(100);
    assert_eq!(world.events, ["AddressConflict"]);
    assert_eq!(world.told.len(), 4);
    world.come_to_rest();
}

#[test]
fn an_eni_that_vanished_gives_no_more_and_keeps_its_pods() {
    let mut world = world(settings(sharing()));
    world.allocate(1, 5000);
    world.settle_for(300);
    world.cloud.vanish(0);
    world.vanished.extend(world.enis.keys().cloned());
    world.allocate(2, 5000);
    world.settle_for(400);
    assert_eq!(world.told.len(), 2);
    assert!(world.events.contains(&"EniVanished"));
    assert_ne!(world.told[&key(1)].0, world.told[&key(2)].0);
    world.release(1);
    world.lose_netdev(0);
    world.settle_for(200);
    assert_eq!(world.enis.len(), 1, "it left by the way that proves it gone");
    world.come_to_rest();
}

#[test]
fn a_refusal_on_one_eni_does_not_keep_pods_from_others() {
    let mut world = world(settings(Sharing { per_eni: 4, ..sharing() }));
    world.allocate(1, 5000);
    world.settle_for(300);
    world.allocate(2, 5000);
    world.wait(10);
    world.execute(usize::MAX);
    world.answer(0, Fate::Refused(Kind::InvalidState));
    world.execute(usize::MAX);
    assert_eq!(world.calls["create"], 2, "another ENI is made while the first one rests from its failure");
    world.settle_for(300);
    assert_eq!(world.told.len(), 2);
    world.come_to_rest();
}

#[test]
fn those_who_wait_learn_why_with_the_numbers() {
    let mut world = world(PoolSettings { max_enis: 1, ..settings(Sharing { per_eni: 2, ..sharing() }) });
    (1..=3).for_each(|number| world.allocate(number, 500));
    world.settle_for(300);
    let waiter = world.view().waiters[0].clone();
    assert_eq!((waiter.place, waiter.key), (1, key(3)));
    let why = "the ENIs of this node are full (2 addresses in use; 1 of at most 1 ENIs)";
    assert_eq!(waiter.waits_for, why);
    world.settle_for(300);
    let Some((_, Answer::Failed(fault))) = world.answers.last() else { panic!("{:?}", world.answers) };
    assert_eq!(fault.code, FaultCode::PoolExhausted);
    assert_eq!(fault.what, format!("no address for net/c3/eth0 within 0.5 s: {why}"));
    world.come_to_rest();
}

#[test]
fn capacity_counts_addresses() {
    let mut world =
        world(PoolSettings { max_enis: 2, min_idle: 3, ..settings(Sharing { per_eni: 4, ..sharing() }) });
    world.settle_for(300);
    let capacity = |world: &World| (world.view().capacity.now, world.view().capacity.later);
    assert_eq!(capacity(&world), (3, 8));
    world.allocate(1, 500);
    world.settle_for(300);
    assert_eq!(capacity(&world), (3, 7));
    world.cloud.free.values_mut().for_each(|free| *free = 0);
    (2..6).for_each(|number| world.allocate(number, 100));
    world.settle_for(60);
    assert_eq!(capacity(&world), (0, 0), "both vSwitches are set aside");
    world.come_to_rest();
}

// ------------------------------------------------------------------ recovery

fn started(settings: PoolSettings, snapshot: LedgerSnapshot) -> (Pool, Vec<&'static str>) {
    let (pool, effects) = Pool::new(settings, snapshot, Timestamp(5000));
    let events = effects.iter().filter_map(|effect| match effect {
        Effect::Note(Note::Event { reason, .. }) => Some(*reason),
        _ => None,
    });
    let events = events.collect();
    pool.shared.stock.check();
    (pool, events)
}

fn address(host: u8, phase: AddressPhase) -> AddressRecord {
    AddressRecord { address: [10, 0, 0, host].into(), eni: "t".into(), phase, since: Timestamp(1) }
}

fn holding(number: u8, host: u8) -> terway_types::AttachmentRecord {
    let addresses = Addresses::new(Some([10, 0, 0, host].into()), None);
    terway_types::AttachmentRecord { addresses, ..attachment(number, "t") }
}

#[test]
fn contradictions_in_the_ledger_never_give_an_address_twice() {
    let snapshot = LedgerSnapshot {
        enis: vec![record("t", EniPhase::Ready)],
        attachments: vec![holding(1, 1), holding(2, 1), holding(3, 3), holding(4, 4)],
        addresses: vec![
            address(1, AddressPhase::InUse(key(1))),
            address(2, AddressPhase::InUse(key(9))),
            address(3, AddressPhase::Idle),
            AddressRecord { eni: "nobody".into(), ..address(8, AddressPhase::Idle) },
        ],
        ..LedgerSnapshot::default()
    };
    let settings = PoolSettings { ipv6: false, ..settings(sharing()) };
    let (pool, events) = started(settings, snapshot);
    let held: Vec<_> = pool.attachments().map(|(held, _)| held.key.clone()).collect();
    assert_eq!(held, [key(1), key(3), key(4)], "two names the address of one");
    let phases: Vec<_> = pool.view(Timestamp(5000)).enis[0]
        .addresses
        .iter()
        .map(|view| (view.record.address, view.record.phase.name()))
        .collect();
    let at = |host: u8, name| (IpAddr::from([10, 0, 0, host]), name);
    assert_eq!(phases, [at(1, "InUse"), at(2, "Quarantined"), at(3, "InUse"), at(4, "InUse")]);
    assert_eq!(events, ["AttachmentContradicted", "AddressMisplaced", "AddressWithoutRecord"]);
}

#[test]
fn whole_enis_of_an_exclusive_past_are_served_until_their_release_and_then_let_go() {
    let mut whole = record("w", EniPhase::InUse(key(1)));
    whole.mac = Some(terway_types::MacAddr([2, 0, 0, 0, 0, 9]));
    let snapshot = LedgerSnapshot {
        enis: vec![whole],
        attachments: vec![attachment(1, "w")],
        ..LedgerSnapshot::default()
    };
    let (mut pool, events) = started(settings(sharing()), snapshot);
    assert_eq!(events, ["EniOfOtherMode"]);
    let phase = |pool: &Pool| pool.view(Timestamp(0)).enis[0].record.phase.name();
    assert_eq!((phase(&pool), pool.view(Timestamp(0)).in_use), ("InUse", 1));
    let request = crate::RequestId(1);
    pool.handle(Timestamp(5001), Event::Release { request, key: key(1) });
    assert_eq!(phase(&pool), "Quarantined");
    pool.handle(Timestamp(5002), Event::LinkUp { mac: terway_types::MacAddr([2, 0, 0, 0, 0, 9]) });
    pool.handle(Timestamp(5100), Event::Tick);
    assert_eq!(phase(&pool), "Detaching");
}

#[test]
fn shared_addresses_are_served_in_exclusive_mode_until_their_release() {
    let mut eni = record("t", EniPhase::Ready);
    eni.mac = Some(terway_types::MacAddr([2, 0, 0, 0, 0, 9]));
    let snapshot = LedgerSnapshot {
        enis: vec![eni],
        attachments: vec![holding(1, 1)],
        addresses: vec![address(1, AddressPhase::InUse(key(1))), address(2, AddressPhase::Idle)],
        ..LedgerSnapshot::default()
    };
    let settings = PoolSettings { min_idle: 0, ..fast_settings() };
    let (mut pool, events) = started(settings, snapshot);
    assert_eq!(events, ["EniOfOtherMode"]);
    pool.handle(Timestamp(5002), Event::LinkUp { mac: terway_types::MacAddr([2, 0, 0, 0, 0, 9]) });
    let phase = |pool: &Pool| pool.view(Timestamp(0)).enis[0].record.phase.name();
    assert_eq!((phase(&pool), pool.attachments().count(), pool.view(Timestamp(0)).idle), ("Ready", 1, 0));
    let request = crate::RequestId(1);
    pool.handle(Timestamp(5003), Event::Release { request, key: key(1) });
    assert_eq!(phase(&pool), "Detaching");
}

#[test]
fn another_mode_is_refused_while_running() {
    let (mut pool, _) = started(settings(sharing()), LedgerSnapshot::default());
    let effects = pool.handle(Timestamp(5001), Event::Reconfigure(fast_settings()));
    let refused =
        |effect: &Effect| matches!(effect, Effect::Note(Note::Event { reason: "ModeChangeRefused", .. }));
    assert!(effects.iter().any(refused), "{effects:?}");
    assert_eq!(pool.view(Timestamp(5001)).mode, terway_types::NodeMode::Shared);
}
