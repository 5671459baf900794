//! Whole ENIs: every verb as a whole process, in turns with the kernel floor and the reference plugin; and how
//! long the plugin takes to start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use terway_datapath::kernel::namespace::Netns;
use terway_rig::node::Node;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::floor::{self, Floor, Own};
use crate::machine;
use crate::plot;
use crate::reference::Reference;
use crate::rest::rest;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// Pairs of floor and terway at least, in a run that asks for more than a glance: of a hundred the 99th percentile would be
/// the second greatest, which changes from run to run.
const PAIRS: usize = 300;
const GLANCE: usize = 20;
/// Where the plugin writes its timeline: in memory, for on a disk that would cost each call a tenth of a millisecond.
const TIMELINE: &str = "/run/timeline";
/// ADD and DEL of one warm ENI, interleaved with floor and reference; the plugin's cold start. No sandbox is removed
/// between rounds: the kernel would still be busy with it, under the lock everyone needs, while the next one is timed.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let plan = Plan { name: "one".to_owned(), pool: (2, 4), quarantine: "0s".to_owned(), ..Plan::default() };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.boot()?;
    let node = Netns::open(&world.nodes[0].netns)?;
    machine::pinned(|| node.run(|| turns(table, options, &mut world))?)?;
    machine::pinned(|| cold_start(table, options, &mut world.nodes[0]))
}

/// What the turns measured.
#[derive(Default)]
struct Turns {
    add: Samples,
    add_less_links: Samples,
    check: Samples,
    del: Samples,
    floor_add: Samples,
    floor_add_less_links: Samples,
    floor_move: Samples,
    floor_del: Samples,
    reference_add: Samples,
    reference_del: Samples,
}

/// Turns of floor, terway and, in as many as were asked for, the reference plugin. Another pod is on the node, as nearly
/// always. Most of a NIC's move is a wait for what the kernel has put off until its readers are done, and longer where
/// somebody was at work just before: so each of the three begins after the same rest, with its sandbox made before. It is
/// called from inside the node's namespace: to enter it for each call would be such work.
fn turns(table: &mut Table, options: &Options, world: &mut World) -> Result<()> {
    subject::warm(&world.nodes[0], 1)?;
    world.nodes[0].pod("neighbour")?.add()?;
    let host = world.nodes[0].netns.clone();
    let mut floor = Floor::new(Own::Nic, &host, &world.vpc)?;
    let reference = Reference::host_device(&host, &world.vpc)?;
    let mut turns = Turns::default();
    let pairs = if options.rounds < GLANCE { options.rounds } else { options.rounds.max(PAIRS) };
    let file = Path::new(TIMELINE);
    for number in 0..pairs {
        // The pool is filled up first, so that it does not wake up while others are measured.
        subject::warm(&world.nodes[0], 1)?;
        turns.floor(&floor.round_after(|| rest(number))?);
        let (round, links) = life(&mut world.nodes[0], file, || rest(number))?;
        turns.terway(&round, links);
        if number < options.rounds {
            subject::warm(&world.nodes[0], 1)?;
            let (add, del) = reference.round_after(&format!("reference-{number}"), || rest(number))?;
            turns.reference_add.add(add);
            turns.reference_del.add(del);
        }
        println!("round {:2} of {pairs}: floor, terway, host-device + static", number + 1);
    }
    turns.tell(table, pairs);
    turns.record(table);
    turns.draw(options.folder())
}

impl Turns {
    fn floor(&mut self, round: &floor::Round) {
        self.floor_add.add(round.add);
        self.floor_add_less_links.add(round.add.saturating_sub(round.links));
        self.floor_move.add(round.own);
        self.floor_del.add(round.del);
    }

    fn terway(&mut self, round: &subject::Round, links: Duration) {
        self.add.add(round.add);
        self.add_less_links.add(round.add.saturating_sub(links));
        self.check.add(round.check);
        self.del.add(round.del);
    }

