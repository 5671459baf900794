//! Histories by number: each number is a seed, so that what failed in a long run can be repeated by it. A few thousand
//! run with the other tests; `cargo xtask soak` runs the same test in pieces, for as long as one likes.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Histories of each kind in an ordinary test run.
const HISTORIES: u64 = 1_000;
/// Steps of a history at most.
const STEPS: u64 = 200;

/// A size of a long run. Nothing in the pool reads the environment; its tests are told how long to go on.
#[expect(clippy::disallowed_methods, reason = "the size of a run, given by `cargo xtask soak`")]
pub(crate) fn from_environment(name: &str, otherwise: u64) -> u64 {
    let Some(text) = std::env::var_os(name) else { return otherwise };
    text.to_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} is no number"))
}

/// Lives histories of one kind, on all cores. `found` are numbers that failed once, and run first.
pub(super) fn soak<S>(
    kind: &str,
    found: &[u64],
    histories: impl Fn(usize) -> S + Sync,
    live: impl Fn(S::Value) + Sync,
) where
    S: Strategy,
    S::Value: Debug,
{
    let steps = usize::try_from(from_environment("TERWAY_SOAK_STEPS", STEPS)).unwrap();
    let first = from_environment("TERWAY_SOAK_SEED", 0);
    let count = from_environment("TERWAY_SOAK_HISTORIES", HISTORIES);
    let next = AtomicU64::new(0);
    let failure = Mutex::new(None);
    let numbers = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let known = found.len() as u64;
        let number =
            if index < known { found[usize::try_from(index).unwrap()] } else { first + index - known };
        (index < count + known && failure.lock().unwrap().is_none()).then_some(number)
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(number) = numbers() {
                    if let Err(tale) = live_one(number, &histories(steps), &live) {
                        failure.lock().unwrap().get_or_insert((number, tale));
                    }
                }
            });
        }
    });
    if let Some((number, tale)) = failure.into_inner().unwrap() {
        panic!(
            "{kind} history {number} of up to {steps} steps fails: {tale}\nrepeat it by\n    \
             cargo xtask soak --kind {kind} --seed {number} --steps {steps} --histories 1"
        );
    }
}

/// Lives one history; a failing one is shrunk.
fn live_one<S>(number: u64, histories: &S, live: &impl Fn(S::Value)) -> Result<(), String>
where
    S: Strategy,
    S::Value: Debug,
{
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let config = Config { max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tree = histories.new_tree(&mut runner).map_err(|reason| reason.to_string())?;
    let history = tree.current();
    if catch_unwind(AssertUnwindSafe(|| live(history))).is_ok() {
        return Ok(());
    }
    let told = |history| {
        catch_unwind(AssertUnwindSafe(|| live(history))).map_err(|payload| {
            let text = payload.downcast_ref::<String>().cloned();
            TestCaseError::fail(text.unwrap_or_else(|| "it panics".to_owned()))
        })
    };
    match runner.run_one(tree, told) {
        Err(TestError::Fail(reason, history)) => Err(format!("{reason}\n{history:#?}")),
        outcome => Err(format!("not every time: {outcome:?}")),
    }
}
