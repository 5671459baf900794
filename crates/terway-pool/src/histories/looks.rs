//! Histories of looks at the cloud, and of what people do behind the pool's back: one for each rule that a look
//! can set in motion.

use std::time::Duration;

use terway_types::{AddressSet, Addresses, EniPhase, IntentToken, LedgerSnapshot, MacAddr, Timestamp};

use super::world::{Fate, Meddling, World, fast_settings};
use crate::reconcile::testing::seen;
use crate::testing::{key, record};
use crate::{Effect, Event, Inventory, Note, Place, Pool, PoolSettings, SeenEni};

fn warm(settings: PoolSettings) -> World {
    let mut world = World::new(settings, [50, 50], 50);
    world.settle_for(400);
    world
}

fn idle(count: u32) -> PoolSettings {
    PoolSettings { min_idle: count, max_idle: count, max_enis: 8, ..fast_settings() }
}

fn reasons(world: &World) -> Vec<&'static str> {
    world.told_events.iter().map(|(reason, _)| *reason).collect()
}

/// An attachment holds an ENI and has taken its netdev. Its token, and its place among the cloud's ENIs.
fn in_use(world: &mut World, number: u8) -> (IntentToken, usize) {
    world.allocate(number, 1000);
    world.settle_for(300);
    world.enter(number);
    world.settle_for(1);
    let token = world.told()[&key(number)].clone();
    let index = world.cloud.enis.keys().position(|own| *own == token).unwrap();
    (token, index)
}

#[test]
fn partial_and_stale_looks_hurt_nobody() {
    let mut world = warm(idle(4));
    (1..=3).for_each(|number| _ = in_use(&mut world, number));
    world.settle_for(100);
    let (before, calls, told) = (world.view(), world.cloud_calls, world.told().clone());
    for (stale, hide) in [(0, 0x55), (0, 0), (39, 0), (0, 0xaa), (0, 0), (20, 0xff)] {
        world.look(stale, hide);
        world.settle_for(25);
        assert_eq!(world.told(), &told);
        assert_eq!(world.cloud_calls, calls, "a low water mark is not missed because of one bad look");
    }
    world.look(0, 0);
    world.settle_for(10);
    assert_eq!(world.view(), before);
    assert_eq!(reasons(&world), [""; 0]);
    world.come_to_rest();
}

#[test]
fn what_one_look_missed_is_not_given_until_the_next() {
    let mut world = warm(PoolSettings { max_enis: 1, ..idle(1) });
    world.look(0, 0xff);
    world.see_links();
    world.allocate(1, 1000);
    world.settle_for(50);
    assert!(world.told().is_empty());
    assert_eq!(
        world.view().waiters[0].waits_for,
        "the limit of 1 ENIs is reached (1 that the cloud does not show as they should be; 1 at most)"
    );
    world.look(0, 0);
    world.settle_for(1);
    assert!(world.told().contains_key(&key(1)));
    world.come_to_rest();
}

#[test]
fn an_idle_eni_that_somebody_deleted_is_forgotten_and_replaced() {
    let mut world = warm(idle(1));
    let token = world.cloud.enis.keys().next().unwrap().clone();
    let calls = world.cloud_calls;
    world.meddle(0, Meddling::Delete);
    world.look_twice();
    assert_eq!(reasons(&world), ["Vanished"]);
    assert!(world.view().enis.iter().all(|eni| eni.record.token != token));
    world.settle_for(200);
    assert_eq!(world.cloud_calls, calls + 2, "one was made and attached; nothing was detached or deleted");
    assert_eq!(world.view().idle, 1);
    world.come_to_rest();
}

#[test]
fn an_idle_eni_that_somebody_detached_is_attached_again() {
    let mut world = warm(idle(1));
    world.meddle(0, Meddling::Detach);
    world.look_twice();
    world.settle_for(200);
    assert_eq!(reasons(&world), ["DetachedOutside"]);
    assert_eq!((world.view().idle, world.cloud.enis.len()), (1, 1));
    world.come_to_rest();
}

#[test]
fn an_idle_eni_that_somebody_moved_is_left_to_them() {
    let mut world = warm(idle(1));
    let token = world.cloud.enis.keys().next().unwrap().clone();
    world.meddle(0, Meddling::Move);
    world.look_twice();
    assert_eq!(reasons(&world), ["Moved"]);
    world.settle_for(400);
    assert!(world.cloud.enis[&token].elsewhere, "never touched");
    world.meddle(0, Meddling::Return);
    world.look_twice();
    world.settle_for(100);
    assert_eq!(reasons(&world), ["Moved", "OrphanDetached"]);
    assert!(!world.cloud.enis.contains_key(&token), "nobody wanted it any more");
    world.come_to_rest();
}

