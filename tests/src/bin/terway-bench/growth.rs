//! How costs grow with the pods on a node, up to hundreds on shared ENIs: ours, and beside them the kernel's own for the same
//! requests from a bare loop on the same node.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::netlink::Netlink;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::Plan;

use crate::Options;
use crate::floor_shared::{Floor, Kind, POD};
use crate::machine;
use crate::plot;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// Addresses of each family on an ENI.
const ADDRESSES: u32 = 50;
/// In so many steps the curve is told.
const STEPS: usize = 5;
/// How many pods come or go between two looks at what else costs more with them.
const EVERY: usize = 5;

/// What was measured on the way from an empty node to a full one and back.
#[derive(Default)]
struct Curve {
    add: Samples,
    check: Samples,
    del: Samples,
    /// The kernel's own part of ADD and DEL.
    floor_add: Samples,
    floor_del: Samples,
    /// The kernel's own part of what a CHECK reads of all pods: the list of rules.
    rules: Samples,
}

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
    let vpc = world.vpc.clone();
    let node = &mut world.nodes[0];
    subject::warm_addresses(node, pods)?;
    let mut floor = Floor::new(Kind::PolicyRoute, &node.netns, &vpc)?;
    let mut all =
        (0..pods).map(|number| node.pod(&format!("growth{number}"))).collect::<Result<Vec<Pod>>>()?;
    let (curve, scrape) = machine::pinned(|| {
        let mut curve = up(&mut all, &mut floor, &node.netns)?;
        let scrape = scrapes(node, options.rounds)?;
        down(&mut all, &mut floor, &mut curve)?;
        Ok((curve, scrape))
    })?;
    curve.tell(table);
    table.figure(
        "a scrape of the metrics, p50",
        format!("{:.2} ms with {pods} attachments", scrape.quantile(0.5)),
    );
    for (name, samples) in curve.series().into_iter().chain([("scrape", &scrape)]) {
        table.raw(name, samples.json());
    }
    plot::curve(
        &options.folder().join("growth.svg"),
        "ADD and DEL on shared ENIs, as pods come to the node and leave it",
        "pods so far",
        &[("ADD", &curve.add), ("DEL, from full to empty", &curve.del)],
    )
}

fn up(pods: &mut [Pod], floor: &mut Floor, host: &Path) -> Result<Curve> {
    let mut curve = Curve::default();
    let mut list = Netlink::open(&Netns::open(host)?)?;
    for (number, pod) in pods.iter_mut().enumerate() {
        curve.add.add(pod.add()?.elapsed);
        if number % EVERY == 0 {
            curve.floor_add.add(floor.round()?.add);
            curve.check.add(pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?.elapsed);
            let start = Instant::now();
            list.rules_about(&POD)?;
            curve.rules.add(start.elapsed());
        }
    }
    Ok(curve)
}

fn down(pods: &mut [Pod], floor: &mut Floor, curve: &mut Curve) -> Result<()> {
    for (number, pod) in pods.iter_mut().enumerate() {
        if number % EVERY == 0 {
            curve.floor_del.add(floor.round()?.del);
        }
        curve.del.add(pod.del()?.elapsed);
    }
    Ok(())
}

impl Curve {
    fn series(&self) -> [(&'static str, &Samples); 6] {
        [
            ("growth_add", &self.add),
            ("growth_check", &self.check),
            ("growth_del", &self.del),
            ("growth_floor_add", &self.floor_add),
            ("growth_floor_del", &self.floor_del),
            ("growth_rules", &self.rules),
        ]
    }

    fn tell(&self, table: &mut Table) {
        let pods = self.add.all().len();
        let at: Vec<_> = (0..=STEPS).map(|step| (step * pods / STEPS).to_string()).collect();
        table.figure("pods on the node", at.join(", "));
        for (what, samples, falls) in [
            ("ADD", &self.add, false),
            ("floor: ADD", &self.floor_add, false),
            ("CHECK", &self.check, false),
            ("the kernel's list of rules", &self.rules, false),
            ("DEL", &self.del, true),
            ("floor: DEL", &self.floor_del, true),
        ] {
            let medians = medians(samples, falls);
            let each: Vec<_> = medians.iter().map(|median| format!("{median:.1}")).collect();
            let ratio = medians.last().copied().unwrap_or_default() / medians.first().copied().unwrap_or(1.0);
            table.figure(format!("{what} with so many, p50"), format!("{} ms; {ratio:.2}", each.join(", ")));
        }
    }
}

/// Medians of what was measured around each step of the curve, from the empty node to the full one; `falls` says that the
/// full one came first.
fn medians(samples: &Samples, falls: bool) -> Vec<f64> {
    let count = samples.all().len();
    let half = (count / STEPS / 2).max(1);
    let around = |step: usize| {
        let at = step * count / STEPS;
        samples.part(at.saturating_sub(half)..(at + half).min(count)).quantile(0.5)
    };
    let mut all: Vec<_> = (0..=STEPS).map(around).collect();
    if falls {
        all.reverse();
    }
    all
}

fn scrapes(node: &Node, rounds: usize) -> Result<Samples> {
    let mut samples = Samples::new();
    for _ in 0..rounds {
        samples.add(subject::scrape(node)?);
    }
    Ok(samples)
}
