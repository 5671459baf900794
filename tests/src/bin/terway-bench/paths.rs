//! The data path: what goes through between pods in each mode, beside two namespaces on a plain bridge, in turns in one
//! run. The simulated VPC drops what a VPC drops, so ways to another node have its filters in them; a real VPC has them
//! elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::Plan;
use terway_rig::{kernel, namespace, reader, trunk};

use crate::Options;
use crate::stage::Stage;
use crate::stream::{Turn, Way};
use crate::table::Table;

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
/// Rounds of calls for each turn over all ways; a turn takes longer.
const ROUNDS_PER_TURN: usize = 6;

/// A mode whose pods a way is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Exclusive,
    PolicyRoute,
    VpcRoute,
    /// With its `ipvlan_mode`.
    Ipvlan(&'static str),
    /// Members of trunks; with a link for the VLAN or with tags that the trunk puts on.
    Trunk {
        vlan_links: bool,
    },
}

/// All modes, with the nodes (of two) that the pods of each way are on.
const MODES: [(&str, Mode, &[[usize; 2]]); 7] = [
    ("exclusive", Mode::Exclusive, &[WITHIN, ACROSS]),
    ("policy routing", Mode::PolicyRoute, &[WITHIN, ACROSS]),
    ("VPC route", Mode::VpcRoute, &[WITHIN, ACROSS]),
    ("IPVlan L2", Mode::Ipvlan("l2"), &[WITHIN, ACROSS]),
    ("IPVlan L3S", Mode::Ipvlan("l3s"), &[WITHIN, ACROSS]),
    ("trunk, VLAN links", Mode::Trunk { vlan_links: true }, &[ACROSS]),
    ("trunk, tags", Mode::Trunk { vlan_links: false }, &[ACROSS]),
];
const WITHIN: [usize; 2] = [0, 0];
const ACROSS: [usize; 2] = [0, 1];

impl Mode {
    /// What the kernel has not, of what this needs.
    fn lacking(self) -> Result<Option<&'static str>> {
        Ok(match self {
            Self::Exclusive | Self::PolicyRoute | Self::VpcRoute => None,
            Self::Ipvlan(_) => (!kernel::has_ipvlan()?).then_some("ipvlan"),
            Self::Trunk { vlan_links } => trunk::lacking(vlan_links)?,
        })
    }

    /// Two nodes of it.
    fn stage(self, options: &Options) -> Result<Stage> {
        let (name, ipvlan) = match self {
            Self::Exclusive => ("way-whole", None),
            Self::PolicyRoute => ("way-routes", None),
            Self::VpcRoute => ("way-vpc", None),
            Self::Ipvlan("l2") => ("way-l2", Some("l2")),
            Self::Ipvlan(mode) => ("way-l3s", Some(mode)),
            Self::Trunk { vlan_links } => {
                let name = if vlan_links { "way-links" } else { "way-tags" };
                return Stage::trunks(name, vlan_links, options);
            }
        };
        let routed = (self == Self::VpcRoute).then_some(24);
        let shared = self != Self::Exclusive && routed.is_none();
        let plan = Plan { name: name.to_owned(), nodes: 2, shared, routed, pool: (4, 8), ..Plan::default() };
        Stage::cloud(&plan, ipvlan, options)
    }
}

/// All turns over all ways.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let bridge = bridge()?;
    // Worlds live as long as the ways through them.
    let (mut stages, mut ways, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for (name, mode, pairs) in MODES {
        if let Some(lacking) = mode.lacking()? {
            absent.push((name, lacking));
            continue;
        }
        let mut stage = mode.stage(options)?;
        for nodes in pairs {
            let place = if *nodes == WITHIN { "same node" } else { "other node" };
            let way = pair(stage.nodes(), *nodes).with_context(|| format!("{name}, {place}"))?;
            ways.push((format!("{name}, {place}"), way));
        }
        stages.push(stage);
    }
    let turns = (options.rounds / ROUNDS_PER_TURN).max(1);
    let (mut plain, mut ours) = ([const { Vec::new() }; 2], vec![[const { Vec::new() }; 2]; ways.len()]);
    for turn in 0..turns {
        for family in 0..FAMILIES.len() {
            plain[family].push(bridge.turn(family).context("between two namespaces on a bridge")?);
            for ((name, way), turns) in ways.iter().zip(&mut ours) {
                let measured = way.turn(family).with_context(|| format!("{name}, {}", FAMILIES[family]))?;
                turns[family].push(measured);
            }
        }
        println!("turn {} of {turns} over {} ways", turn + 1, ways.len() + 1);
    }
    tell(table, &plain, ways.iter().map(|(name, _)| name.as_str()).zip(&ours));
    for (name, lacking) in absent {
        table.figure(format!("{name} / bridge"), format!("deselected: the kernel has no {lacking}"));
    }
    Ok(())
}

fn tell<'a>(
    table: &mut Table,
    plain: &[Vec<Turn>; 2],
    ours: impl Iterator<Item = (&'a str, &'a [Vec<Turn>; 2])>,
) {
    let plain = plain.each_ref().map(|turns| Through::of(turns));
    for (family, through) in FAMILIES.iter().zip(&plain) {
        table.figure(format!("two namespaces on a bridge, {family}"), through.text());
        table.raw(&format!("path_bridge_{family}"), through.json());
    }
    for (name, turns) in ours {
        for ((family, turns), plain) in FAMILIES.iter().zip(turns).zip(&plain) {
            let through = Through::of(turns);
            table.figure(format!("{name} / bridge, {family}"), through.against(plain));
            table.raw(&format!("path_{}_{family}", name.replace([',', ' '], "_")), through.json());
        }
    }
}

