//! Traffic control: token buckets, and the way over an ifb.

use libtest_mimic::Trial;
use serde_json::json;
use terway_datapath::kernel::{Netlink, NewLink, Qdisc, Request, Tbf};

use crate::bench::{connect, first, index, json, netns, receive, socket, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_token_bucket_is_what_tc_shows_and_is_read_back", tbf),
        trial("a_redirect_sends_what_arrives_over_the_ifb", redirect),
    ]
}

fn tbf() {
    let (host, other) = (netns(), netns());
    connect((&host, "eth0", &[]), (&other, "port0", &[]));
    let eth0 = index(&host, "eth0");
    let mut netlink = Netlink::open(&host).unwrap();
    for (rate, burst) in
        [(125_000, 3000), (1_250_000, 10_240), (125_000_000, 125_000), (10_000_000_000, 10_000_000)]
    {
        let wanted = Tbf::with_latency(rate, burst, 25);
        netlink.transact(&[Request::replace_tbf(eth0, &wanted)]).unwrap();
        let shown = first(&host, "tc -j qdisc show dev eth0 root");
        assert_eq!((&shown["kind"], &shown["handle"]), (&json!("tbf"), &json!("1:")));
        assert_eq!(shown["options"]["rate"], rate, "{shown}");
        let shown_burst = shown["options"]["burst"].as_u64().unwrap();
        assert!(shown_burst.abs_diff(u64::from(burst)) <= u64::from(burst) / 50 + 2, "{burst}: {shown}");
        let read = netlink.qdiscs(eth0).unwrap();
        let root = read.iter().find(|qdisc| qdisc.is_root()).unwrap();
        assert_eq!((root.kind.as_str(), root.handle), ("tbf", 0x0001_0000));
        assert!(root.tbf.unwrap().is_like(&wanted), "{wanted:?} {root:?}");
    }
    netlink.transact(&[Request::delete_root_qdisc(eth0)]).unwrap();
    assert_ne!(first(&host, "tc -j qdisc show dev eth0 root")["kind"], "tbf");
    assert!(netlink.transact(&[Request::delete_root_qdisc(eth0)]).unwrap_err().is_absent());
}

fn redirect() {
    let (host, other) = (netns(), netns());
    connect((&host, "eth0", &["10.0.0.1/24"]), (&other, "port0", &["10.0.0.2/24"]));
    let mut netlink = Netlink::open(&host).unwrap();
    netlink.transact(&[Request::add_ifb(&NewLink { name: "ifb0", up: true, ..NewLink::default() })]).unwrap();
    let (eth0, ifb) = (index(&host, "eth0"), index(&host, "ifb0"));
    assert_eq!(netlink.ingress_redirect(eth0).unwrap(), None);
    let limit = Tbf::with_latency(12_500_000, 20_000, 25);
    let batch =
        [Request::add_clsact(eth0), Request::redirect_ingress(eth0, ifb), Request::replace_tbf(ifb, &limit)];
    netlink.transact(&batch).unwrap();
    let shown = json(&host, "tc -j filter show dev eth0 ingress").to_string();
    assert!(
        shown.contains(r#""mirred_action":"redirect""#) && shown.contains(r#""to_dev":"ifb0""#),
        "{shown}"
    );
    assert_eq!(netlink.ingress_redirect(eth0).unwrap(), Some(ifb));
    assert!(netlink.qdiscs(eth0).unwrap().iter().any(|qdisc| qdisc.parent == Qdisc::CLSACT));

    let (inside, outside) = (socket(&host, "10.0.0.1"), socket(&other, "10.0.0.2"));
    outside.send_to(b"over the ifb", inside.local_addr().unwrap()).unwrap();
    assert_eq!(receive(&inside).0, "over the ifb");
    let counted = first(&host, "ip -j -s link show dev ifb0")["stats64"]["tx"]["packets"].as_u64().unwrap();
    assert!(counted > 0, "nothing passed the ifb");

    netlink.transact(&[Request::delete_clsact(eth0)]).unwrap();
    assert_eq!(netlink.ingress_redirect(eth0).unwrap(), None);
    assert!(netlink.transact(&[Request::delete_clsact(eth0)]).unwrap_err().is_absent());
}
