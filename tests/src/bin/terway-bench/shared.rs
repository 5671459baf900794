//! Pods without an ENI of their own: every verb in each mode, in turns with the kernel floor and with the reference plugin
//! that does the same.

use anyhow::Result;
use serde_json::json;
use terway_rig::kernel;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::floor_shared::{Floor, Kind};
use crate::machine;
use crate::plot;
use crate::reference::Reference;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// A mode: its name for people, the beginning of its series' names, and the reference plugin's name.
struct Mode {
    kind: Kind,
    name: &'static str,
    series: &'static str,
    reference: &'static str,
}

const MODES: [Mode; 3] = [
    Mode { kind: Kind::PolicyRoute, name: "policy routing", series: "shared", reference: "ptp + host-local" },
    Mode { kind: Kind::VpcRoute, name: "VPC route", series: "routed", reference: "ptp + host-local" },
    Mode { kind: Kind::Ipvlan, name: "IPVlan", series: "ipvlan", reference: "ipvlan + host-local" },
];

/// All modes.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    for mode in &MODES {
        beside_others(table, options, mode)?;
    }
    let absent = "deselected: no control plane gives members of trunks to nodes yet";
    table.figure("VLAN, by links and by tags", absent.to_owned());
    Ok(())
}

fn beside_others(table: &mut Table, options: &Options, mode: &Mode) -> Result<()> {
    let plan = Plan {
        name: format!("pairs-{}", mode.series),
        shared: mode.kind != Kind::VpcRoute,
        routed: (mode.kind == Kind::VpcRoute).then_some(24),
        pool: (4, 10),
        quarantine: "0s".to_owned(),
        ..Plan::default()
    };
    if mode.kind == Kind::Ipvlan && !kernel::has_ipvlan()? {
        table.figure(mode.name, "deselected: the kernel has no ipvlan".to_owned());
        return Ok(());
    }
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    if mode.kind == Kind::Ipvlan {
        world.nodes[0].tell_plugin("eniip_virtual_type", json!("IPVlan"))?;
        world.nodes[0].tell_plugin("require_virtual_type", json!(true))?;
    }
    world.boot()?;
    let all = machine::pinned(|| turns(options, mode, &mut world))?;
    tell(table, options, mode, &all)
}

/// What was measured of one mode.
#[derive(Default)]
struct Measured {
    add: Samples,
    check: Samples,
    del: Samples,
    floor_add: Samples,
    floor_del: Samples,
    reference_add: Samples,
    reference_del: Samples,
}

fn turns(options: &Options, mode: &Mode, world: &mut World) -> Result<Measured> {
    let host = world.nodes[0].netns.clone();
    let mut floor = Floor::new(mode.kind, &host, &world.vpc)?;
    let reference = match mode.kind {
        Kind::Ipvlan => Reference::ipvlan(&host, &world.vpc)?,
        Kind::PolicyRoute | Kind::VpcRoute => Reference::ptp(&host)?,
    };
    let mut all = Measured::default();
    for number in 0..options.rounds {
        let round = floor.round()?;
        all.floor_add.add(round.add);
        all.floor_del.add(round.del);
        subject::warm_either(&world.nodes[0])?;
        let round = subject::round(&mut world.nodes[0])?;
        all.add.add(round.add);
        all.check.add(round.check);
        all.del.add(round.del);
        let (added, deleted) = reference.round(&format!("{}-{number}", mode.series))?;
        all.reference_add.add(added);
        all.reference_del.add(deleted);
        println!("round {:2} of {}: {}, floor, {}", number + 1, options.rounds, mode.name, mode.reference);
    }
    Ok(all)
}

fn tell(table: &mut Table, options: &Options, mode: &Mode, all: &Measured) -> Result<()> {
    let Mode { name, series, reference, .. } = mode;
    let [add, check, del, floor, floor_del, other, other_del] = [
        &all.add,
        &all.check,
        &all.del,
        &all.floor_add,
        &all.floor_del,
        &all.reference_add,
        &all.reference_del,
    ]
    .map(|samples| samples.quantile(0.5));
    table.budget(format!("{name}: ADD, p50"), format!("{add:.1} ms"), "<= 5 ms", add <= 5.0);
    table.figure(
        format!("{name}: ADD over the floor, p50, p99"),
        format!(
            "{add:.1} - {floor:.1} = {:+.1} ms, {:+.1} ms",
            add - floor,
            all.add.quantile(0.99) - all.floor_add.quantile(0.99)
        ),
    );
    let ratio = add / other;
    table.budget(
        format!("{name}: ADD / {reference}, p50"),
        format!("{add:.1} / {other:.1} ms = {ratio:.2}"),
        "< 1",
        ratio < 1.0,
    );
    table.figure(
        format!("{name}: DEL, floor, {reference}, p50"),
        format!("{del:.1}, {floor_del:.1}, {other_del:.1} ms"),
    );
    table.figure(format!("{name}: CHECK, p50"), format!("{check:.1} ms"));
    for (verb, samples) in [
        ("add", &all.add),
        ("check", &all.check),
        ("del", &all.del),
        ("floor_add", &all.floor_add),
        ("floor_del", &all.floor_del),
        ("reference_add", &all.reference_add),
        ("reference_del", &all.reference_del),
    ] {
        table.raw(&format!("{series}_{verb}"), samples.json());
    }
    let adds = [("kernel floor", &all.floor_add), ("terway", &all.add), (*reference, &all.reference_add)];
    let path = options.folder().join(format!("{series}.svg"));
    plot::distribution(&path, &format!("ADD by {name}, whole process"), &adds)
}
