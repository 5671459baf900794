//! What `tc` of iproute2 6.1.0 sends for the same commands, as `strace -e trace=sendmsg -e write=all tc ...` shows it:
//! the body of the message, after the netlink header. `p0` has index 6 and `p1` index 5.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// The same bytes, and read back the same filter.
fn is(filter: &Filter, golden: &str) {
    let message = filter.encode(6);
    assert_eq!(hex(&message), golden);
    let read = Filter::decode(&message, 6, filter.hook).unwrap();
    assert_eq!((&read.filter, read.handle), (filter, 0));
    assert_eq!(Filter::decode(&message, 7, filter.hook), None, "another link's");
}

fn to_the_host(priority: u16, cidr: &str) -> Filter {
    let actions = vec![Action::UnsetTunnel, Action::ForThisHost, Action::ReceiveBy(5)];
    Filter { hook: Hook::Egress, priority, matches: Match::To(cidr.parse().unwrap()), actions }
}

/// `tc filter add dev p0 ingress prio 20000 protocol 802.1q u32 match u32 0 0 action vlan pop reclassify`
#[test]
fn the_tag_comes_off_what_arrives() {
    let golden = "000000000600000000000000f2ffffff8100204e08000100753332005c000200340007003000010009000100766c616e\
         00000000200002801c000200000000000000000001000000000000000000000001000000240005000100010000000000\
         000000000000000000000000000000000000000000000000";
    is(
        &Filter {
            hook: Hook::Ingress,
            priority: 20000,
            matches: Match::Tagged,
            actions: vec![Action::PopVlan],
        },
        golden,
    );
}

/// `tc filter add dev p0 egress prio 50001 protocol ip u32 match ip src 10.0.1.5/32 action vlan push id 7`
#[test]
fn a_tag_by_ipv4_source() {
    let golden = "000000000600000000000000f3ffffff080051c30800010075333200640002003c0007003800010009000100766c616e\
         00000000280002801c000200000000000000000003000000000000000000000002000000060003000700000024000500\
         01000100000000000000000000000000ffffffff0a0001050c00000000000000";
    is(
        &Filter {
            hook: Hook::Egress,
            priority: 50001,
            matches: Match::From("10.0.1.5/32".parse().unwrap()),
            actions: vec![Action::PushVlan(7)],
        },
        golden,
    );
}

/// `tc filter add dev p0 egress prio 50002 protocol ipv6 u32 match ip6 src fd00:1::5/128 action vlan push id 7`
#[test]
fn a_tag_by_ipv6_source() {
    let golden = "000000000600000000000000f3ffffff86dd52c30800010075333200940002003c0007003800010009000100766c616e\
         00000000280002801c000200000000000000000003000000000000000000000002000000060003000700000054000500\
         01000400000000000000000000000000fffffffffd0000010800000000000000ffffffff000000000c00000000000000\
         ffffffff000000001000000000000000ffffffff000000051400000000000000";
    is(
        &Filter {
            hook: Hook::Egress,
            priority: 50002,
            matches: Match::From("fd00:1::5/128".parse().unwrap()),
            actions: vec![Action::PushVlan(7)],
        },
        golden,
    );
}

/// `tc filter add dev p0 egress prio 40000 protocol ip u32 match ip dst 172.16.0.0/16 action tunnel_key unset pipe action skbedit ptype host pipe action mirred ingress redirect dev p1`
#[test]
fn an_ipv4_destination_to_the_hosts_stack() {
    let golden = "000000000600000000000000f3ffffff0800409c0800010075333200d0000200a80007003c0001000f00010074756e6e\
         656c5f6b657900002800028005000a00000000001c000200000000000000000003000000000000000000000002000000\
         340002000c000100736b6265646974002400028018000200000000000000000003000000000000000000000006000700\
         00000000340003000b0001006d6972726564000024000280200002000000000000000000040000000000000000000000\
         03000000050000002400050001000100000000000000000000000000ffff0000ac1000001000000000000000";
    is(&to_the_host(40000, "172.16.0.0/16"), golden);
}

