//! How costs grow with the pods on a node, up to hundreds on shared ENIs.

use anyhow::Result;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::Plan;

use crate::Options;
use crate::plot;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// Addresses of each family on an ENI.
const ADDRESSES: u32 = 50;
/// At each end of the curve, how many pods its cost is taken from.
const ENDS: usize = 50;

/// ADD, CHECK and DEL of one pod after the other, from an empty node to a full one and back.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
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
    let mut world = subject::world(&plan, options)?;
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
        "pods so far",
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
