//! Random histories of a whole world around the pool, with crashes between any two effects. Every failure
//! shrinks to a short history and its seed is kept in `proptest-regressions`.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p terway-pool histories` runs a long one.

pub(crate) mod cloud;
pub(crate) mod deed;
mod looks;
mod scenarios;
mod shared;
pub(crate) mod world;

use std::time::Duration;

use proptest::prelude::*;
use terway_types::CloudFailureKind as Kind;

use crate::PoolSettings;
use deed::Deed;
use world::{Fate, LATEST, Meddling, World, fast_settings};

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

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_an_invariant(
        settings in settings(),
        free in [0u32..6, 0u32..6],
        slots in 1usize..7,
        deeds in proptest::collection::vec(deeds(), 0..120),
    ) {
        let mut world = World::new(settings, free, slots);
        for deed in deeds {
            world.enact(deed);
        }
        world.come_to_rest();
    }

    /// Whoever looks, and however badly: what is right stays right.
    #[test]
    fn no_look_breaks_an_invariant(
        settings in settings(),
        free in [0u32..6, 0u32..6],
        slots in 1usize..7,
        deeds in proptest::collection::vec(prop_oneof![4 => deeds(), 1 => looks()], 0..120),
    ) {
        let mut world = World::new(settings, free, slots);
        for deed in deeds {
            world.enact(deed);
        }
        world.come_to_rest();
    }

    /// People do what they want behind the pool's back.
    #[test]
    fn no_meddling_breaks_an_invariant(
        settings in settings(),
        free in [0u32..6, 0u32..6],
        slots in 1usize..7,
        deeds in proptest::collection::vec(prop_oneof![6 => deeds(), 2 => looks(), 1 => meddlings()], 0..120),
    ) {
        let mut world = World::new(settings, free, slots);
        for deed in deeds {
            world.enact(deed);
        }
        world.come_to_rest();
    }
}
