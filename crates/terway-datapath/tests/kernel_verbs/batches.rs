//! Batches: each request's own verdict, the kernel's explanation, dumps under concurrent change.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use ipnetwork::IpNetwork;
use libtest_mimic::Trial;
use terway_datapath::kernel::{LinkChange, Netlink, Request, Route};
use terway_types::IpFamily;
use terway_types::fault::chain;

use crate::bench::{index, netns, set_up, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("each_request_of_a_batch_gets_its_own_verdict", verdicts),
        trial("a_batch_larger_than_one_send_is_done_whole", large),
        trial("a_dump_is_whole_while_others_change_things", disturbed),
    ]
}

fn verdicts() {
    let host = netns();
    set_up(&host, "lo");
    let lo = index(&host, "lo");
    let mut netlink = Netlink::open(&host).unwrap();
    let route = Route::default_of(IpFamily::V4).via("192.0.2.1".parse().unwrap()).dev(lo);
    let named = LinkChange { alias: Some("done"), ..LinkChange::default() };
    let batch = [
        Request::add_address(lo, "10.0.0.1/32".parse().unwrap()),
        Request::add_route(&route).described("route everything by 192.0.2.1"),
        Request::delete_link(9999),
        Request::set_link(lo, &named),
    ];
    let verdicts = netlink.transact_each(&batch);
    let failed: Vec<_> = verdicts.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, true, false]);
    let error = verdicts[1].as_ref().unwrap_err();
    assert_eq!(
        chain(error),
        "failed to route everything by 192.0.2.1: Network is unreachable (ENETUNREACH): Nexthop has invalid gateway"
    );
    assert_eq!(netlink.link_by_index(lo).unwrap().unwrap().alias.as_deref(), Some("done"));
    let first = netlink.transact(&batch[1..]).unwrap_err();
    assert_eq!(first.what(), "route everything by 192.0.2.1");
}

fn large() {
    let host = netns();
    let lo = index(&host, "lo");
    let mut netlink = Netlink::open(&host).unwrap();
    let requests: Vec<_> = (0..1000).map(|i| Request::add_address(lo, address(i))).collect();
    netlink.transact(&requests).unwrap();
    assert_eq!(netlink.addresses(Some(lo)).unwrap().len(), 1000);
}

/// A dump of many parts is disturbed whenever something changes between two parts; the kernel then marks it, and
/// it has to be read anew. (It does so for lists of all addresses, not for those of one link.)
fn disturbed() {
    let host = netns();
    let lo = index(&host, "lo");
    let mut netlink = Netlink::open(&host).unwrap();
    let add: Vec<_> = (0..2000).map(|i| Request::add_address(lo, address(i))).collect();
    netlink.transact(&add).unwrap();
    let mut other = Netlink::open(&host).unwrap();
    let coming = address(100_000);
    for _ in 0..20 {
        let count = thread::scope(|scope| {
            // Few enough changes that some attempt is undisturbed, however the two threads run.
            scope.spawn(|| {
                for _ in 0..8 {
                    other.transact(&[Request::add_address(lo, coming)]).unwrap();
                    other.transact(&[Request::delete_address(lo, coming)]).unwrap();
                }
            });
            netlink.addresses(None).map(|all| all.len())
        });
        assert!((2000..=2001).contains(&count.unwrap()));
    }
}

fn address(i: u32) -> IpNetwork {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + i)).into()
}
