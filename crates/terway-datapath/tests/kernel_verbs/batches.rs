//! Batches: each request's own verdict, the kernel's explanation, dumps under concurrent change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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
    let address = |i: u32| std::net::Ipv4Addr::from(0x0a00_0000 + i);
    let requests: Vec<_> =
        (0..1000).map(|i| Request::add_address(lo, std::net::IpAddr::V4(address(i)).into())).collect();
    netlink.transact(&requests).unwrap();
    assert_eq!(netlink.addresses(Some(lo)).unwrap().len(), 1000);
}

/// A dump of many parts is disturbed whenever something changes between two parts.
fn disturbed() {
    let host = netns();
    set_up(&host, "lo");
    let lo = index(&host, "lo");
    let mut netlink = Netlink::open(&host).unwrap();
    let route = |i: u32| {
        let to = std::net::IpAddr::V4(std::net::Ipv4Addr::from(0x0b00_0000 + i));
        Route::to(to.into()).dev(lo).scope_link()
    };
    let requests: Vec<_> = (0..2000).map(|i| Request::add_route(&route(i))).collect();
    netlink.transact(&requests).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = Netlink::open(&host).unwrap();
            let coming = route(100_000);
            while !done.load(Ordering::Relaxed) {
                other.transact(&[Request::add_route(&coming), Request::delete_route(&coming)]).unwrap();
            }
        });
        for _ in 0..20 {
            let routes = netlink
                .routes(terway_datapath::kernel::RouteFilter { table: Some(254), ..Default::default() });
            let steady = routes.map(|all| all.iter().filter(|route| route.oif == Some(lo)).count());
            done.store(steady.is_err(), Ordering::Relaxed);
            assert!((2000..=2001).contains(&steady.unwrap()));
        }
        done.store(true, Ordering::Relaxed);
    });
}
