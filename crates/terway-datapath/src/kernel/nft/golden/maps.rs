//! What `nft` 1.0.6 sends about maps; see the file above.

use super::*;

/// `nft add map ip terway pods { type ipv4_addr : ipv4_addr; }`
#[test]
fn a_map() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip, "terway"), "pods");
        Batch::new().add_map(&map)
    };
    let golden = "020000000b000100746572776179000009000200706f6473000000000800030000000008080004000000000708000500\
     000000040800060000000007080007000000000408000a000000000116000d0000040200000001040200000006040000\
     00000000";
    assert_eq!(body(&batch), golden);
}

/// `nft add map ip6 terway pods { type ipv6_addr : ipv6_addr; }`
#[test]
fn a_map_of_ipv6() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip6, "terway"), "pods");
        Batch::new().add_map(&map)
    };
    let golden = "0a0000000b000100746572776179000009000200706f6473000000000800030000000008080004000000000808000500\
     000000100800060000000008080007000000001008000a000000000116000d0000040200000001040200000006040000\
     00000000";
    assert_eq!(body(&batch), golden);
}

/// `nft delete map ip terway pods`
#[test]
fn deleting_a_map() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip, "terway"), "pods");
        Batch::new().delete_map(&map, Deletion::Whole)
    };
    let golden = "020000000b000100746572776179000009000200706f647300000000";
    assert_eq!(body(&batch), golden);
}

/// `nft add element ip terway pods { 10.0.0.2 comment "terway:k8s/0a1b/eth0" : 10.0.1.9 }`, less the number that it gives the map
#[test]
fn an_element() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip, "terway"), "pods");
        let comment = Comment::new("terway:k8s/0a1b/eth0").ok();
        let element =
            Element { key: "10.0.0.2".parse().unwrap(), value: "10.0.1.9".parse().unwrap(), comment };
        Batch::new().add_element(&map, &element)
    };
    let golden = "020000000b000100746572776179000009000200706f6473000000003c000380380001800c000180080001000a000002\
     0c000280080001000a0001091b00060000157465727761793a6b38732f306131622f657468300000";
    assert_eq!(body(&batch), golden);
}

/// `nft add element ip6 terway pods { fd00::2 comment "terway:k8s/0a1b/eth0" : fd00::9 }`, less the number that it gives the map
#[test]
fn an_element_of_ipv6() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip6, "terway"), "pods");
        let comment = Comment::new("terway:k8s/0a1b/eth0").ok();
        let element = Element { key: "fd00::2".parse().unwrap(), value: "fd00::9".parse().unwrap(), comment };
        Batch::new().add_element(&map, &element)
    };
    let golden = "0a0000000b000100746572776179000009000200706f64730000000054000380500001801800018014000100fd000000\
     0000000000000000000000021800028014000100fd0000000000000000000000000000091b0006000015746572776179\
     3a6b38732f306131622f657468300000";
    assert_eq!(body(&batch), golden);
}

/// `nft delete element ip terway pods { 10.0.0.2 }`, less the number that it gives the map
#[test]
fn deleting_an_element() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip, "terway"), "pods");
        Batch::new().delete_element(&map, "10.0.0.2".parse().unwrap())
    };
    let golden =
        "020000000b000100746572776179000009000200706f64730000000014000380100001800c000180080001000a000002";
    assert_eq!(body(&batch), golden);
}

/// `nft add rule ip terway postrouting snat to ip saddr map @pods`, less the number that it gives the map
#[test]
fn source_nat_by_a_map() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip, "terway"), "pods");
        Batch::new().add_rule(&postrouting(Family::Ip), &RuleBody::new().snat_by_saddr(&map), None)
    };
    let golden = "020000000b000100746572776179000010000200706f7374726f7574696e670090000480340001800c0001007061796c\
     6f6164002400028008000100000000010800020000000001080003000000000c0800040000000004300001800b000100\
     6c6f6f6b75700000200002800800020000000001080003000000000109000100706f6473000000002800018008000100\
     6e6174001c000280080001000000000008000200000000020800030000000001";
    assert_eq!(body(&batch), golden);
}

/// `nft add rule ip6 terway postrouting snat to ip6 daddr map @pods`, less the number that it gives the map
#[test]
fn source_nat_by_a_map_of_ipv6() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip6, "terway"), "pods");
        Batch::new().add_rule(&postrouting(Family::Ip6), &RuleBody::new().snat_by_daddr(&map), None)
    };
    let golden = "0a0000000b000100746572776179000010000200706f7374726f7574696e670090000480340001800c0001007061796c\
     6f616400240002800800010000000001080002000000000108000300000000180800040000000010300001800b000100\
     6c6f6f6b75700000200002800800020000000001080003000000000109000100706f6473000000002800018008000100\
     6e6174001c0002800800010000000000080002000000000a0800030000000001";
    assert_eq!(body(&batch), golden);
}

/// `nft add rule ip terway postrouting ct status dnat oifname != lo snat to ip saddr map @pods`, less the number that it gives the map
#[test]
fn source_nat_of_what_goes_to_services() {
    let batch = {
        let map = Map::new(&Table::new(Family::Ip, "terway"), "pods");
        let rule = RuleBody::new().to_translated().not_oifname("lo").snat_by_saddr(&map);
        Batch::new().add_rule(&postrouting(Family::Ip), &rule, None)
    };
    let golden = "020000000b000100746572776179000010000200706f7374726f7574696e67007c010480200001800700010063740000\
     1400028008000200000000020800010000000001440001800c0001006269747769736500340002800800010000000001\
     080002000000000108000300000000040c00048008000100200000000c00058008000100000000002c00018008000100\
     636d700020000280080001000000000108000200000000010c000380080001000000000024000180090001006d657461\
     0000000014000280080002000000000708000100000000013800018008000100636d70002c0002800800010000000001\
     080002000000000118000380140001006c6f0000000000000000000000000000340001800c0001007061796c6f616400\
     2400028008000100000000010800020000000001080003000000000c0800040000000004300001800b0001006c6f6f6b\
     75700000200002800800020000000001080003000000000109000100706f64730000000028000180080001006e617400\
     1c000280080001000000000008000200000000020800030000000001";
    assert_eq!(body(&batch), golden);
}
