//! Shared ENIs: every verb beside the reference plugin that does the same, and how its cost grows with the pods on the
//! node.

use anyhow::Result;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::machine;
use crate::plot;
use crate::reference::Reference;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// Addresses of each family on an ENI.
const ADDRESSES: u32 = 50;
/// At each end of the curve, how many pods its cost is taken from.
const ENDS: usize = 50;

/// All of it.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    beside_others(table, options)?;
    growth(table, options)
}

fn beside_others(table: &mut Table, options: &Options) -> Result<()> {
    let plan = Plan {
        name: "pairs".to_owned(),
        shared: true,
        pool: (4, 10),
        quarantine: "0s".to_owned(),
        ..Plan::default()
    };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.boot()?;
    machine::pinned(|| turns(table, options, &mut world))
}

fn turns(table: &mut Table, options: &Options, world: &mut World) -> Result<()> {
    let host = world.nodes[0].netns.clone();
    let reference = Reference::ptp(&host)?;
    let ipvlan = if subject::has_ipvlan(&host)? { Some(Reference::ipvlan(&host, &world.vpc)?) } else { None };
    let mut child = Samples::new();
    let [mut add, mut check, mut del, mut theirs, mut their_del] = [const { Samples::new() }; 5];
    for number in 0..options.rounds {
        subject::warm_addresses(&world.nodes[0], 1)?;
        let round = subject::round(&mut world.nodes[0])?;
        add.add(round.add);
        check.add(round.check);
        del.add(round.del);
        let (added, deleted) = reference.round(&format!("ptp-{number}"))?;
        theirs.add(added);
        their_del.add(deleted);
        if let Some(ipvlan) = &ipvlan {
            child.add(ipvlan.round(&format!("ipvlan-{number}"))?.0);
        }
        println!("round {:2} of {}: shared ENI, ptp + host-local", number + 1, options.rounds);
    }
    let (ours, other) = (add.quantile(0.5), theirs.quantile(0.5));
    table.budget("ADD on a shared ENI, p50", format!("{ours:.1} ms"), "<= 5 ms", ours <= 5.0);
    table.figure(
        "the same / ptp + host-local, p50",
        format!("{ours:.1} / {other:.1} ms = {:.2}", ours / other),
    );
    let beside = child.quantile(0.5);
    table.figure(
        "the same / ipvlan + host-local, p50",
        match ipvlan {
            Some(_) => format!("{ours:.1} / {beside:.1} ms = {:.2}", ours / beside),
            None => "deselected: the kernel has no ipvlan".to_owned(),
        },
    );
    table.figure(
        "DEL on a shared ENI: terway / ptp, p50",
        format!("{:.1} / {:.1} ms", del.quantile(0.5), their_del.quantile(0.5)),
    );
    table.figure("CHECK on a shared ENI, p50", format!("{:.1} ms", check.quantile(0.5)));
    for (name, samples) in [
        ("shared_add", &add),
        ("shared_check", &check),
        ("shared_del", &del),
        ("ptp_add", &theirs),
        ("ptp_del", &their_del),
    ] {
        table.raw(name, samples.json());
    }
    let path = options.folder().join("shared.svg");
    let adds = [("terway", &add), ("ptp + host-local", &theirs)];
    plot::distribution(&path, "ADD on a shared ENI, whole process", &adds)
}

fn growth(table: &mut Table, options: &Options) -> Result<()> {
    let pods = options.pods;
    let addresses = u32::try_from(pods)? + 2;
    let plan = Plan {
        name: "growth".to_owned(),
        shared: true,
        addresses: ADDRESSES,
        enis: addresses.div_ceil(ADDRESSES) + 2,
        pool: (addresses, addresses),
        quarantine: "0s".to_owned(),
        latency: [1, 1, 1, 1],
        ..Plan::default()
    };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    subject::warm_addresses(node, pods)?;
    let mut add = Samples::new();
    let mut all =
        (0..pods).map(|number| node.pod(&format!("growth{number}"))).collect::<Result<Vec<Pod>>>()?;
    for pod in &mut all {
        add.add(pod.add()?.elapsed);
    }
    let check = checks(&all, options.rounds)?;
    let scrape = scrapes(node, options.rounds)?;
    let mut del = Samples::new();
    for pod in &mut all {
        del.add(pod.del()?.elapsed);
    }
    tell(table, &add, &check, &del);
    table.figure(
        "a scrape of the metrics, p50",
        format!("{:.2} ms with {pods} attachments", scrape.quantile(0.5)),
    );
    for (name, samples) in
        [("growth_add", &add), ("growth_check", &check), ("growth_del", &del), ("scrape", &scrape)]
    {
        table.raw(name, samples.json());
    }
    plot::curve(
        &options.folder().join("growth.svg"),
        "ADD and DEL on shared ENIs, as pods come to the node and leave it",
        "pods",
        &[("ADD", &add), ("DEL, from full to empty", &del)],
    )
}

fn tell(table: &mut Table, add: &Samples, check: &Samples, del: &Samples) {
    let (count, ends) = (add.all().len(), ENDS.min(add.all().len() / 2));
    let (first, last) = (add.part(0..ends).quantile(0.5), add.part(count - ends..count).quantile(0.5));
    table.figure(
        "ADD with all pods on the node / with none",
        format!("{last:.1} / {first:.1} ms = {:.2}, {count} pods", last / first),
    );
    table.figure(
        "DEL, CHECK with many pods on the node, p50",
        format!("{:.1} ms, {:.1} ms", del.quantile(0.5), check.quantile(0.5)),
    );
}

fn checks(pods: &[Pod], rounds: usize) -> Result<Samples> {
    let mut samples = Samples::new();
    for pod in pods.iter().cycle().take(rounds) {
        samples.add(pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?.elapsed);
    }
    Ok(samples)
}

fn scrapes(node: &Node, rounds: usize) -> Result<Samples> {
    let mut samples = Samples::new();
    for _ in 0..rounds {
        samples.add(subject::scrape(node)?);
    }
    Ok(samples)
}