/// What went through in all turns over one way.
#[derive(Clone, Copy, Debug)]
struct Through {
    gbit_per_second: f64,
    busy_seconds_per_gb: f64,
    answer_p50_us: f64,
    answer_p99_us: f64,
    datagrams_per_second: f64,
}

impl Through {
    fn of(turns: &[Turn]) -> Self {
        let sum = |pick: fn(&Turn) -> f64| turns.iter().map(pick).sum::<f64>();
        let (bytes, seconds, busy) =
            (sum(|turn| turn.bytes), sum(|turn| turn.seconds), sum(|turn| turn.busy_seconds));
        Self {
            gbit_per_second: bytes * 8.0 / 1e9 / seconds,
            busy_seconds_per_gb: busy / (bytes / 1e9),
            answer_p50_us: 1e3 * median(turns, |turn| turn.answer_p50),
            answer_p99_us: 1e3 * median(turns, |turn| turn.answer_p99),
            datagrams_per_second: median(turns, |turn| turn.datagrams_per_second),
        }
    }

    fn text(&self) -> String {
        format!(
            "{:.1} Gbit/s at {:.2} CPU s/GB; answer p50 {:.0} us, p99 {:.0} us; {:.0} k datagrams/s",
            self.gbit_per_second,
            self.busy_seconds_per_gb,
            self.answer_p50_us,
            self.answer_p99_us,
            self.datagrams_per_second / 1e3
        )
    }

    fn against(&self, plain: &Self) -> String {
        format!(
            "Gbit/s {:.2}, CPU s/GB {:.2}; answer p50 {:.2}, p99 {:.2}; datagrams/s {:.2}",
            self.gbit_per_second / plain.gbit_per_second,
            self.busy_seconds_per_gb / plain.busy_seconds_per_gb,
            self.answer_p50_us / plain.answer_p50_us,
            self.answer_p99_us / plain.answer_p99_us,
            self.datagrams_per_second / plain.datagrams_per_second
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "gbit_per_second": self.gbit_per_second, "busy_seconds_per_gb": self.busy_seconds_per_gb,
            "answer_p50_us": self.answer_p50_us, "answer_p99_us": self.answer_p99_us,
            "datagrams_per_second": self.datagrams_per_second,
        })
    }
}

fn median(turns: &[Turn], pick: fn(&Turn) -> f64) -> f64 {
    let mut all: Vec<f64> = turns.iter().map(pick).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two fresh pods, on these nodes. Their names are their own: a second pod of a name takes the first one's links over.
fn pair(nodes: &mut [Node], [from, to]: [usize; 2]) -> Result<Way> {
    let mut pod = |end: &str, on: usize| -> Result<Pod> {
        let mut pod = nodes[on].pod(&format!("{end}-{from}-{to}"))?;
        pod.add()?;
        Ok(pod)
    };
    let (client, server) = (pod("client", from)?, pod("server", to)?);
    let addresses = [server.address(4)?, server.address(6)?];
    Ok(Way { client: client.netns, server: server.netns, addresses })
}

/// Two namespaces, each with a pair of links whose other end is on a bridge in a third.
fn bridge() -> Result<Way> {
    let [switch, client, server] = ["bridge", "bridge-client", "bridge-server"].map(netns);
    for path in [&switch, &client, &server] {
        namespace::create(path)?;
    }
    ip(&switch, "link add br0 type bridge")?;
    ip(&switch, "link set br0 up")?;
    for (number, path) in [&client, &server].into_iter().enumerate() {
        let name = path.file_name().and_then(|name| name.to_str()).context("a namespace without a name")?;
        ip(&switch, &format!("link add port{number} type veth peer name eth0 netns {name}"))?;
        ip(&switch, &format!("link set port{number} master br0 up"))?;
        ip(path, &format!("address add 10.7.0.{}/24 dev eth0", number + 1))?;
        ip(path, &format!("address add fd00:7::{}/64 dev eth0 nodad", number + 1))?;
        ip(path, "link set eth0 up")?;
    }
    Ok(Way { client, server, addresses: ["10.7.0.2".parse()?, "fd00:7::2".parse()?] })
}

fn netns(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

fn ip(netns: &Path, words: &str) -> Result<()> {
    reader::text(netns, "ip", &words.split(' ').collect::<Vec<_>>()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_is_told_in_ratios_of_all_turns() {
        let turn = |bytes, busy_seconds, answer_p50, datagrams_per_second| Turn {
            bytes,
            seconds: 1.0,
            busy_seconds,
            answer_p50,
            answer_p99: 2.0 * answer_p50,
            datagrams_per_second,
        };
        let plain = Through::of(&[
            turn(1e9, 1.0, 0.02, 100e3),
            turn(3e9, 3.0, 0.03, 200e3),
            turn(2e9, 2.0, 0.04, 300e3),
        ]);
        assert_eq!(
            plain.text(),
            "16.0 Gbit/s at 1.00 CPU s/GB; answer p50 30 us, p99 60 us; 200 k datagrams/s"
        );
        let ours = Through::of(&[turn(1e9, 2.0, 0.06, 100e3)]);
        let told = "Gbit/s 0.50, CPU s/GB 2.00; answer p50 2.00, p99 2.00; datagrams/s 0.50";
        assert_eq!(ours.against(&plain), told);
    }
}