#[test]
fn what_happens_to_an_eni_in_use_is_told_and_waits_for_its_release() {
    for (what, reason) in [
        (Meddling::Delete, "UsedVanished"),
        (Meddling::Detach, "UsedDetached"),
        (Meddling::Move, "UsedMoved"),
    ] {
        let mut world = warm(idle(1));
        let (token, index) = in_use(&mut world, 1);
        let phase = |world: &World| {
            let own = world.view().enis.into_iter().find(|eni| eni.record.token == token);
            own.map(|eni| eni.record.phase.name())
        };
        world.meddle(index, what);
        (0..4).for_each(|_| world.look_twice());
        assert_eq!(reasons(&world), [reason], "told once");
        let message = &world.told_events[0].1;
        assert!(message.contains("net/c1/eth0") && message.contains("eni-"), "{message}");
        assert_eq!(phase(&world), Some("InUse"), "it stays as long as it is held");
        world.release(1);
        world.execute(usize::MAX);
        let after = if reason == "UsedMoved" { "Quarantined" } else { "Detaching" };
        assert_eq!(phase(&world), Some(after), "{reason}");
        world.look_twice();
        assert_eq!(phase(&world), None, "{reason}");
        assert_eq!(world.cloud.enis.get(&token).is_some_and(|real| real.elsewhere), reason == "UsedMoved");
        world.come_to_rest();
    }
}

#[test]
fn released_between_two_looks_it_is_not_given_before_the_second() {
    let mut world = warm(PoolSettings { quarantine: Duration::ZERO, ..idle(0) });
    let (token, index) = in_use(&mut world, 1);
    world.leave(0);
    world.settle_for(1);
    world.meddle(index, Meddling::Move);
    world.look(0, 0);
    world.see_links();
    world.release(1);
    world.allocate(2, 1000);
    world.execute(usize::MAX);
    assert!(!world.told().values().any(|held| *held == token));
    world.come_to_rest();
}

#[test]
fn other_security_groups_are_taken_over() {
    let mut world = warm(idle(1));
    let (_, index) = in_use(&mut world, 1);
    world.meddle(index, Meddling::Regroup);
    world.look_twice();
    assert_eq!(reasons(&world), ["Regrouped"]);
    let own = world.pool().attachment(&key(1)).unwrap().1;
    assert_eq!(own.security_groups, ["sg-9".into()]);
    world.come_to_rest();
}

#[test]
fn enis_of_others_take_places_and_are_never_touched() {
    let mut world = warm(PoolSettings { max_enis: 3, ..idle(1) });
    world.meddle(1, Meddling::ForeignComes);
    world.meddle(2, Meddling::ForeignComes);
    world.look(0, 0);
    world.settle_for(10);
    assert_eq!((world.pool().foreign_enis(), world.view().max_enis), (2, 1));
    assert_eq!(reasons(&world), ["ForeignEni", "ForeignEni"]);
    (1..=2).for_each(|number| world.allocate(number, 2000));
    world.settle_for(300);
    assert_eq!(world.told().len(), 1, "there is place for one");
    world.meddle(0, Meddling::ForeignGoes);
    world.look(0, 0);
    world.settle_for(10);
    assert_eq!(world.view().max_enis, 1, "one look is not enough");
    world.look_twice();
    world.settle_for(200);
    assert_eq!((world.view().max_enis, world.told().len()), (2, 2));
    world.reconfigure(PoolSettings { max_enis: 5, ..idle(1) });
    assert_eq!(world.view().max_enis, 4);
    world.come_to_rest();
}

#[test]
fn after_a_lost_ledger_everything_of_ours_is_found_again_and_pods_keep_what_they_have() {
    let mut world = warm(idle(2));
    (1..=2).for_each(|number| _ = in_use(&mut world, number));
    world.settle_for(300);
    let before: Vec<_> = world.cloud.enis.keys().cloned().collect();
    assert_eq!(before.len(), 4);
    world.lose_ledger();
    world.flow();
    world.look_twice();
    world.settle_for(100);
    let phases = world.ledger_phases();
    let adopted = reasons(&world).into_iter().filter(|reason| *reason == "OrphanAttached").count();
    assert_eq!(adopted, 4);
    assert_eq!(phases.iter().filter(|phase| **phase == "Quarantined").count(), 2, "in pods: {phases:?}");
    (0..2).for_each(|_| world.leave(0));
    world.settle_for(300);
    assert!(!world.ledger_phases().contains(&"Quarantined"), "home, rested and given again");
    world.come_to_rest();
}

#[test]
fn a_create_that_nobody_heard_of_is_found_by_its_token() {
    let settings =
        PoolSettings { retry_first: Duration::from_mins(1), retry_max: Duration::from_hours(1), ..idle(1) };
    let mut world = World::new(settings, [50, 50], 50);
    world.execute(usize::MAX);
    world.answer(0, Fate::DoneUnheard);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Creating"]);
    world.look_twice();
    world.settle_for(200);
    assert_eq!((world.ledger_phases(), world.cloud_calls), (vec!["Ready"], 2), "made once, attached once");
    assert_eq!(reasons(&world), ["CreateLanded"]);
    world.come_to_rest();
}

