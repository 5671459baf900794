//! Random histories of a pool of addresses on shared ENIs, with crashes between any two effects, in a world of its
//! own: a cloud with addresses, partial answers, lies and people who delete ENIs by hand.

pub(crate) mod choices;
mod cloud;
mod doubts;
mod invariants;
mod looking;
mod looks;
mod scenarios;
pub(crate) mod world;

use std::time::Duration;

use proptest::prelude::*;
use terway_types::CloudFailureKind as Kind;

use super::soak::soak;
use super::world::{Fate, fast_settings};
use crate::{EniPolicy, Mode, PoolSettings, Reclaim, ReleasePace, Sharing};
use looks::Meddling;
use world::World;

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Allocate(u8, u64),
    Release(u8),
    Cancel(usize),
    Collect(u8),
    Execute(usize),
    Answer(usize, Fate),
    Lie(usize),
    SeeLinks,
    LoseNetdev(usize),
    Vanish(usize),
    Mention(usize),
    Wait(u64),
    Flow,
    Crash,
    Reconfigure(Box<PoolSettings>),
    /// How stale, and what it leaves out.
    Look(u64, u8),
    Meddle(usize, Meddling),
    LoseLedger,
    /// A late call lands now, or never.
    Land(usize),
    Fade(usize),
}