/// `tc filter add dev p0 egress prio 40001 protocol ipv6 u32 match ip6 dst fd00:172::/112 action tunnel_key unset pipe action skbedit ptype host pipe action mirred ingress redirect dev p1`
#[test]
fn an_ipv6_destination_to_the_hosts_stack() {
    let golden = "000000000600000000000000f3ffffff86dd419c080001007533320000010200a80007003c0001000f00010074756e6e\
         656c5f6b657900002800028005000a00000000001c000200000000000000000003000000000000000000000002000000\
         340002000c000100736b6265646974002400028018000200000000000000000003000000000000000000000006000700\
         00000000340003000b0001006d6972726564000024000280200002000000000000000000040000000000000000000000\
         03000000050000005400050001000400000000000000000000000000fffffffffd0001721800000000000000ffffffff\
         000000001c00000000000000ffffffff000000002000000000000000ffff0000000000002400000000000000";
    is(&to_the_host(40001, "fd00:172::/112"), golden);
}

/// A class of the qdisc 7003: for what has this source, where packets wait.
fn class(priority: u16, matches: Match, minor: u32, golden: &str) {
    let (qdisc, actions) = (0x7003_0000, vec![Action::ToClass(0x7003_0000 | minor)]);
    let filter = Filter { hook: Hook::Wait(qdisc), priority, matches, actions };
    let message = filter.encode(3);
    assert_eq!(hex(&message), golden);
    assert_eq!(Filter::decode(&message, 3, filter.hook).unwrap().filter, filter);
}

/// `tc filter add dev q1 parent 7003: prio 1 protocol ip u32 match ip src 10.0.1.5/32 flowid 7003:1`, `q1` with index 3
#[test]
fn a_class_by_ipv4_source() {
    let golden = "000000000300000000000000000003700800010008000100753332003000020008000100010003702400050001000100\
                  000000000000000000000000ffffffff0a0001050c00000000000000";
    class(1, Match::From("10.0.1.5/32".parse().unwrap()), 1, golden);
}

/// `tc filter add dev q1 parent 7003: prio 2 protocol ipv6 u32 match ip6 src fd00:1::5/128 flowid 7003:3`
#[test]
fn a_class_by_ipv6_source() {
    let golden = "0000000003000000000000000000037086dd020008000100753332006000020008000100030003705400050001000400\
                  000000000000000000000000fffffffffd0000010800000000000000ffffffff000000000c00000000000000ffffffff\
                  000000001000000000000000ffffffff000000051400000000000000";
    class(2, Match::From("fd00:1::5/128".parse().unwrap()), 3, golden);
}

/// `tc filter add dev q1 parent 7003: prio 3 protocol 802.1q u32 match u32 0x40000000 0xf0000000 at 0 match ip src
/// 10.0.1.5/32 flowid 7003:2`
#[test]
fn a_class_by_ipv4_source_behind_a_tag() {
    let golden = "000000000300000000000000000003708100030008000100753332004000020008000100020003703400050001000200\
                  000000000000000000000000f0000000400000000000000000000000ffffffff0a0001050c00000000000000";
    class(3, Match::TaggedFrom("10.0.1.5/32".parse().unwrap()), 2, golden);
}

/// The same with `match u32 0x60000000 0xf0000000 at 0 match ip6 src fd00:1::5/128`
#[test]
fn a_class_by_ipv6_source_behind_a_tag() {
    let golden = "000000000300000000000000000003708100030008000100753332007000020008000100020003706400050001000500\
                  000000000000000000000000f0000000600000000000000000000000fffffffffd0000010800000000000000ffffffff\
                  000000000c00000000000000ffffffff000000001000000000000000ffffffff000000051400000000000000";
    class(3, Match::TaggedFrom("fd00:1::5/128".parse().unwrap()), 2, golden);
}

#[test]
fn filters_of_others_are_not_read() {
    let mut message = to_the_host(40000, "172.16.0.0/16").encode(6);
    let at = message.windows(10).position(|word| word == b"tunnel_key").unwrap();
    message[at..at + 10].copy_from_slice(b"other_keys");
    assert_eq!(Filter::decode(&message, 6, Hook::Egress), None);
}

#[test]
fn prefixes_of_any_length_are_read_back() {
    for prefix in
        ["10.0.0.0/8", "10.128.0.0/9", "0.0.0.0/1", "fd00::/8", "fd00:1::/64", "fd00:1:2:3:8000::/65"]
    {
        for matches in [Match::From(prefix.parse().unwrap()), Match::To(prefix.parse().unwrap())] {
            let filter =
                Filter { hook: Hook::Ingress, priority: 1, matches, actions: vec![Action::SendBy(9)] };
            assert_eq!(Filter::decode(&filter.encode(3), 3, Hook::Ingress).unwrap().filter, filter);
        }
    }
}
