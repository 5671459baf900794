//! What the host guard costs: rounds on a node with it and on one without, in pairs.

use anyhow::Result;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::machine;
use crate::rest::rest;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let plan = Plan {
        name: "guard".to_owned(),
        nodes: 2,
        pool: (2, 4),
        quarantine: "0s".to_owned(),
        ..Plan::default()
    };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.nodes[1].flags.push("--no-host-guard".to_owned());
    world.boot()?;
    machine::pinned(|| turns(table, options, &mut world))
}

fn turns(table: &mut Table, options: &Options, world: &mut World) -> Result<()> {
    let mut adds = [const { Samples::new() }; 2];
    let mut dels = [const { Samples::new() }; 2];
    for number in 0..options.rounds {
        // Whoever comes second meets what the first one left the kernel to do.
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for node in order {
            subject::warm(&world.nodes[node], 1)?;
            let round = subject::round_after(&mut world.nodes[node], || rest(number))?;
            adds[node].add(round.add);
            dels[node].add(round.del);
        }
    }
    let ratio = |[with, without]: &[Samples; 2]| with.quantile(0.5) / without.quantile(0.5);
    let measured = format!("ADD {:.2}, DEL {:.2}", ratio(&adds), ratio(&dels));
    table.figure("with the host guard / without, p50", measured);
    let names = ["add_guarded", "add_unguarded", "del_guarded", "del_unguarded"];
    for (name, samples) in names.into_iter().zip(adds.iter().chain(&dels)) {
        table.raw(name, samples.json());
    }
    Ok(())
}