#[test]
fn the_pool_says_when_the_next_look_would_help() {
    let mut world = warm(idle(1));
    assert_eq!(world.pool().wants_look(), None);
    world.meddle(0, Meddling::Delete);
    world.look(0, 0);
    world.settle_for(1);
    assert!(world.pool().wants_look().is_some());
    world.look_twice();
    world.settle_for(300);
    assert_eq!(world.pool().wants_look(), None);
    world.come_to_rest();
}

// ------------------------------------------------------------------ without the world

/// A pool with one ENI, `t`, and looks every `consistency`.
struct Small {
    pool: Pool,
    now: Timestamp,
    events: Vec<(&'static str, String)>,
}

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, b't']);

impl Small {
    fn new(phase: EniPhase, home: bool) -> Self {
        let mut eni = record("t", phase);
        (eni.mac, eni.addresses) = (Some(MAC), Addresses::new(Some([10, 0, 0, 1].into()), None));
        let now = Timestamp(1_000);
        let snapshot = LedgerSnapshot { enis: vec![eni], ..LedgerSnapshot::default() };
        let (pool, _) = Pool::new(PoolSettings { max_enis: 1, ..idle(1) }, snapshot, now);
        let mut small = Self { pool, now, events: Vec::new() };
        if home {
            small.event(Event::LinkUp { mac: MAC });
        }
        small
    }

    fn event(&mut self, event: Event) {
        let effects = self.pool.handle(self.now, event);
        self.events.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Note(Note::Event { reason, message }) => Some((reason, message)),
            _ => None,
        }));
    }

    fn look(&mut self, enis: &[SeenEni]) {
        self.now = self.now + Duration::from_millis(40);
        let (began, enis) = (self.now, enis.to_vec());
        self.event(Event::Inventory(Inventory::Cloud { began, enis }));
    }

    fn look_at_metadata(&mut self, macs: &[MacAddr]) {
        self.now = self.now + Duration::from_millis(40);
        let (began, macs) = (self.now, macs.to_vec());
        self.event(Event::Inventory(Inventory::Metadata { began, macs }));
    }

    fn idle(&self) -> u32 {
        self.pool.view(self.now).idle
    }

    fn phases(&self) -> Vec<&'static str> {
        self.pool.view(self.now).enis.iter().map(|eni| eni.record.phase.name()).collect()
    }
}

#[test]
fn a_cloud_that_denies_an_eni_whose_netdev_is_here_is_not_believed() {
    let mut small = Small::new(EniPhase::Ready, true);
    assert_eq!(small.idle(), 1);
    small.look(&[]);
    assert_eq!(small.idle(), 0, "not before it is certain");
    for _ in 0..3 {
        small.look(&[]);
        assert_eq!((small.idle(), small.phases()), (1, vec!["Ready"]));
    }
    assert_eq!(small.events.len(), 1, "told once: {:?}", small.events);
    assert_eq!(small.events[0].0, "CloudContradicted");
    small.event(Event::LinkGone { mac: MAC });
    small.look(&[]);
    assert_ne!(small.phases(), ["Ready"], "now both say so");
}

#[test]
fn another_primary_address_of_an_idle_eni_is_taken_over_before_it_is_given() {
    let mut small = Small::new(EniPhase::Ready, true);
    let moved = SeenEni {
        addresses: Addresses::new(Some([10, 0, 0, 2].into()), None),
        assigned: AddressSet { ipv4: vec![[10, 0, 0, 2].into()], ..AddressSet::default() },
        ..seen("t", Place::Here)
    };
    small.look(std::slice::from_ref(&moved));
    assert_eq!(small.idle(), 0);
    small.look(std::slice::from_ref(&moved));
    assert_eq!(small.idle(), 1);
    assert_eq!(small.pool.view(small.now).enis[0].record.addresses, moved.addresses);
    assert_eq!(small.events[0].0, "Readdressed");
    assert!(small.events[0].1.contains("10.0.0.2 and were 10.0.0.1"), "{:?}", small.events);
}

#[test]
fn metadata_ends_the_wait_for_a_lost_netdev() {
    let mut small = Small::new(EniPhase::Ready, false);
    small.look_at_metadata(&[]);
    assert_eq!(small.phases(), ["Ready"]);
    small.look_at_metadata(&[]);
    assert_eq!(small.phases(), ["Detaching"], "long before the link's time limit");
}

#[test]
fn a_look_that_began_before_the_pool_did_adopts_nothing() {
    let mut small = Small::new(EniPhase::Ready, true);
    let began = small.now;
    let enis = vec![seen("t", Place::Here), seen("o", Place::Here)];
    small.event(Event::Inventory(Inventory::Cloud { began, enis: enis.clone() }));
    small.look(&enis);
    assert_eq!(small.phases(), ["Ready"]);
    small.look(&enis);
    assert_eq!(small.phases().len(), 2);
}
