//! A link as the kernel tells it, read attribute by attribute. Nearly all that is told of one are counters and settings of
//! protocols: the library makes many KiB of values of them for each link, and a tenth of the plugin is its code for that.

use netlink_packet_core::DecodeError;

use super::mac;
use crate::kernel::attribute::value;
use crate::kernel::objects::{Child, Link};
use crate::kernel::request::IpvlanMode;
use crate::kernel::transport::attributes;

/// The size of `struct ifinfomsg`.
const HEADER: usize = 16;
/// `ARPHRD_ETHER`
const ETHER: u16 = 1;
/// `IFF_UP`
const UP: u32 = 1 << 0;
/// `IFF_LOOPBACK`
const LOOPBACK: u32 = 1 << 3;

/// Attributes of a link (`IFLA_*`).
mod ifla {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const MASTER: u16 = 10;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const IFALIAS: u16 = 20;
    pub(super) const GROUP: u16 = 27;
    pub(super) const NUM_TX_QUEUES: u16 = 31;
    pub(super) const LINK_NETNSID: u16 = 37;
    pub(super) const PARENT_DEV_NAME: u16 = 56;
    pub(super) const PARENT_DEV_BUS_NAME: u16 = 57;
    /// Within `LINKINFO`.
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    /// The first of `INFO_DATA`, for a VLAN and for an IPVlan.
    pub(super) const VLAN_ID: u16 = 1;
    pub(super) const IPVLAN_MODE: u16 = 1;
}

pub(in crate::kernel) fn link(payload: &[u8]) -> Result<Link, DecodeError> {
    let Some((header, rest)) = payload.split_first_chunk::<HEADER>() else {
        return Err(
            format!("a link's message has {} bytes, its header alone has {HEADER}", payload.len()).into()
        );
    };
    let flags = u32_of(&header[8..]).unwrap_or_default();
    let mut link = Link {
        index: u32_of(&header[4..]).unwrap_or_default(),
        up: flags & UP != 0,
        loopback: flags & LOOPBACK != 0,
        ether: u16_of(&header[2..]) == Some(ETHER),
        ..Link::default()
    };
    let mut bus = String::new();
    for (kind, value) in attributes(rest) {
        match kind {
            ifla::IFNAME => link.name = text(value),
            ifla::ADDRESS => link.mac = mac(value),
            ifla::MTU => link.mtu = u32_of(value).unwrap_or_default(),
            ifla::IFALIAS => link.alias = Some(text(value)).filter(|alias| !alias.is_empty()),
            ifla::GROUP => link.group = u32_of(value).unwrap_or_default(),
            ifla::NUM_TX_QUEUES => link.tx_queues = u32_of(value).unwrap_or_default(),
            ifla::MASTER => link.master = u32_of(value),
            ifla::LINK => link.peer = u32_of(value),
            ifla::LINK_NETNSID => link.peer_netns_id = u32_of(value).map(u32::cast_signed),
            ifla::PARENT_DEV_NAME => link.pci = Some(text(value)),
            ifla::PARENT_DEV_BUS_NAME => bus = text(value),
            ifla::LINKINFO => information(&mut link, value),
            _ => {}
        }
    }
    if bus != "pci" {
        link.pci = None;
    }
    Ok(link)
}

fn information(link: &mut Link, nest: &[u8]) {
    link.kind = value(nest, ifla::INFO_KIND).map(text);
    let data = value(nest, ifla::INFO_DATA).unwrap_or_default();
    let number = |wanted| value(data, wanted).and_then(u16_of);
    link.child = match link.kind.as_deref() {
        Some("vlan") => number(ifla::VLAN_ID).map(Child::Vlan),
        Some("ipvlan") => number(ifla::IPVLAN_MODE).map(|mode| Child::Ipvlan(ipvlan_mode(mode))),
        _ => None,
    };
}

/// `IPVLAN_MODE_L3`, 1, is none we make.
fn ipvlan_mode(number: u16) -> Option<IpvlanMode> {
    match number {
        0 => Some(IpvlanMode::L2),
        2 => Some(IpvlanMode::L3s),
        _ => None,
    }
}

/// Up to the first NUL.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;
    use netlink_packet_route::link::{
        InfoData, InfoIpVlan, InfoKind, InfoVlan, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo,
        LinkLayerType, LinkMessage,
    };
    use terway_types::MacAddr;

    use super::*;

    /// What the library writes of these attributes, read by us.
    fn read(attributes: Vec<LinkAttribute>) -> Link {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags = LinkFlags::Up;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.attributes = attributes;
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        link(&bytes).unwrap()
    }

    fn with_info(info: Vec<LinkInfo>) -> Link {
        read(vec![LinkAttribute::LinkInfo(info)])
    }

    #[test]
    fn a_nic_has_what_the_kernel_told_of_it() {
        let seen = read(vec![
            LinkAttribute::IfName("eth1".into()),
            LinkAttribute::NumTxQueues(8),
            LinkAttribute::Group(9),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::Controller(3),
            LinkAttribute::Link(4),
            LinkAttribute::LinkNetNsId(-1),
            LinkAttribute::IfAlias("pod a".into()),
            LinkAttribute::ParentDevName("0000:00:05.0".into()),
            LinkAttribute::ParentDevBusName("pci".into()),
        ]);
        let expected = Link {
            index: 7,
            name: "eth1".into(),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            mtu: 1500,
            up: true,
            alias: Some("pod a".into()),
            master: Some(3),
            peer: Some(4),
            peer_netns_id: Some(-1),
            pci: Some("0000:00:05.0".into()),
            tx_queues: 8,
            group: 9,
            ether: true,
            ..Link::default()
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_place_on_another_bus_is_none_on_pci() {
        let seen = read(vec![
            LinkAttribute::ParentDevName("virtio3".into()),
            LinkAttribute::ParentDevBusName("virtio".into()),
        ]);
        assert_eq!(seen.pci, None);
    }

    #[test]
    fn children_say_how_they_are_children() {
        let vlan =
            vec![InfoVlan::Protocol(netlink_packet_route::link::VlanProtocol::Ieee8021Q), InfoVlan::Id(100)];
        let seen = with_info(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(InfoData::Vlan(vlan))]);
        assert_eq!((seen.kind.as_deref(), seen.child), (Some("vlan"), Some(Child::Vlan(100))));
        for (mode, expected) in [
            (IpVlanMode::L2, Some(IpvlanMode::L2)),
            (IpVlanMode::L3, None),
            (IpVlanMode::L3S, Some(IpvlanMode::L3s)),
        ] {
            let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]);
            let seen = with_info(vec![LinkInfo::Kind(InfoKind::IpVlan), LinkInfo::Data(data)]);
            assert_eq!((seen.kind.as_deref(), seen.child), (Some("ipvlan"), Some(Child::Ipvlan(expected))));
        }
        let seen = with_info(vec![LinkInfo::Kind(InfoKind::Veth)]);
        assert_eq!((seen.kind.as_deref(), seen.child), (Some("veth"), None));
    }

    #[test]
    fn a_message_that_was_cut_off_is_no_link() {
        let error = link(&[0; 15]).unwrap_err();
        assert!(error.to_string().contains("15 bytes"), "{error}");
        // An attribute that claims more than there is ends the list.
        let mut bytes = vec![0; HEADER];
        bytes.extend([40, 0, 3, 0, b'e']);
        assert_eq!(link(&bytes).unwrap().name, "");
    }
}
