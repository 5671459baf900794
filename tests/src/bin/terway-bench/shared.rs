//! Pods whose ENI stays on the node, as a shared one or as a trunk: every verb in each mode, in turns with the kernel floor
//! and with the reference plugin that does the nearest job.

use std::path::Path;

use anyhow::Result;
use terway_datapath::kernel::IpvlanMode;
use terway_rig::world::Plan;
use terway_rig::{kernel, trunk};

use crate::Options;
use crate::floor::{self, Own, Round};
use crate::floor_shared::{self, Kind};
use crate::machine;
use crate::plot;
use crate::reference::Reference;
use crate::stage::Stage;
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
            Self::Node(Kind::PolicyRoute | Kind::VpcRoute) => None,
            Self::Node(Kind::Ipvlan(_)) => (!kernel::has_ipvlan()?).then_some("ipvlan"),
            Self::Node(Kind::Tags) => trunk::lacking(false)?,
            Self::Vlan => trunk::lacking(true)?,
        })
    }

    /// A node of it.
    fn stage(self, name: String, options: &Options) -> Result<Stage> {
        let (routed, ipvlan) = match self {
            Self::Vlan => return Stage::trunks(&name, true, options),
            Self::Node(Kind::Tags) => return Stage::trunks(&name, false, options),
            Self::Node(Kind::PolicyRoute) => (None, None),
            Self::Node(Kind::VpcRoute) => (Some(24), None),
            Self::Node(Kind::Ipvlan(mode)) => (None, Some(mode.to_string())),
        };
        let plan = Plan {
            name,
            shared: routed.is_none(),
            routed,
            pool: (4, 10),
            quarantine: "0s".to_owned(),
            ..Plan::default()
        };
        Stage::cloud(&plan, ipvlan.as_deref(), options)
    }
}

/// All modes.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    for mode in &MODES {
        if let Some(lacking) = mode.way.lacking()? {
            table.figure(mode.name, format!("deselected: the kernel has no {lacking}"));
            continue;
        }
        let mut stage = mode.way.stage(format!("pairs-{}", mode.series), options)?;
        let all = machine::pinned(|| turns(options, mode, &mut stage))?;
        tell(table, options, mode, &all)?;
    }
    Ok(())
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
    let host = stage.nodes()[0].netns.clone();
    let mut floor = floor(mode.way, &host, stage.vpc())?;
    let reference = reference(mode.way, &host, stage.vpc())?;
    let mut all = Measured::default();
    for number in 0..options.rounds {
        let round = floor()?;
        all.floor_add.add(round.add);
        all.floor_del.add(round.del);
        stage.warm()?;
        let round = subject::round(&mut stage.nodes()[0])?;
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
            Box::new(move || floor.round_after(|| ()))
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
