//! Random histories of a whole world around the pool, with crashes between any two effects. Every failure
//! shrinks to a short history. Some are drawn anew in each run, and the seeds of failures are kept in
//! `proptest-regressions`; others go by number, and `cargo xtask soak` lives as many of them as one likes.

mod claims;
pub(crate) mod cloud;
pub(crate) mod deed;
mod looks;
pub(crate) mod past;
mod provision;
mod regrouping;
mod retiring;
mod routed;
mod scenarios;
pub(crate) mod shared;
pub(crate) mod soak;
pub(crate) mod world;

use std::time::Duration;

use proptest::prelude::*;
use terway_types::CloudFailureKind as Kind;

use crate::{ClaimFate, Keep, PoolSettings};
use deed::Deed;
use soak::soak;
use world::{Demand, Fate, LATEST, Meddling, World, fast_settings};

fn kinds() -> impl Strategy<Value = Kind> {
    let quota = Kind::Quota { which: "Eni".to_owned(), limit: Some(3) };
    proptest::sample::select(vec![
        Kind::Throttled,
        quota,
        Kind::SubnetExhausted,
        Kind::InvalidState,
        Kind::Gone,
        Kind::Denied,
        Kind::ClockSkew,
        Kind::Conflict,
        Kind::Invalid,
        Kind::Transient,
    ])
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Done),
        3 => kinds().prop_map(Fate::Refused),
        1 => Just(Fate::DoneUnheard),
        1 => Just(Fate::Lost),
        1 => (0..=LATEST).prop_map(Fate::Late),
        1 => Just(Fate::Twice),
    ]
}

fn settings() -> impl Strategy<Value = PoolSettings> {
    let quarantines = proptest::sample::select(vec![0, 1, 50]);
    (0u32..3, 0u32..3, 1u32..6, 1u32..4, quarantines).prop_map(
        |(min_idle, more, max_enis, parallel, rest)| {
            let (max_idle, quarantine) = (min_idle + more, Duration::from_millis(rest));
            PoolSettings { min_idle, max_idle, max_enis, quarantine, parallel, ..fast_settings() }
        },
    )
}

fn deeds() -> impl Strategy<Value = Deed> {
    let key = || 0u8..5;
    let any_index = || 0usize..8;
    prop_oneof![
        6 => (key(), 0u64..400).prop_map(|(key, patience)| Deed::Allocate(key, patience)),
        4 => key().prop_map(Deed::Release),
        2 => any_index().prop_map(Deed::Cancel),
        1 => any::<u8>().prop_map(Deed::Collect),
        8 => (1usize..4).prop_map(Deed::Execute),
        10 => (any_index(), fates()).prop_map(|(index, fate)| Deed::Answer(index, fate)),
        4 => Just(Deed::SeeLinks),
        3 => key().prop_map(Deed::Enter),
        3 => any_index().prop_map(Deed::Leave),
        1 => any_index().prop_map(Deed::LoseNetdev),
        5 => (0u64..120).prop_map(Deed::Wait),
        6 => Just(Deed::Flow),
        2 => Just(Deed::Crash),
        1 => settings().prop_map(|settings| Deed::Reconfigure(Box::new(settings))),
    ]
}

fn looks() -> impl Strategy<Value = Deed> {
    let hide = prop_oneof![3 => Just(0u8), 1 => any::<u8>()];
    let stale = || prop_oneof![2 => Just(0u64), 1 => 0u64..40];
    prop_oneof![
        4 => (stale(), hide).prop_map(|(stale, hide)| Deed::Look(stale, hide)),
        1 => stale().prop_map(Deed::LookAtMetadata),
    ]
}

fn meddlings() -> impl Strategy<Value = Deed> {
    let what = proptest::sample::select(vec![
        Meddling::Delete,
        Meddling::Detach,
        Meddling::Move,
        Meddling::Return,
        Meddling::Attach,
        Meddling::ForeignComes,
        Meddling::ForeignGoes,
    ]);
    prop_oneof![
        9 => (0usize..8, what).prop_map(|(index, what)| Deed::Meddle(index, what)),
        1 => Just(Deed::LoseLedger),
    ]
}

fn observed() -> impl Strategy<Value = Deed> {
    prop_oneof![4 => deeds(), 1 => looks()]
}