fn enact(world: &mut World, deed: Deed) {
    match deed {
        Deed::Allocate(key, patience) => world.allocate(key, patience),
        Deed::Release(key) => world.release(key),
        Deed::Cancel(index) => world.cancel(index),
        Deed::Collect(keep) => world.collect(keep),
        Deed::Execute(count) => world.execute(count),
        Deed::Answer(index, fate) => world.answer(index, fate),
        Deed::Lie(index) => world.lie(index),
        Deed::SeeLinks => world.see_links(),
        Deed::LoseNetdev(index) => world.lose_netdev(index),
        Deed::Vanish(index) => world.vanish(index),
        Deed::Mention(index) => world.mention(index),
        Deed::Wait(millis) => world.wait(millis),
        Deed::Flow => world.flow(),
        Deed::Crash => world.crash(),
        Deed::Reconfigure(settings) => world.reconfigure(*settings),
        Deed::Look(stale, hide) => world.look(stale, hide),
        Deed::Meddle(index, what) => world.meddle(index, what),
        Deed::LoseLedger => world.lose_ledger(),
        Deed::Land(index) => world.land(index),
        Deed::Fade(index) => drop(world.late.remove(index)),
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    let quota = |which: &str| Kind::Quota { which: which.to_owned(), limit: None };
    proptest::sample::select(vec![
        Kind::Throttled,
        quota("Ipv4CountExceeded"),
        quota("Ipv6CountExceeded"),
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
        2 => kinds().prop_map(Fate::Refused),
        1 => Just(Fate::DoneUnheard),
        1 => Just(Fate::Lost),
        1 => (0..=super::world::LATEST).prop_map(Fate::Late),
        1 => Just(Fate::Twice),
    ]
}

fn sharing() -> impl Strategy<Value = Sharing> {
    let prefixes = proptest::sample::select(vec![false, false, false, true]);
    (1u32..6, prefixes, 1u32..5, any::<bool>(), 0u32..3).prop_map(
        |(per_eni, prefixes, assign_batch, least, min_enis)| {
            let eni_policy = if least { EniPolicy::LeastIps } else { EniPolicy::MostIps };
            Sharing { per_eni, prefixes, assign_batch, eni_policy, min_enis }
        },
    )
}

fn settings() -> impl Strategy<Value = PoolSettings> {
    let quarantines = proptest::sample::select(vec![0, 1, 50]);
    let reclaim = proptest::option::of((1u32..5, 0u16..200).prop_map(|(batch, jitter_permille)| Reclaim {
        after: Duration::from_millis(200),
        interval: Duration::from_millis(50),
        batch,
        jitter_permille,
    }));
    let marks = (0u32..4, 0u32..4, 0u32..8, 1u32..5, 1u32..4);
    (sharing(), marks, quarantines, any::<bool>(), any::<bool>(), reclaim).prop_map(
        |(sharing, (min_idle, more, warm_up, max_enis, parallel), rest, ipv6, quick, reclaim)| PoolSettings {
            mode: Mode::Shared(sharing),
            min_idle,
            max_idle: min_idle + more,
            warm_up,
            max_enis,
            parallel,
            ipv6,
            reclaim,
            release: ReleasePace { interval: Duration::from_millis(40), quick },
            quarantine: Duration::from_millis(rest),
            quarantine_max: Duration::from_millis(120),
            operation_timeout: Duration::from_secs(2),
            ..fast_settings()
        },
    )
}

fn deeds() -> impl Strategy<Value = Deed> {
    let key = || 0u8..8;
    let any_index = || 0usize..8;
    prop_oneof![
        8 => (key(), 0u64..400).prop_map(|(key, patience)| Deed::Allocate(key, patience)),
        5 => key().prop_map(Deed::Release),
        2 => any_index().prop_map(Deed::Cancel),
        1 => any::<u8>().prop_map(Deed::Collect),
        8 => (1usize..4).prop_map(Deed::Execute),
        10 => (any_index(), fates()).prop_map(|(index, fate)| Deed::Answer(index, fate)),
        1 => any_index().prop_map(Deed::Lie),
        4 => Just(Deed::SeeLinks),
        1 => any_index().prop_map(Deed::LoseNetdev),
        1 => any_index().prop_map(Deed::Vanish),
        1 => any_index().prop_map(Deed::Mention),
        5 => (0u64..120).prop_map(Deed::Wait),
        6 => Just(Deed::Flow),
        2 => Just(Deed::Crash),
        1 => settings().prop_map(|settings| Deed::Reconfigure(Box::new(settings))),
    ]
}

fn looks() -> impl Strategy<Value = Deed> {
    let hide = prop_oneof![3 => Just(0u8), 1 => any::<u8>()];
    let stale = prop_oneof![2 => Just(0u64), 1 => 0u64..40];
    (stale, hide).prop_map(|(stale, hide)| Deed::Look(stale, hide))
}

fn observed() -> impl Strategy<Value = Deed> {
    let what = vec![Meddling::Delete, Meddling::Detach, Meddling::TakeOff, Meddling::Add, Meddling::AddV6];
    let meddle =
        (0usize..8, proptest::sample::select(what)).prop_map(|(index, what)| Deed::Meddle(index, what));
    prop_oneof![60 => deeds(), 20 => looks(), 9 => meddle, 1 => Just(Deed::LoseLedger)]
}

/// A whole history, as failures print it.
#[derive(Clone, Debug)]
struct History {
    settings: PoolSettings,
    free: [u32; 2],
    slots: usize,
    per_eni: usize,
    deeds: Vec<Deed>,
}

fn histories(deeds: impl Strategy<Value = Deed>, steps: usize) -> impl Strategy<Value = History> {
    let deeds = proptest::collection::vec(deeds, 0..=steps);
    let free = [0u32..14, 0u32..14];
    (settings(), free, 1usize..6, 1usize..6, deeds)
        .prop_map(|(settings, free, slots, per_eni, deeds)| History { settings, free, slots, per_eni, deeds })
}

fn live(history: History) {
    let mut world = World::new(history.settings, history.free, history.slots, history.per_eni);
    for deed in history.deeds {
        enact(&mut world, deed);
    }
    world.come_to_rest();
}

#[test]
fn soak_shared() {
    soak("shared", &[2_010_802], |steps| histories(deeds(), steps), live);
}

#[test]
fn soak_addresses() {
    soak("addresses", &[], |steps| histories(observed(), steps), live);
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_of_addresses_breaks_an_invariant(history in histories(deeds(), 120)) {
        live(history);
    }

    /// Whoever looks, and whatever people do.
    #[test]
    fn no_look_and_no_meddling_with_addresses_breaks_an_invariant(history in histories(observed(), 120)) {
        live(history);
    }
}
