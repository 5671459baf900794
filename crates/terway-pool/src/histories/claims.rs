//! Histories of claims: one for each promise to the control plane.

use terway_types::{EniId, EniPhase, FaultCode, LedgerSnapshot, PodRef, Timestamp};

use super::cloud::RealCloud;
use super::scenarios::{faults, warm};
use super::world::{Demand, Fate, Meddling, World, fast_settings};
use crate::testing::key;
use crate::{Claim, ClaimFate, CloudAction, Effect, Event, Keep, Pool, PoolSettings, RequestId, Wants};

const FIXED: Demand = Demand::Claim(0, Keep::Fixed);
const ELASTIC: Demand = Demand::Claim(0, Keep::Elastic);

/// An attachment holds a claim's ENI.
fn held(demand: Demand) -> World {
    let settings = PoolSettings { min_idle: 0, max_idle: 0, max_enis: 2, ..fast_settings() };
    let mut world = World::new(settings, [50, 50], 50);
    attach(&mut world, demand);
    world
}

fn attach(world: &mut World, demand: Demand) {
    world.demand(1, demand, 1000);
    world.settle_for(300);
    assert!(world.told().contains_key(&key(1)));
}

fn kept() -> World {
    let mut world = held(FIXED);
    world.release(1);
    world.settle_for(150);
    assert_eq!(world.ledger_phases(), ["Kept"]);
    world
}

#[test]
fn a_claims_eni_leaves_the_node_without_a_rest() {
    let mut world = held(FIXED);
    world.release(1);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Detaching"]);
    world.come_to_rest();
}

#[test]
fn what_becomes_of_a_claims_eni_is_what_its_last_attachment_says() {
    let mut world = kept();
    attach(&mut world, ELASTIC);
    world.release(1);
    world.settle_for(300);
    assert_eq!((world.ledger_phases().len(), world.cloud.enis.len()), (0, 0), "deleted");
    world.come_to_rest();
}

#[test]
fn what_the_control_plane_made_is_found_not_made_and_goes_as_its_attachment_says() {
    for (keep, stays) in [(Keep::Fixed, true), (Keep::Elastic, false)] {
        let mut world = held(Demand::Named(0, keep));
        assert_eq!(world.cloud.enis.len(), 1);
        world.release(1);
        world.settle_for(300);
        assert_eq!(!world.cloud.enis.is_empty(), stays, "{keep:?}");
        world.come_to_rest();
    }
}

#[test]
fn what_the_control_plane_made_and_nobody_waits_for_any_more_is_left_as_it_was() {
    let mut world = held(Demand::Claim(1, Keep::Fixed));
    world.demand(2, Demand::Named(0, Keep::Elastic), 1000);
    world.execute(usize::MAX);
    world.cancel(0);
    world.settle_for(300);
    assert_eq!((world.ledger_phases().len(), world.cloud.enis.len()), (1, 2));
    world.come_to_rest();
}

#[test]
fn a_claim_that_somebody_holds_is_refused_at_once() {
    let mut world = held(FIXED);
    world.demand(2, FIXED, 1000);
    world.execute(usize::MAX);
    assert_eq!(faults(&world), [FaultCode::ClaimUnusable]);
    assert!(world.told().contains_key(&key(1)));
    world.come_to_rest();
}

#[test]
fn a_claim_that_somebody_waits_for_is_refused_to_others_at_once() {
    let mut world = held(Demand::Claim(1, Keep::Fixed));
    world.demand(2, FIXED, 1000);
    world.demand(3, FIXED, 1000);
    world.execute(usize::MAX);
    assert_eq!(faults(&world), [FaultCode::ClaimUnusable]);
    world.settle_for(300);
    assert!(world.told().contains_key(&key(2)));
    world.come_to_rest();
}

fn naming(id: &EniId) -> Wants {
    let claim = Claim { id: "claim-0".into(), eni: Some(id.clone()), keep: Keep::Fixed };
    Wants { claim: Some(claim), ..Wants::default() }
}

#[test]
fn a_claim_that_names_what_serves_something_else_is_refused_at_once() {
    let mut world = kept();
    world.demand(1, Demand::Named(0, Keep::Fixed), 1000);
    world.execute(usize::MAX);
    assert_eq!(faults(&world), [FaultCode::ClaimUnusable], "the node has another one for it");
    world.come_to_rest();
    let mut world = warm(PoolSettings { min_idle: 1, ..fast_settings() });
    let id = world.cloud.enis.values().next().unwrap().id.clone();
    world.allocate_this(1, naming(&id), 1000);
    world.execute(usize::MAX);
    assert_eq!(faults(&world), [FaultCode::ClaimUnusable], "it is the pool's");
    world.come_to_rest();
}

