//! What `nft` 1.0.6 sends for the same commands, as `strace -e trace=sendmsg -e write=all nft ...` shows it: the
//! body of the message, after the netlink header (whose flags differ: we ask for an answer to each).

mod maps;

use super::*;
use terway_types::IpFamily;

fn body(batch: &Batch) -> String {
    assert_eq!(batch.commands.len(), 1);
    batch.commands[0].frame.0[16..].iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn postrouting(family: Family) -> Chain {
    let base =
        Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: priority::SRCNAT, policy: Policy::Accept };
    Chain::base(&Table::new(family, "terway"), "postrouting", base)
}

mod commands {
    use super::*;

    /// `nft add table ip terway`
    #[test]
    fn a_table() {
        let batch = Batch::new().add_table(&Table::new(Family::Ip, "terway"));
        let golden = "020000000b00010074657277617900000800020000000000";
        assert_eq!(body(&batch), golden);
    }

    /// `nft delete table ip terway`
    #[test]
    fn deleting_a_table() {
        let batch = Batch::new().delete_table(&Table::new(Family::Ip, "terway"), Deletion::Whole);
        let golden = "020000000b0001007465727761790000";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add chain ip terway postrouting { type nat hook postrouting priority srcnat; policy accept; }`
    #[test]
    fn a_nat_chain() {
        let batch = Batch::new().add_chain(&postrouting(Family::Ip));
        let golden = "020000000b000100746572776179000010000300706f7374726f7574696e6700080007006e6174000800050000000001\
         1400048008000100000000040800020000000064";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add chain netdev ports lo { type filter hook ingress device lo priority filter; policy drop; }`
    #[test]
    fn an_ingress_chain() {
        let batch = {
            let hook = Hook::Ingress { device: "lo".into() };
            let base = Base { kind: Kind::Filter, hook, priority: priority::FILTER, policy: Policy::Drop };
            Batch::new().add_chain(&Chain::base(&Table::new(Family::Netdev, "ports"), "lo", base))
        };
        let golden = "050000000a000100706f727473000000070003006c6f00000b00070066696c746572000008000500000000001c000480\
         08000100000000000800020000000000070003006c6f0000";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add rule ip terway postrouting ip saddr 10.0.0.2 snat to 10.0.1.9 comment "terway:k8s/0a1b/eth0"`
    #[test]
    fn source_nat_with_a_comment() {
        let batch = {
            let rule =
                RuleBody::new().saddr("10.0.0.2/32".parse().unwrap()).snat_to("10.0.1.9".parse().unwrap());
            let comment = Comment::new("terway:k8s/0a1b/eth0").unwrap();
            Batch::new().add_rule(&postrouting(Family::Ip), &rule, Some(&comment))
        };
        let golden = "020000000b000100746572776179000010000200706f7374726f7574696e6700b8000480340001800c0001007061796c\
         6f6164002400028008000100000000010800020000000001080003000000000c08000400000000042c00018008000100\
         636d700020000280080001000000000108000200000000000c000380080001000a0000022c0001800e000100696d6d65\
         64696174650000001800028008000100000000010c000280080001000a00010928000180080001006e6174001c000280\
         0800010000000000080002000000000208000300000000011b00070000157465727761793a6b38732f306131622f6574\
         68300000";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add rule ip terway postrouting ip daddr 10.0.0.2 ip saddr != 10.0.1.9 snat to 10.0.1.9`
    #[test]
    fn source_nat_of_what_comes_in() {
        let batch = {
            let rule = RuleBody::new()
                .daddr("10.0.0.2/32".parse().unwrap())
                .not_saddr("10.0.1.9/32".parse().unwrap())
                .snat_to("10.0.1.9".parse().unwrap());
            Batch::new().add_rule(&postrouting(Family::Ip), &rule, None)
        };
        let golden = "020000000b000100746572776179000010000200706f7374726f7574696e670018010480340001800c0001007061796c\
         6f6164002400028008000100000000010800020000000001080003000000001008000400000000042c00018008000100\
         636d700020000280080001000000000108000200000000000c000380080001000a000002340001800c0001007061796c\
         6f6164002400028008000100000000010800020000000001080003000000000c08000400000000042c00018008000100\
         636d700020000280080001000000000108000200000000010c000380080001000a0001092c0001800e000100696d6d65\
         64696174650000001800028008000100000000010c000280080001000a00010928000180080001006e6174001c000280\
         080001000000000008000200000000020800030000000001";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add rule ip6 terway postrouting ip6 saddr fd00::2 snat to fd00::9`
    #[test]
    fn source_nat_of_ipv6() {
        let batch = {
            let rule =
                RuleBody::new().saddr("fd00::2/128".parse().unwrap()).snat_to("fd00::9".parse().unwrap());
            Batch::new().add_rule(&postrouting(Family::Ip6), &rule, None)
        };
        let golden = "0a0000000b000100746572776179000010000200706f7374726f7574696e6700d0000480340001800c0001007061796c\
         6f6164002400028008000100000000010800020000000001080003000000000808000400000000103800018008000100\
         636d70002c000280080001000000000108000200000000001800038014000100fd000000000000000000000000000002\
         380001800e000100696d6d6564696174650000002400028008000100000000011800028014000100fd00000000000000\
         000000000000000928000180080001006e6174001c0002800800010000000000080002000000000a0800030000000001";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add rule ip6 terway_sources prerouting iifgroup 157 ip6 saddr != fe80::/10 fib saddr . iif oif 0 drop`
    #[test]
    fn sources_without_a_way_back() {
        let batch = {
            let hook = Hook::Prerouting;
            let base = Base { kind: Kind::Filter, hook, priority: priority::RAW, policy: Policy::Accept };
            let chain = Chain::base(&Table::new(Family::Ip6, "terway_sources"), "prerouting", base);
            let rule =
                RuleBody::new().iifgroup(157).not_saddr("fe80::/10".parse().unwrap()).has_no_way_back();
            Batch::new().add_rule(&chain, &rule.drop(), None)
        };
        let golden = "0a000000130001007465727761795f736f757263657300000f000200707265726f7574696e670000a001048024000180\
         090001006d6574610000000014000280080002000000001508000100000000012c00018008000100636d700020000280\
         080001000000000108000200000000000c000380080001009d000000340001800c0001007061796c6f61640024000280\
         08000100000000010800020000000001080003000000000808000400000000105c0001800c0001006269747769736500\
         4c0002800800010000000001080002000000000108000300000000101800048014000100ffc000000000000000000000\
         000000001800058014000100000000000000000000000000000000003800018008000100636d70002c00028008000100\
         0000000108000200000000011800038014000100fe800000000000000000000000000000280001800800010066696200\
         1c0002800800030000000009080002000000000108000100000000012c00018008000100636d70002000028008000100\
         0000000108000200000000000c0003800800010000000000300001800e000100696d6d6564696174650000001c000280\
         0800010000000000100002800c0002800800010000000000";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add rule ip terway postrouting ip saddr 172.16.0.0/12 oifname "eth0" counter masquerade`
    #[test]
    fn a_prefix_a_link_a_counter_and_masquerade() {
        let batch = {
            let rule = RuleBody::new()
                .saddr("172.16.0.0/12".parse().unwrap())
                .oifname("eth0")
                .counter()
                .masquerade();
            Batch::new().add_rule(&postrouting(Family::Ip), &rule, None)
        };
        let golden = "020000000b000100746572776179000010000200706f7374726f7574696e67002c010480340001800c0001007061796c\
         6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004440001800c000100\
         6269747769736500340002800800010000000001080002000000000108000300000000040c00048008000100fff00000\
         0c00058008000100000000002c00018008000100636d700020000280080001000000000108000200000000000c000380\
         08000100ac10000024000180090001006d65746100000000140002800800020000000007080001000000000138000180\
         08000100636d70002c000280080001000000000108000200000000001800038014000100657468300000000000000000\
         00000000140001800c000100636f756e746572000400028014000180090001006d6173710000000004000280";
        assert_eq!(body(&batch), golden);
    }

    /// `nft add rule inet t pre meta nfproto ipv4 ip daddr 10.9.9.9 meta l4proto tcp tcp dport 80 dnat ip to 10.0.0.2:8080`
    #[test]
    fn destination_nat_with_a_port() {
        let batch = {
            let base = Base {
                kind: Kind::Nat,
                hook: Hook::Prerouting,
                priority: priority::DSTNAT,
                policy: Policy::Accept,
            };
            let rule = RuleBody::new()
                .nfproto(IpFamily::V4)
                .daddr("10.9.9.9/32".parse().unwrap())
                .l4proto(6)
                .dport(80)
                .dnat_to("10.0.0.2".parse().unwrap(), Some(8080));
            Batch::new().add_rule(&Chain::base(&Table::new(Family::Inet, "t"), "pre", base), &rule, None)
        };
        let golden = "0100000006000100740000000800020070726500f401048024000180090001006d657461000000001400028008000200\
         0000000f08000100000000012c00018008000100636d700020000280080001000000000108000200000000000c000380\
         0500010002000000340001800c0001007061796c6f616400240002800800010000000001080002000000000108000300\
         0000001008000400000000042c00018008000100636d700020000280080001000000000108000200000000000c000380\
         080001000a09090924000180090001006d6574610000000014000280080002000000001008000100000000012c000180\
         08000100636d700020000280080001000000000108000200000000000c0003800500010006000000340001800c000100\
         7061796c6f6164002400028008000100000000010800020000000002080003000000000208000400000000022c000180\
         08000100636d700020000280080001000000000108000200000000000c00038006000100005000002c0001800e000100\
         696d6d6564696174650000001800028008000100000000010c000280080001000a0000022c0001800e000100696d6d65\
         64696174650000001800028008000100000000020c000280060001001f90000038000180080001006e6174002c000280\
         08000100000000010800020000000002080003000000000108000500000000020800070000000002";
        assert_eq!(body(&batch), golden);
    }
}
