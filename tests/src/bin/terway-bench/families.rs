//! What a second family costs, and a plugin whose file nobody has in memory: every verb on nodes with IPv4 and with both
//! families, in turns, in each mode.

use anyhow::Result;
use terway_rig::node::Node;
use terway_rig::world::{Plan, World, eni_conf};

use crate::Options;
use crate::cold;
use crate::machine;
use crate::rest::rest;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// The nodes of a world.
const STACKS: [&str; 2] = ["IPv4", "both families"];
const VERBS: [&str; 4] = ["ADD", "CHECK", "DEL", "STATUS"];

pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    for (mode, shared) in [("exclusive", false), ("shared", true)] {
        let mut world = world(mode, shared, options)?;
        machine::pinned(|| turns(table, options, &mut world.nodes, mode))?;
        // terwayd refuses ip_stack "ipv6": nodes and cloud services are reached by IPv4.
        table
            .figure(format!("{mode}, IPv6 alone"), "deselected: terwayd has no mode without IPv4".to_owned());
        machine::pinned(|| cold::run(table, options, &mut world.nodes[1], mode))?;
    }
    Ok(())
}

/// One node with IPv4, one with both families.
fn world(mode: &str, shared: bool, options: &Options) -> Result<World> {
    let name = format!("families-{mode}");
    let plan = Plan { name, nodes: 2, shared, pool: (4, 8), quarantine: "0s".to_owned(), ..Plan::default() };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.nodes[0].configure(&eni_conf(&Plan { dual_stack: false, ..plan }))?;
    world.boot()?;
    Ok(world)
}

fn turns(table: &mut Table, options: &Options, nodes: &mut [Node], mode: &str) -> Result<()> {
    let mut all: [[Samples; 4]; 2] = Default::default();
    let bare = nodes.iter_mut().map(|node| node.pod("bare")).collect::<Result<Vec<_>>>()?;
    for number in 0..options.rounds.div_ceil(2) {
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for at in order {
            subject::warm_either(&nodes[at])?;
            let round = subject::round_after(&mut nodes[at], || rest(number))?;
            let status = subject::bare(&bare[at], "STATUS")?;
            for (samples, time) in all[at].iter_mut().zip([round.add, round.check, round.del, status]) {
                samples.add(time);
            }
        }
    }
    println!("{mode}: IPv4 and both families in turns");
    for (stack, samples) in STACKS.iter().zip(&all) {
        let each =
            |share| samples.each_ref().map(|samples| format!("{:.1}", samples.quantile(share))).join(", ");
        table.figure(
            format!("{mode}, {stack}: {}", VERBS.join(", ")),
            format!("p50 {}, p99 {} ms", each(0.5), each(0.99)),
        );
        for (verb, samples) in VERBS.iter().zip(samples) {
            table.raw(&format!("{mode}_{}_{}", stack.replace(' ', "_"), verb.to_lowercase()), samples.json());
        }
    }
    let [one, both] = &all;
    let ratios: Vec<_> = VERBS
        .iter()
        .zip(one.iter().zip(both))
        .map(|(verb, (one, both))| format!("{verb} {:.2}", both.quantile(0.5) / one.quantile(0.5)))
        .collect();
    table.figure(format!("{mode}, both families / IPv4, p50"), ratios.join(", "));
    Ok(())
}