fn meddled() -> impl Strategy<Value = Deed> {
    prop_oneof![6 => deeds(), 2 => looks(), 1 => meddlings()]
}

/// What attachments and the control plane ask for besides any ENI.
fn demands() -> impl Strategy<Value = Deed> {
    let keep = proptest::sample::select(vec![Keep::Elastic, Keep::Fixed]);
    let demand = prop_oneof![
        1 => Just(Demand::Any),
        1 => Just(Demand::VSwitch),
        2 => Just(Demand::Groups),
        2 => (0u8..2, keep).prop_map(|(claim, keep)| Demand::Claim(claim, keep)),
    ];
    let fate = proptest::sample::select(vec![ClaimFate::Delete, ClaimFate::Moved]);
    prop_oneof![
        30 => (0u8..5, demand, 0u64..400).prop_map(|(key, demand, patience)| Deed::Demand(key, demand, patience)),
        6 => (0u8..2, fate).prop_map(|(claim, fate)| Deed::Unclaim(claim, fate)),
        6 => Just(Deed::TimeOut),
        1 => Just(Deed::Retire),
    ]
}

fn demanding() -> impl Strategy<Value = Deed> {
    prop_oneof![3 => deeds(), 1 => demands()]
}

fn everything() -> impl Strategy<Value = Deed> {
    prop_oneof![12 => deeds(), 4 => demands(), 4 => looks(), 1 => meddlings()]
}

/// Claims whose ENIs the control plane has made, and everything else besides.
fn claiming() -> impl Strategy<Value = Deed> {
    let keep = proptest::sample::select(vec![Keep::Elastic, Keep::Fixed]);
    let named = (0u8..5, 0u8..2, keep, 0u64..400)
        .prop_map(|(key, claim, keep, patience)| Deed::Demand(key, Demand::Named(claim, keep), patience));
    let mention = (0usize..8).prop_map(Deed::Mention);
    prop_oneof![20 => deeds(), 6 => named, 4 => demands(), 4 => looks(), 1 => mention, 1 => meddlings()]
}

/// A whole history, as failures print it.
#[derive(Clone, Debug)]
struct History {
    settings: PoolSettings,
    free: [u32; 2],
    slots: usize,
    deeds: Vec<Deed>,
}

fn histories(deeds: impl Strategy<Value = Deed>, steps: usize) -> impl Strategy<Value = History> {
    let deeds = proptest::collection::vec(deeds, 0..=steps);
    let free = [0u32..6, 0u32..6];
    (settings(), free, 1usize..7, deeds).prop_map(|(settings, free, slots, deeds)| History {
        settings,
        free,
        slots,
        deeds,
    })
}

fn live(history: History) {
    let mut world = World::new(history.settings, history.free, history.slots);
    for deed in history.deeds {
        world.enact(deed);
    }
    world.come_to_rest();
}

/// Numbers of histories that failed once.
const FOUND: &[u64] = &[1_002_382, 5_007_585];
const EVERYTHING_FOUND: &[u64] = &[40_000_077];

#[test]
fn soak_exclusive() {
    soak("exclusive", FOUND, |steps| histories(deeds(), steps), live);
}

#[test]
fn soak_looks() {
    soak("looks", FOUND, |steps| histories(observed(), steps), live);
}

#[test]
fn soak_meddling() {
    soak("meddling", FOUND, |steps| histories(meddled(), steps), live);
}

#[test]
fn soak_demands() {
    soak("demands", &[], |steps| histories(demanding(), steps), live);
}

#[test]
fn soak_claims() {
    soak("claims", &[], |steps| histories(claiming(), steps), live);
}

#[test]
fn soak_everything() {
    soak("everything", EVERYTHING_FOUND, |steps| histories(everything(), steps), live);
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_an_invariant(history in histories(deeds(), 120)) {
        live(history);
    }

    /// Whoever looks, and however badly: what is right stays right.
    #[test]
    fn no_look_breaks_an_invariant(history in histories(observed(), 120)) {
        live(history);
    }

    /// People do what they want behind the pool's back.
    #[test]
    fn no_meddling_breaks_an_invariant(history in histories(meddled(), 120)) {
        live(history);
    }
}
