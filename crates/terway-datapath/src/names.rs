//! How links are called and which MACs we give them: all derived, so that ADD, CHECK and DEL agree
//! without asking anybody.

use sha1::{Digest, Sha1};
use terway_types::{AttachmentKey, IfName, MacAddr, PodRef};

/// The pod's end of the host pair.
pub const POD_PEER: &str = "veth1";

/// What the names of host links start with unless `veth_prefix` says otherwise; Felix and other agents know pods'
/// links by it.
pub const HOST_LINK_PREFIX: &str = "cali";

/// So many digits follow in the name of a host link.
pub const HOST_LINK_DIGITS: usize = 11;

/// The name a pod's main interface has unless the runtime says otherwise.
const USUAL_IFNAME: &str = "eth0";

/// The host's end of the pair: `cali` and 11 hex digits of a SHA-1 over `<namespace>.<pod>`, followed by the
/// interface's name if it is not `eth0`. Felix computes the same. Without a pod: over `<container>.<ifname>`.
pub fn host_link(prefix: &str, key: &AttachmentKey, pod: &PodRef) -> String {
    let ifname = key.ifname.as_str();
    let text = if pod.is_empty() {
        format!("{}.{ifname}", key.container)
    } else {
        let suffix = if ifname == USUAL_IFNAME { "" } else { ifname };
        format!("{}.{}{suffix}", pod.namespace, pod.name)
    };
    format!("{prefix}{}", &sha1_hex(&text)[..HOST_LINK_DIGITS])
}

/// The name an ENI's netdev has while no pod has it.
pub fn nic_home(mac: MacAddr) -> String {
    format!("eni{}", mac.hex())
}

/// The pod's link that the ENI's incoming traffic passes when it is limited.
pub fn ingress_link(ifname: &IfName) -> String {
    let readable = format!("ifb-{ifname}");
    if readable.len() <= 15 { readable } else { format!("ifb{}", &sha1_hex(ifname.as_str())[..12]) }
}

/// What the names of children of ENIs begin with until they are in the pod.
const UNNAMED_CHILD: &str = "terway";

/// The name a child of an ENI is made with, in the pod's namespace. Not yet the one it shall have: kernels up to 6.12
/// look the name of a new link up in the namespace of the request, and so refuse `eth0` where the node has one.
pub(crate) fn unnamed_child(key: &AttachmentKey, name: &str) -> String {
    format!("{UNNAMED_CHILD}{}", &sha1_hex(&format!("{key} {name}"))[..9])
}

/// Whether a link has such a name.
pub(crate) fn is_unnamed_child(name: &str) -> bool {
    name.strip_prefix(UNNAMED_CHILD)
        .is_some_and(|rest| rest.len() == 9 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The group of links that were made for pods and bear an ENI's own MAC, as the pod's end of a pair does for eRDMA. By it
/// they are told from the ENI, whatever kinds count as one. Groups have no owners; the number is next to that of
/// [`crate::source_check::GROUP`].
pub const ENI_MAC_GROUP: u32 = 158;

/// Which of an attachment's own links a MAC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnLink {
    /// The host's end of the pair.
    HostEnd,
    /// The same of a pair whose other end bears the ENI's MAC for eRDMA: who sees the node's end alone can tell.
    ErdmaHostEnd,
    /// The pod's end of the pair.
    PodEnd,
    /// The link that incoming traffic passes when it is limited.
    Ingress,
}

/// A locally administered MAC for a link we create, the same for every run with the same key.
pub fn own_mac(key: &AttachmentKey, link: OwnLink) -> MacAddr {
    let digest = Sha1::digest(format!("{key} {link:?}").as_bytes());
    let mut bytes = [0; 6];
    bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    // IEEE 802: bit 1 of the first byte says "locally administered", bit 0 "group".
    bytes[0] = (bytes[0] | 0b10) & !0b1;
    MacAddr(bytes)
}

/// Whether the other end of a pair bears the ENI's MAC for eRDMA, by the MAC of the node's end; none if that is not ours.
pub fn is_for_erdma(host_end: Option<MacAddr>, key: &AttachmentKey) -> Option<bool> {
    let of = |link| host_end == Some(own_mac(key, link));
    if of(OwnLink::ErdmaHostEnd) { Some(true) } else { of(OwnLink::HostEnd).then_some(false) }
}

/// What a network is called in SMC-R's table unless the device is there already: as the existing implementation has it,
/// what follows the last `_` of the device's name. The kernel takes up to 16 letters and digits and makes them capitals
/// (`smc_pnetid_valid`); none where that is not what the name gives.
pub fn smc_network(device: &str) -> Option<String> {
    let text = device.rsplit('_').next()?.to_ascii_uppercase();
    let fits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then_some(text)
}

/// The SHA-1 of a text in 40 digits.
pub(crate) fn sha1_hex(text: &str) -> String {
    let digest = Sha1::digest(text.as_bytes());
    let halves = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use terway_types::{ContainerId, NetworkName};

    use super::*;

    fn key(ifname: &str) -> AttachmentKey {
        AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new("c0ffee").unwrap(),
            ifname: IfName::new(ifname).unwrap(),
        }
    }

    fn pod() -> PodRef {
        PodRef { namespace: "default".into(), name: "web".into(), uid: None }
    }

    #[test]
    fn host_links_are_named_as_felix_expects() {
        // printf default.web | sha1sum
        assert_eq!(host_link("cali", &key("eth0"), &pod()), "cali68caf03a5f4");
        assert_eq!(host_link("cali", &key("eth1"), &pod()), "cali2a38786bc9a");
        assert_eq!(host_link("cali", &key("eth0"), &PodRef::default()), "cali3e52eb8f9f8");
    }

    #[test]
    fn a_nic_at_home_is_named_by_its_mac() {
        assert_eq!(nic_home(MacAddr([0, 0x16, 0x3e, 1, 2, 0xff])), "eni00163e0102ff");
    }

    #[test]
    fn ingress_links_fit_the_kernel() {
        assert_eq!(ingress_link(&IfName::new("eth0").unwrap()), "ifb-eth0");
        assert_eq!(ingress_link(&IfName::new("fifteen-bytes-x").unwrap()).len(), 15);
    }

    #[test]
    fn a_device_names_its_network() {
        for (device, network) in [
            ("erdma_0", Some("0")),
            ("erdma_10", Some("10")),
            ("rxe_eth1", Some("ETH1")),
            ("mlx5", Some("MLX5")),
            ("erdma_", None),
            ("a.b", None),
            ("seventeen-or-more-1", None),
        ] {
            assert_eq!(smc_network(device).as_deref(), network, "{device}");
        }
    }

    #[test]
    fn own_macs_are_local_unicast_and_distinct() {
        let macs = [OwnLink::HostEnd, OwnLink::ErdmaHostEnd, OwnLink::PodEnd, OwnLink::Ingress]
            .map(|link| own_mac(&key("eth0"), link));
        for (at, mac) in macs.iter().enumerate() {
            assert!(mac.is_unicast() && mac.0[0] & 0b10 != 0, "{mac}");
            assert!(!macs[..at].contains(mac));
        }
        assert_ne!(own_mac(&key("eth0"), OwnLink::PodEnd), own_mac(&key("eth1"), OwnLink::PodEnd));
        let told = |link| is_for_erdma(Some(own_mac(&key("eth0"), link)), &key("eth0"));
        assert_eq!(
            [OwnLink::ErdmaHostEnd, OwnLink::HostEnd, OwnLink::PodEnd].map(told),
            [Some(true), Some(false), None]
        );
    }
}
