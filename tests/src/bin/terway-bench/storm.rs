//! A node boots: its pods are asked for while the daemon starts with an empty ledger. A runtime asks again when it is
//! refused, and so do we.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use terway_rig::eventually::eventually;
use terway_rig::plugin::Call;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::table::Table;

/// Pods of the node.
const PODS: usize = 50;
/// Until the last pod must have its ENI.
const LIMIT: Duration = Duration::from_mins(3);
/// ENIs under way at once in the storm that is compared with.
const FEW: u32 = 4;
/// The most that a storm takes of the time of one with few ENIs under way at once.
const RATIO: f64 = 0.75;

/// What came of a storm.
struct Storm {
    seconds: f64,
    refused: usize,
}

pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let few = storm("stormfew", vec![("eni_parallel", json!(FEW))], options)?;
    let storm = storm("storm", Vec::new(), options)?;
    table.figure("50 pods while terwayd starts with nothing", format!("{:.1} s", storm.seconds));
    let refused = storm.refused + few.refused;
    table.promise("calls refused meanwhile", refused.to_string(), "0", refused == 0);
    let ratio = storm.seconds / few.seconds;
    table.promise(
        format!("the same / with {FEW} ENIs under way at once"),
        format!("{ratio:.2}"),
        "<= 0.75",
        ratio <= RATIO,
    );
    table.raw(
        "boot_storm",
        json!({ "seconds": storm.seconds, "refused": storm.refused, "few_seconds": few.seconds }),
    );
    Ok(())
}

fn storm(name: &str, keys: Vec<(&'static str, Value)>, options: &Options) -> Result<Storm> {
    let pods = u32::try_from(PODS)?;
    let plan = Plan { name: name.to_owned(), enis: pods + 1, pool: (0, pods), keys, ..Plan::default() };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    let node = &mut world.nodes[0];
    let pods = (0..PODS).map(|number| node.pod(&format!("storm{number}"))).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    node.start()?;
    let threads: Vec<_> = pods
        .iter()
        .map(|pod| {
            let call = pod.call("ADD");
            thread::spawn(move || until_added(&call))
        })
        .collect();
    let mut refused = 0;
    for thread in threads {
        refused += thread.join().map_err(|_| anyhow!("a call panicked"))?.with_context(|| node.log_tail())?;
    }
    let elapsed = start.elapsed();
    println!("a boot with {PODS} pods, {name}: {elapsed:?}, {refused} calls refused");
    Ok(Storm { seconds: elapsed.as_secs_f64(), refused })
}

/// Calls until it succeeds, and tells how often it did not.
fn until_added(call: &Call) -> Result<usize> {
    let (mut refused, mut last) = (0, String::new());
    eventually("a pod of a booting node is added", LIMIT, || {
        match call.run().and_then(|outcome| outcome.expect_ok("ADD")) {
            Ok(_) => return Some(()),
            Err(error) => last = format!("{error:#}"),
        }
        refused += 1;
        None
    })
    .with_context(|| format!("the last answer: {last}"))?;
    Ok(refused)
}
