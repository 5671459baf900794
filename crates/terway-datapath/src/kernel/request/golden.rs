//! What `ip` and `tc` of iproute2 6.1.0 send for the same commands, as `strace -e trace=sendmsg -e write=all ip ...`
//! shows it: the attributes of the message, each one's bytes. We send them in another order, and leave out what says
//! the default. `p0` has index 6 and `p1` index 5.

use terway_types::MacAddr;

use super::*;
use crate::kernel::transport::attributes;

const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

/// Kind, kind inside, value.
type Attribute = (u16, u16, Vec<u8>);

/// Header and attributes of a message, in the order of their kinds. A link's kind is told with its last NUL or
/// without.
fn parts(body: &[u8], header: usize) -> (Vec<u8>, Vec<Attribute>) {
    let (head, rest) = body.split_at(header);
    let mut parts = Vec::new();
    for (kind, value) in attributes(rest) {
        if kind != IFLA_LINKINFO {
            parts.push((kind, 0, value.to_owned()));
            continue;
        }
        for (inner, value) in attributes(value) {
            let value =
                if inner == IFLA_INFO_KIND { value.strip_suffix(&[0]).unwrap_or(value) } else { value };
            parts.push((kind, inner, value.to_owned()));
        }
    }
    parts.sort();
    (head.to_owned(), parts)
}

fn same(request: &Request, header: usize, golden: &str) {
    let bytes = (0..golden.len()).step_by(2).map(|at| u8::from_str_radix(&golden[at..at + 2], 16).unwrap());
    assert_eq!(parts(&request.frame.0[16..], header), parts(&bytes.collect::<Vec<_>>(), header));
}

/// The lengths of `struct ifinfomsg` and `struct tcmsg`.
const LINK: usize = 16;
const TC: usize = 20;

/// `ip link add link p0 name pod0 type vlan id 7`
#[test]
fn a_vlan() {
    let golden = "00000000000000000000000000000000080005000600000009000300706f6430000000001800120008000100766c616e\
                  0c0002000600010007000000";
    same(&Request::add_vlan(&NewLink { name: "pod0", ..NewLink::default() }, 6, 7), LINK, golden);
}

/// `ip link add link p0 name pod0 address 02:00:00:00:00:01 mtu 1500 type vlan id 4094`
#[test]
fn a_vlan_with_mac_and_mtu() {
    let golden = "000000000000000000000000000000000a000100020000000001000008000400dc050000080005000600000009000300\
                  706f6430000000001800120008000100766c616e0c00020006000100fe0f0000";
    let link = NewLink {
        name: "pod0",
        mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        mtu: Some(1500),
        ..NewLink::default()
    };
    same(&Request::add_vlan(&link, 6, 4094), LINK, golden);
}

/// `ip link add link p0 name ipvl mtu 1500 type ipvlan mode l2 bridge`
#[test]
fn an_ipvlan() {
    let golden = "0000000000000000000000000000000008000400dc0500000800050006000000090003006970766c00000000240012000a\
                  0001006970766c616e00001400020006000100000000000600020000000000";
    let link = NewLink { name: "ipvl", mtu: Some(1500), ..NewLink::default() };
    same(&Request::add_ipvlan(&link, 6, IpvlanMode::L2), LINK, golden);
}

/// `ip link add link p0 name ipvl type ipvlan mode l3s bridge`
#[test]
fn an_ipvlan_that_is_routed() {
    let golden = "00000000000000000000000000000000080005000600000009000300697076\
                  6c00000000240012000a0001006970766c616e00001400020006000100020000000600020000000000";
    let link = NewLink { name: "ipvl", ..NewLink::default() };
    same(&Request::add_ipvlan(&link, 6, IpvlanMode::L3s), LINK, golden);
}

/// `tc qdisc replace dev p1 root handle 1: fq`
#[test]
fn fair_queueing() {
    let golden = "000000000500000000000100ffffffff00000000070001006671000004000200";
    same(&Request::replace_fq(5), TC, golden);
}

/// `tc qdisc replace dev q1 root handle 1: mq`, `q1` with index 3
#[test]
fn a_class_for_each_queue() {
    let golden = "000000000300000000000100ffffffff00000000070001006d710000";
    same(&Request::replace_mq(3, 1 << 16), TC, golden);
}

/// `tc qdisc replace dev q1 parent 1:3 handle 7003: prio`
#[test]
fn three_classes_in_a_queue() {
    let golden = "00000000030000000000037003000100000000000900010070\
                  72696f000000001c000200030000000102020201020000010101010101010104000200";
    same(&Request::replace_prio(3, 0x1_0003, 0x7003_0000), TC, golden);
}

/// `tc qdisc replace dev q1 parent 7003:2 fq`
#[test]
fn fair_queueing_in_a_class() {
    let golden = "0000000003000000000000000200037000000000070001006671000004000200";
    same(&Request::replace_fq_at(3, 0x7003_0002), TC, golden);
}

/// `ip link add link p0 name mac0 address 02:00:00:00:00:01 mtu 1500 type macvlan mode bridge`, `p0` with index 2
#[test]
fn a_macvlan() {
    let golden = "000000000000000000000000000000000a000100020000000001000008000400dc050000080005000200000009000300\
                  6d616330000000001c0012000b0001006d6163766c616e000c0002000800010004000000";
    let link = NewLink {
        name: "mac0",
        mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        mtu: Some(1500),
        ..NewLink::default()
    };
    same(&Request::add_macvlan(&link, 2), LINK, golden);
}
