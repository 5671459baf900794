//! What the kernel takes to give a pod a device and to take it away: a NIC that is moved in and home, beside devices that are
//! made where they are used. All in turns, from a bare loop over open sockets: no addresses, no routes, no plugin.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::netlink::Netlink;
use terway_datapath::kernel::request::{IpvlanMode, LinkChange, NewLink, Request};
use terway_rig::{kernel, namespace, reader};

use crate::Options;
use crate::machine;
use crate::nic;
use crate::plot;
use crate::stats::Samples;
use crate::table::Table;

/// The NIC that is moved, and the one that has children.
const NICS: [&str; 2] = ["movenic", "parentnic"];
/// The node's end of a pair, and the device in the pod.
const NEAR: &str = "near0";
const DEVICE: &str = "device0";

/// How a pod comes by a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Moved,
    Pair,
    PairMoved,
    Netkit,
    Macvlan,
    Ipvlan(IpvlanMode),
    Vlan,
}

/// All of them; the second is the measure of the others, for every kernel has it.
const WAYS: [(&str, Way); 8] = [
    ("a NIC, moved in and home", Way::Moved),
    ("a pair, one end made in the pod", Way::Pair),
    ("a pair, one end moved in", Way::PairMoved),
    ("a netkit pair, one end made in the pod", Way::Netkit),
    ("a macvlan child, made in the pod", Way::Macvlan),
    ("an IPVlan child (L2), made in the pod", Way::Ipvlan(IpvlanMode::L2)),
    ("an IPVlan child (L3S), made in the pod", Way::Ipvlan(IpvlanMode::L3s)),
    ("a VLAN child, made in the pod", Way::Vlan),
];
const MEASURE: usize = 1;

impl Way {
    /// What the kernel has not, of what this needs.
    fn lacking(self) -> Result<Option<&'static str>> {
        Ok(match self {
            Self::Moved | Self::Pair | Self::PairMoved => None,
            Self::Netkit => (!kernel::has_netkit()?).then_some("netkit"),
            Self::Macvlan => (!kernel::has_macvlan()?).then_some("macvlan"),
            Self::Ipvlan(_) => (!kernel::has_ipvlan()?).then_some("ipvlan"),
            Self::Vlan => (!kernel::has_vlan()?).then_some("VLAN links"),
        })
    }

    /// One of its own in the series' names.
    fn series(self) -> String {
        format!("device_{self:?}").replace(['(', ')'], "_").trim_end_matches('_').to_lowercase()
    }
}

/// What was measured of one way.
#[derive(Default)]
struct Measured {
    come: Samples,
    go: Samples,
}

/// All ways that this kernel has.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let [host, vpc] = ["/run/netns/devices", "/run/netns/devices-vpc"].map(Path::new);
    namespace::create(host)?;
    namespace::create(vpc)?;
    nic::stand_in(host, vpc, [NICS[0], "moveport"])?;
    nic::stand_in(host, vpc, [NICS[1], "parentport"])?;
    reader::text(host, "ip", &["link", "set", NICS[1], "up"])?;
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    for (name, way) in WAYS {
        match way.lacking()? {
            None => there.push((name, way, Measured::default())),
            Some(lacking) => absent.push((name, lacking)),
        }
    }
    let mut node = Node::open(host)?;
    machine::pinned(|| {
        for _ in 0..options.rounds {
            for (_, way, all) in &mut there {
                let (come, go) = node.round(*way)?;
                all.come.add(come);
                all.go.add(go);
            }
        }
        Ok(())
    })?;
    println!("{} rounds: a device for a pod, in {} ways", options.rounds, there.len());
    tell(table, options, &there)?;
    for (name, lacking) in absent {
        table.figure(name, format!("deselected: the kernel has no {lacking}"));
    }
    Ok(())
}

