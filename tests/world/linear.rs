//! Many callers at once, with and without a daemon that dies in between: the recorded answers must be those of a
//! daemon that does one thing at a time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use terway_rig::caller::Caller;
use terway_rig::eventually::eventually;
use terway_rig::linear::{Answer, Ask, Call, linearize};
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, audit, booted, both, once};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("linear::concurrent_calls_answer_as_if_one_by_one", undisturbed),
        both("linear::and_so_they_do_over_daemons_that_die", killed),
    ]
}

/// Callers at once, attachments they quarrel over, and calls of each caller.
const CALLERS: usize = 6;
const ATTACHMENTS: u64 = 7;
const CALLS: usize = 45;
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the daemon dies meanwhile.
const DEATHS: usize = 5;

fn small(plan: &Plan) -> Plan {
    // Fewer ENIs than attachments, and no rest to speak of: what is given back is soon given again.
    Plan { enis: 6, pool: (3, 5), quarantine: "5ms".to_owned(), ..plan.clone() }
}

/// A small generator of our own: the same story each time, whatever the machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn ask(&mut self) -> Ask {
        let key = format!("c{}", self.roll(ATTACHMENTS));
        match self.roll(20) {
            0 => Ask::Collect(
                (0..ATTACHMENTS).filter(|_| self.roll(3) > 0).map(|key| format!("c{key}")).collect(),
            ),
            1..11 => Ask::Add(key),
            _ => Ask::Del(key),
        }
    }
}

/// The history that the callers write while `meanwhile` goes on, which can ask how many calls were answered.
fn record(socket: &Path, meanwhile: impl FnOnce(&dyn Fn() -> usize) -> Result<()>) -> Result<Vec<Call>> {
    let history = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (history, socket) = (Arc::clone(&history), socket.to_owned());
            thread::spawn(move || -> Result<()> {
                let mut caller = Caller::new(start, PATIENCE)?;
                let mut dice = Dice(number as u64);
                for _ in 0..CALLS {
                    let ask = dice.ask();
                    let call = eventually("somebody listens", LIMIT, || caller.call(&socket, ask.clone()))?;
                    history.lock().unwrap_or_else(PoisonError::into_inner).push(call);
                }
                Ok(())
            })
        })
        .collect();
    meanwhile(&|| history.lock().unwrap_or_else(PoisonError::into_inner).len())?;
    for caller in callers {
        caller.join().map_err(|_| anyhow!("a caller panicked"))??;
    }
    let history = history.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(history)
}

fn check(history: &[Call]) -> Result<()> {
    linearize(history).map(drop).map_err(|contradiction| {
        let story: Vec<_> =
            contradiction.order.iter().rev().take(12).rev().map(|index| &history[*index]).collect();
        anyhow!(
            "after {story:#?}\nthis has no place: {:#?}\n(the search was given up: {})",
            history[contradiction.stuck],
            contradiction.given_up
        )
    })
}

/// Nothing is held any more and the books agree: whatever callers left is collected.
fn end(world: &World) -> Result<()> {
    let mut caller = Caller::new(Instant::now(), Duration::from_secs(10))?;
    let last =
        caller.call(&world.nodes[0].socket(), Ask::Collect(BTreeSet::new())).context("nobody listens")?;
    ensure!(matches!(last.answer, Answer::Collected(_)), "{last:?}");
    audit(world)
}

fn undisturbed(plan: &Plan) -> Result<()> {
    let world = booted(&small(plan))?;
    let history = record(&world.nodes[0].socket(), |_| Ok(()))?;
    let given = history.iter().filter(|call| matches!(call.answer, Answer::Holds(_))).count();
    ensure!(given >= 50, "only {given} of {} calls were given an address", history.len());
    ensure!(!history.iter().any(|call| call.answer == Answer::Unknown), "an answer was lost without a cause");
    check(&history)?;
    end(&world)
}

fn killed(plan: &Plan) -> Result<()> {
    let mut world = booted(&small(plan))?;
    let socket = world.nodes[0].socket();
    let history = record(&socket, |answered| {
        for death in 1..=DEATHS {
            let node = &mut world.nodes[0];
            let enough = death * (CALLERS * CALLS) / (DEATHS + 1);
            // Callers who find all ENIs held wait as long as they may.
            eventually("calls are answered", LIMIT * 3, || (answered() >= enough).then_some(()))
                .with_context(|| node.log_tail())?;
            node.kill()?;
            node.start()?;
        }
        Ok(())
    })?;
    let lost = history.iter().filter(|call| call.answer == Answer::Unknown).count();
    ensure!(lost > 0, "no call was under way at any of {DEATHS} deaths");
    check(&history)?;
    world.nodes[0].wait_ready()?;
    end(&world)
}