    fn tell(&self, table: &mut Table, pairs: usize) {
        let [add, floor, reference] = [&self.add, &self.floor_add, &self.reference_add]
            .map(|samples| [samples.quantile(0.5), samples.quantile(0.99)]);
        table.figure(
            "floor: ADD, of it the move, p50",
            format!("{:.1} ms, {:.1} ms", floor[0], self.floor_move.quantile(0.5)),
        );
        for (at, share, budget, most) in [(0, "p50", "<= +5 ms", 5.0), (1, "p99", "<= +10 ms", 10.0)] {
            let over = add[at] - floor[at];
            table.budget(
                format!("warm ADD over the floor, {share}"),
                format!("{:.1} - {:.1} = {over:+.1} ms", add[at], floor[at]),
                budget,
                over <= most,
            );
        }
        // Floor and terway wait for other readers of the kernel each time: so what is not links is compared by itself as well.
        let [p50, p99] = [0.5, 0.99]
            .map(|share| self.add_less_links.quantile(share) - self.floor_add_less_links.quantile(share));
        table.budget(
            "the same less both's links, p50, p99",
            format!("{p50:+.1} ms, {p99:+.1} ms of {pairs}"),
            "<= +5, 10 ms",
            p50 <= 5.0 && p99 <= 10.0,
        );
        let [rest, floors] =
            [&self.add_less_links, &self.floor_add_less_links].map(|samples| samples.quantile(0.5));
        table.figure(
            "all of it but the links, of the floor as well, p50",
            format!("{rest:.1} ms, {floors:.1} ms"),
        );
        let ratio = add[0] / reference[0];
        table.budget(
            "warm ADD / host-device + static, p50",
            format!("{:.1} / {:.1} ms = {ratio:.2}", add[0], reference[0]),
            "< 1",
            ratio < 1.0,
        );
        let [del, reference_del, floor_del, check] =
            [&self.del, &self.reference_del, &self.floor_del, &self.check]
                .map(|samples| samples.quantile(0.5));
        table.figure(
            "DEL: terway / host-device / floor, p50",
            format!("{del:.1} / {reference_del:.1} / {floor_del:.1} ms"),
        );
        table.figure("CHECK, p50", format!("{check:.1} ms"));
    }

    fn record(&self, table: &mut Table) {
        for (name, samples) in [
            ("add", &self.add),
            ("add_less_links", &self.add_less_links),
            ("check", &self.check),
            ("del", &self.del),
            ("floor_add", &self.floor_add),
            ("floor_add_less_links", &self.floor_add_less_links),
            ("floor_del", &self.floor_del),
            ("floor_move", &self.floor_move),
            ("reference_add", &self.reference_add),
            ("reference_del", &self.reference_del),
        ] {
            table.raw(name, samples.json());
        }
    }

    fn draw(&self, folder: &Path) -> Result<()> {
        let adds = [
            ("kernel floor", &self.floor_add),
            ("terway", &self.add),
            ("host-device + static", &self.reference_add),
        ];
        plot::distribution(&folder.join("add.svg"), "ADD of a warm ENI, whole process", &adds)?;
        let dels = [
            ("kernel floor", &self.floor_del),
            ("terway", &self.del),
            ("host-device + static", &self.reference_del),
        ];
        plot::distribution(&folder.join("del.svg"), "DEL of an ENI, whole process", &dels)
    }
}

/// A pod's life, and how long of its ADD the kernel made and moved links, which the plugin writes down.
fn life(node: &mut Node, file: &Path, rest: impl FnOnce()) -> Result<(subject::Round, Duration)> {
    let _ = fs::remove_file(file);
    let mut pod = node.pod("bench")?;
    rest();
    let added = pod.call("ADD").with("TERWAY_TIMELINE", &file.to_string_lossy()).run()?.expect_ok("ADD")?;
    let text = fs::read_to_string(file).context("the plugin wrote no timeline")?;
    let line: Value = serde_json::from_str(text.trim()).context("its timeline is no line of JSON")?;
    let links = line["links_us"].as_u64().with_context(|| format!("no links_us in {line}"))?;
    let add = added.elapsed;
    pod.result = Some(added);
    let check = pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?.elapsed;
    let del = pod.del()?.elapsed;
    Ok((subject::Round { add, check, del }, Duration::from_micros(links)))
}

fn cold_start(table: &mut Table, options: &Options, node: &mut Node) -> Result<()> {
    let pod = node.pod("bare")?;
    for (verb, what, budget, most) in [
        ("VERSION", "VERSION, whole process, p50", "<= 3 ms", 3.0),
        ("STATUS", "STATUS, whole process, p50", "<= 2 ms", 2.0),
    ] {
        let mut samples = Samples::new();
        for _ in 0..options.rounds * 3 {
            samples.add(subject::bare(&pod, verb)?);
        }
        let p50 = samples.quantile(0.5);
        table.budget(what, format!("{p50:.2} ms"), budget, p50 <= most);
        table.raw(verb, samples.json());
    }
    Ok(())
}
