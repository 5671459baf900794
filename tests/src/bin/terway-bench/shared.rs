//! Pods whose ENI stays on the node, as a shared one or as a trunk: every verb in each mode, in turns with the kernel floor
//! and with the reference plugin that does the nearest job.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use terway_datapath::kernel::IpvlanMode;
use terway_rig::kernel;
use terway_rig::node::Node;
use terway_rig::trunk::Trunks;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::floor::{self, Own, Round};
use crate::floor_shared::{self, Kind};
use crate::machine;
use crate::plot;
use crate::reference::Reference;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// A mode: its name for people, the beginning of its series' names, and the reference plugin's name.
struct Mode {
    way: Way,
    name: &'static str,
    series: &'static str,
    reference: &'static str,
}

/// How its pods are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By links to the node.
    Node(Kind),
    /// By a link for a VLAN of the trunk, with a pair of links to the node beside it.
    Vlan,
}

const MODES: [Mode; 6] = [
    Mode {
        way: Way::Node(Kind::PolicyRoute),
        name: "policy routing",
        series: "shared",
        reference: "ptp + host-local",
    },
    Mode {
        way: Way::Node(Kind::VpcRoute),
        name: "VPC route",
        series: "routed",
        reference: "ptp + host-local",
    },
    Mode {
        way: Way::Node(Kind::Ipvlan(IpvlanMode::L2)),
        name: "IPVlan L2",
        series: "ipvlan",
        reference: "ipvlan + host-local",
    },
    Mode {
        way: Way::Node(Kind::Ipvlan(IpvlanMode::L3s)),
        name: "IPVlan L3S",
        series: "ipvlan_l3s",
        reference: "ipvlan + host-local",
    },
    Mode { way: Way::Vlan, name: "trunk, VLAN links", series: "vlan", reference: "vlan + host-local" },
    Mode { way: Way::Node(Kind::Tags), name: "trunk, tags", series: "tags", reference: "ptp + host-local" },
];

impl Way {
    /// What the kernel has not, of what this needs.
    fn lacking(self) -> Result<Option<&'static str>> {
        Ok(match self {
            Self::Node(Kind::Ipvlan(_)) => (!kernel::has_ipvlan()?).then_some("ipvlan"),
            // The VPC's side has VLAN links also where tags are put on by the trunk.
            Self::Vlan | Self::Node(Kind::Tags) if !kernel::has_vlan()? => Some("VLAN links"),
            Self::Vlan | Self::Node(Kind::PolicyRoute | Kind::VpcRoute) => None,
            Self::Node(Kind::Tags) => (!kernel::has_tags()?).then_some("filters for VLAN tags"),
        })
    }

    /// Whether pods are members of a trunk.
    const fn is_member(self) -> bool {
        matches!(self, Self::Vlan | Self::Node(Kind::Tags))
    }
}

/// All modes.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    for mode in &MODES {
        if let Some(lacking) = mode.way.lacking()? {
            table.figure(mode.name, format!("deselected: the kernel has no {lacking}"));
            continue;
        }
        let mut stage = Stage::set(mode, options)?;
        let all = machine::pinned(|| turns(options, mode, &mut stage))?;
        tell(table, options, mode, &all)?;
    }
    Ok(())
}

/// The node with the pods, and what is around it.
enum Stage {
    /// Daemon and cloud.
    Cloud(World),
    /// Nobody makes members of trunks yet: a stand-in for the daemon hands them out, and writes nothing down.
    Trunks(Trunks),
}

impl Stage {
    fn set(mode: &Mode, options: &Options) -> Result<Self> {
        let name = format!("pairs-{}", mode.series);
        if mode.way.is_member() {
            let trunks = Trunks::start(&name, mode.way == Way::Vlan, &options.binaries, &options.state)?;
            return Ok(Self::Trunks(trunks));
        }
        let routed = mode.way == Way::Node(Kind::VpcRoute);
        let plan = Plan {
            name,
            shared: !routed,
            routed: routed.then_some(24),
            pool: (4, 10),
            quarantine: "0s".to_owned(),
            ..Plan::default()
        };
        let mut world = World::start(&plan, &options.binaries, &options.state)?;
        if let Way::Node(Kind::Ipvlan(ipvlan)) = mode.way {
            let node = &world.nodes[0];
            node.tell_plugin("eniip_virtual_type", json!("IPVlan"))?;
            node.tell_plugin("ipvlan_mode", json!(ipvlan.to_string()))?;
            node.tell_plugin("require_virtual_type", json!(true))?;
        }
        world.boot()?;
        Ok(Self::Cloud(world))
    }

    fn vpc(&self) -> &Path {
        match self {
            Self::Cloud(world) => &world.vpc,
            Self::Trunks(trunks) => &trunks.vpc,
        }
    }

    fn node(&mut self) -> &mut Node {
        match self {
            Self::Cloud(world) => &mut world.nodes[0],
            Self::Trunks(trunks) => &mut trunks.nodes[0],
        }
    }

    /// Waits until the next ADD need not wait.
    fn warm(&self) -> Result<()> {
        match self {
            Self::Cloud(world) => subject::warm_either(&world.nodes[0]),
            Self::Trunks(_) => Ok(()),
        }
    }
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

fn turns(options: &Options, mode: &Mode, stage: &mut Stage) -> Result<Measured> {
    let host = stage.node().netns.clone();
    let mut floor = floor(mode.way, &host, stage.vpc())?;
    let reference = reference(mode.way, &host, stage.vpc())?;
    let mut all = Measured::default();
    for number in 0..options.rounds {
        let round = floor()?;
        all.floor_add.add(round.add);
        all.floor_del.add(round.del);
        stage.warm()?;
        let round = subject::round(stage.node())?;
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

/// What does a round of the kernel's floor.
fn floor(way: Way, host: &Path, vpc: &Path) -> Result<Box<dyn FnMut() -> Result<Round>>> {
    Ok(match way {
        Way::Vlan => {
            let mut floor = floor::Floor::new(Own::Vlan, host, vpc)?;
            Box::new(move || floor.round())
        }
        Way::Node(kind) => {
            let mut floor = floor_shared::Floor::new(kind, host, vpc)?;
            Box::new(move || floor.round())
        }
    })
}

fn reference(way: Way, host: &Path, vpc: &Path) -> Result<Reference> {
    match way {
        Way::Node(Kind::PolicyRoute | Kind::VpcRoute | Kind::Tags) => Reference::ptp(host),
        Way::Node(Kind::Ipvlan(mode)) => Reference::ipvlan(host, vpc, &mode.to_string()),
        Way::Vlan => Reference::vlan(host, vpc),
    }
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