fn tell(table: &mut Table, options: &Options, ways: &[(&str, Way, Measured)]) -> Result<()> {
    let medians = |all: &Measured| [&all.come, &all.go].map(|samples| samples.quantile(0.5));
    let [measure, measure_go] = ways.get(MEASURE).map(|(_, _, all)| medians(all)).context("no pair")?;
    for (name, way, all) in ways {
        let [come, go] = medians(all);
        let told = format!("comes in {come:.2} ms, goes in {go:.1} ms");
        let beside = format!("; / a pair {:.1}, {:.2}", come / measure, go / measure_go);
        table.figure(*name, if *way == Way::Pair { told } else { told + &beside });
        table.raw(&way.series(), all.come.json());
        table.raw(&format!("{}_gone", way.series()), all.go.json());
    }
    let series: Vec<_> = ways.iter().map(|(name, _, all)| (*name, &all.come)).collect();
    let path = options.folder().join("devices.svg");
    plot::distribution(&path, "A device for a pod, until it is up there", &series)
}

/// The node's side.
struct Node {
    netns: Netns,
    socket: Netlink,
    parent: u32,
    pods: usize,
}

impl Node {
    fn open(path: &Path) -> Result<Self> {
        let netns = Netns::open(path)?;
        let mut socket = Netlink::open(&netns)?;
        let parent = socket.link_by_name(NICS[1])?.context("the parent is not there")?.index;
        Ok(Self { netns, socket, parent, pods: 0 })
    }

    /// How long it takes until a fresh pod has its device, and until that is gone again. No pod is removed between rounds:
    /// the kernel would still be busy with it while the next one is timed.
    fn round(&mut self, way: Way) -> Result<(Duration, Duration)> {
        self.pods += 1;
        let pod = Netns::create_named(format!("/run/netns/device-{}", self.pods))?;
        let mut inside = Netlink::open(&pod)?;
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        let requests = self.give(way, &pod)?;
        let start = Instant::now();
        self.socket.transact(&requests)?;
        inside.transact(&[Request::set_link(DEVICE, &up)])?;
        let come = start.elapsed();
        let start = Instant::now();
        match way {
            Way::Moved => {
                let index = inside.link_by_name(DEVICE)?.context("the NIC is not in the pod")?.index;
                let name = Some(NICS[0]);
                let home = LinkChange { name, netns: Some(&self.netns), ..LinkChange::default() };
                inside.transact(&[Request::set_link(index, &home)])?;
            }
            Way::Pair | Way::PairMoved | Way::Netkit => {
                self.socket.transact(&[Request::delete_link(NEAR)])?;
            }
            Way::Macvlan | Way::Ipvlan(_) | Way::Vlan => {
                inside.transact(&[Request::delete_link(DEVICE)])?;
            }
        }
        Ok((come, start.elapsed()))
    }

    /// The requests after which the pod has its device, which is not up yet.
    fn give(&mut self, way: Way, pod: &Netns) -> Result<Vec<Request>> {
        let (parent, near) = (self.parent, NewLink { name: NEAR, up: true, ..NewLink::default() });
        let device = NewLink { name: DEVICE, netns: Some(pod), ..NewLink::default() };
        let into = LinkChange { netns: Some(pod), ..LinkChange::default() };
        Ok(match way {
            Way::Moved => {
                let nic = self.socket.link_by_name(NICS[0])?.context("the NIC is not at home")?.index;
                vec![Request::set_link(nic, &LinkChange { name: Some(DEVICE), ..into })]
            }
            Way::Pair => vec![Request::add_veth(&near, &device)],
            Way::PairMoved => {
                let here = NewLink { netns: None, ..device };
                vec![Request::add_veth(&near, &here), Request::set_link(DEVICE, &into)]
            }
            Way::Netkit => vec![Request::add_netkit(&near, &device)],
            Way::Macvlan => vec![Request::add_macvlan(&device, parent)],
            Way::Ipvlan(mode) => vec![Request::add_ipvlan(&device, parent, mode)],
            Way::Vlan => vec![Request::add_vlan(&device, parent, 7)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_a_series_of_its_own() {
        let mut names: Vec<_> = WAYS.iter().map(|(_, way)| way.series()).collect();
        assert_eq!(names[MEASURE], "device_pair");
        assert!(names.contains(&"device_ipvlan_l3s".to_owned()), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WAYS.len());
    }
}