#[test]
fn a_claim_whose_eni_is_not_there_is_given_up_after_a_few_tries() {
    let mut world = held(Demand::Claim(1, Keep::Fixed));
    world.demand(2, Demand::Named(0, Keep::Fixed), 5000);
    let index = world.cloud.enis.values().position(|real| real.named).unwrap();
    world.meddle(index, Meddling::Delete);
    world.settle_for(600);
    assert_eq!(faults(&world), [FaultCode::ClaimUnusable]);
    assert_eq!(world.ledger_phases(), ["InUse"]);
    world.come_to_rest();
}

#[test]
fn an_answer_about_another_eni_than_the_claims_is_not_believed() {
    let (now, settings) = (Timestamp(1_000), PoolSettings { min_idle: 0, ..fast_settings() });
    let (mut pool, _) = Pool::new(settings, LedgerSnapshot::default(), now);
    let (pod, netns, deadline) = (PodRef::default(), String::new(), Timestamp(9_000));
    let (request, key, wants) = (RequestId(1), key(1), naming(&"eni-9".into()));
    let effects = pool.handle(now, Event::Allocate { request, key, pod, netns, wants, deadline });
    let find = effects.iter().find_map(|effect| match effect {
        Effect::Cloud { operation, .. } => Some(*operation),
        _ => None,
    });
    let mut cloud = RealCloud::new(1, [1, 1]);
    cloud.make_named();
    let outcome = cloud.act(&CloudAction::Find { eni: "eni-1".into() });
    pool.handle(now, Event::CloudDone { operation: find.unwrap(), outcome });
    let record = pool.view(now).enis[0].record.clone();
    assert_eq!((record.id, record.mac, record.phase), (Some("eni-9".into()), None, EniPhase::Creating));
}

#[test]
fn a_claim_that_was_given_away_is_taken_back_when_it_is_wanted_again() {
    let mut world = kept();
    let token = world.cloud.enis.keys().next().unwrap().clone();
    world.reconfigure(PoolSettings { min_idle: 0, max_idle: 0, parallel: 1, ..fast_settings() });
    world.demand(2, Demand::Claim(1, Keep::Fixed), 1000);
    world.event(Event::Unclaim { claim: "claim-0".into(), fate: ClaimFate::Moved });
    world.demand(1, FIXED, 1000);
    world.execute(usize::MAX);
    // As much is under way as may be, so the ENI is still kept when the cloud tells that it is not here.
    world.answer(1, Fate::Done);
    world.settle_for(300);
    assert_eq!(world.told().get(&key(1)), Some(&token));
    world.come_to_rest();
}

#[test]
fn a_claims_eni_that_is_said_to_have_moved_but_is_here_is_detached_first() {
    let mut world = kept();
    world.meddle(0, Meddling::Attach);
    world.event(Event::Unclaim { claim: "claim-0".into(), fate: ClaimFate::Moved });
    world.execute(usize::MAX);
    world.answer(0, Fate::Done);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Detaching"]);
    world.settle_for(400);
    assert!(world.cloud.enis.values().all(|real| !real.attached));
    assert_eq!(world.ledger_phases().len(), 0, "forgotten once it is nowhere here");
    world.meddle(0, Meddling::Move);
    world.come_to_rest();
}

#[test]
fn a_claims_eni_is_not_kept_before_a_lost_call_that_detaches_it_has_landed() {
    let mut world = held(FIXED);
    world.release(1);
    world.execute(usize::MAX);
    world.answer(0, Fate::Late(50));
    world.wait(20);
    world.execute(usize::MAX);
    world.answer(0, Fate::Done);
    world.execute(usize::MAX);
    assert_eq!(
        world.ledger_phases(),
        ["Detaching"],
        "attached again, the lost call would take it from its pod"
    );
    world.settle_for(120);
    assert_eq!(world.ledger_phases(), ["Kept"]);
    world.come_to_rest();
}

/// The calls of a life that ended land as late as lost ones.
#[test]
fn after_a_death_a_claims_eni_is_not_kept_before_old_calls_have_landed() {
    let mut world = held(FIXED);
    world.release(1);
    world.execute(usize::MAX);
    world.crash();
    world.execute(usize::MAX);
    world.answer(0, Fate::Done);
    world.execute(usize::MAX);
    assert_eq!(world.ledger_phases(), ["Detaching"]);
    world.settle_for(130);
    assert_eq!(world.ledger_phases(), ["Kept"]);
    world.come_to_rest();
}
