//! The namespace that plays the VPC: a bridge with the gateway's addresses per vSwitch, forwarding
//! between them, and the cloud's services on loopback.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;

use ipnetwork::{IpNetwork, Ipv4Network};
use terway_datapath::kernel::nft::Nft;
use terway_datapath::kernel::sysctl::{Sysctl, SysctlError};
use terway_datapath::kernel::{LinkChange, Netlink, Netns, NetnsError, NewLink, Request, Route};
use terway_types::{Gateways, MacAddr, Subnets, VSwitchId};

use super::FabricError;
use crate::config::{Config, Vendor};
use crate::model::reserved;

/// Where the vendor's instance metadata service listens.
pub(crate) fn metadata_address(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Aliyun => "100.100.100.200",
        Vendor::Tencent => "169.254.0.23",
    }
}
/// Where the API listens.
pub(crate) const API: &str = "100.100.100.201";

/// Routes for others, does not meddle with them, and is not slowed down by duplicate detection.
const ROUTER: &[(&str, &str)] = &[
    ("net/ipv4/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];
/// Ports only carry frames: they have no addresses of their own. Set after the bridges are made.
const PORTS: &[(&str, &str)] = &[("net/ipv6/conf/default/disable_ipv6", "1")];

/// A vSwitch in the VPC's namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    /// The index of its bridge.
    pub(super) bridge: u32,
    /// Its ranges.
    pub(super) subnets: Subnets,
    /// Its gateways, which are addresses of the bridge.
    pub(super) gateways: Gateways,
}

/// The VPC's namespace.
#[derive(Debug)]
pub(super) struct Vpc {
    path: PathBuf,
    netns: Netns,
    pub(super) netlink: Netlink,
    /// What guards the ports; none where nobody does.
    pub(super) nft: Option<Nft>,
    vswitches: BTreeMap<VSwitchId, Home>,
}

impl Vpc {
    pub(super) fn create(config: &Config) -> Result<Self, FabricError> {
        let path = config.vpc.netns.clone();
        match Netns::open(&path) {
            Ok(_) => return Err(FabricError::InUse(path)),
            // The file a killed simulation's namespace was mounted on.
            Err(NetnsError::NotANetns { .. }) => super::node::remove(&path),
            Err(_) => {}
        }
        let netns = super::node::create(&path)?;
        let outcome = Self::furnish(config, netns);
        if outcome.is_err() {
            super::node::remove(&path);
        }
        outcome
    }

    fn furnish(config: &Config, netns: Netns) -> Result<Self, FabricError> {
        set(&netns, ROUTER)?;
        let mut netlink = Netlink::open(&netns)?;
        let nft = config.vpc.port_security.then(|| Nft::open(&netns)).transpose()?;
        serve_from_loopback(&mut netlink, config.cloud)?;
        let mut vswitches = BTreeMap::new();
        for (number, vswitch) in (0_u16..).zip(&config.vswitches) {
            let subnets = Subnets::new(Some(vswitch.ipv4), vswitch.ipv6);
            let gateways = reserved::gateways(config.cloud, vswitch);
            let bridge = add_bridge(&mut netlink, number, &vswitch.id)?;
            let home = Home { bridge, subnets, gateways };
            netlink.transact(&home.ways())?;
            vswitches.insert(VSwitchId(vswitch.id.clone()), home);
        }
        set(&netns, PORTS)?;
        Ok(Self { path: config.vpc.netns.clone(), netns, netlink, nft, vswitches })
    }

    pub(super) fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A vSwitch that must be there.
    pub(super) fn vswitch(&self, id: &VSwitchId) -> Result<Home, FabricError> {
        self.vswitches.get(id).copied().ok_or_else(|| FabricError::Unknown(format!("vSwitch {id}")))
    }

    pub(super) fn listen(&self, address: &str) -> Result<TcpListener, FabricError> {
        let failed = |source| FabricError::Listen { address: address.to_owned(), source };
        let listener = self.netns.run(|| TcpListener::bind(address))?.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(listener)
    }

    /// The bridges go with the namespace.
    pub(super) fn remove(self) {
        super::node::remove(&self.path);
    }
}

fn serve_from_loopback(netlink: &mut Netlink, vendor: Vendor) -> Result<(), FabricError> {
    let lo = index_of(netlink, "lo")?;
    let mut requests = vec![Request::set_link(lo, &LinkChange { up: Some(true), ..LinkChange::default() })];
    for address in [metadata_address(vendor), API] {
        let address: Ipv4Network =
            address.parse().map_err(|_| FabricError::Unknown(format!("service address {address}")))?;
        requests.push(Request::add_address(lo, IpNetwork::V4(address)));
    }
    Ok(netlink.transact(&requests)?)
}

impl Home {
    /// The gateways as addresses of the bridge, and the vSwitch's ranges behind it.
    fn ways(&self) -> Vec<Request> {
        let Self { bridge, subnets, gateways } = *self;
        let mut requests = Vec::new();
        if let (Some(cidr), Some(gateway)) = (subnets.v4.map(IpNetwork::V4), gateways.v4) {
            requests.push(Request::add_address(bridge, IpNetwork::from(IpAddr::from(gateway))));
            requests.push(Request::replace_route(&Route::to(cidr).dev(bridge).scope_link()));
        }
        if let (Some(cidr), Some(gateway)) = (subnets.v6.map(IpNetwork::V6), gateways.v6) {
            requests.push(Request::add_address(bridge, IpNetwork::from(IpAddr::from(gateway))));
            requests.push(Request::replace_route(&Route::to(cidr).dev(bridge)));
        }
        requests
    }
}

/// The bridge of a vSwitch, up, with a MAC that does not follow its ports'.
fn add_bridge(netlink: &mut Netlink, number: u16, id: &str) -> Result<u32, FabricError> {
    let name = format!("vsw{number}");
    let [high, low] = number.to_be_bytes();
    let mac = Some(MacAddr([0x02, 0xc5, 0xff, 0xff, high, low]));
    let bridge = NewLink { name: &name, mac, up: true, ..NewLink::default() };
    // An alias has 255 bytes at most; an id longer than that is only shortened for the eye.
    let alias: String = id.chars().take(60).collect();
    netlink.transact(&[
        Request::add_flooding_bridge(&bridge),
        Request::set_link(&*name, &LinkChange { alias: Some(&alias), ..LinkChange::default() }),
    ])?;
    index_of(netlink, &name)
}

/// The index of a link that must be there.
pub(super) fn index_of(netlink: &mut Netlink, name: &str) -> Result<u32, FabricError> {
    let link = netlink.link_by_name(name)?;
    link.map(|link| link.index).ok_or_else(|| FabricError::Unknown(format!("link {name}")))
}

/// Makes settings inside a namespace.
pub(super) fn set(netns: &Netns, settings: &[(&str, &str)]) -> Result<(), FabricError> {
    let sysctl = Sysctl::default();
    let outcome: Result<(), SysctlError> =
        netns.run(|| settings.iter().try_for_each(|(name, value)| sysctl.set(name, value).map(|_| ())))?;
    Ok(outcome?)
}
