//! Waiting for links, and watching them.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use terway_datapath::interference::{Interference, Touched};
use terway_datapath::kernel::{
    Link, LinkChange, Netlink, Netns, NewLink, NicError, NicRule, Request, wait_for_nic,
};
use terway_datapath::monitor::{LinkEvent, LinkMonitor};
use tokio::time::timeout;

use crate::bench::{PATIENCE, index, mac, netns, set_up, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_nic_that_appears_is_found_at_once", appears),
        trial("a_nic_that_takes_the_mac_later_is_found", takes_mac),
        trial("a_nic_that_never_comes_is_missing_at_the_deadline", never),
        trial("two_nics_of_one_mac_are_ambiguous", ambiguous),
        trial("the_monitor_tells_of_links_that_come_change_and_go", monitor),
        trial("the_monitor_resynchronises_after_lost_events", overrun),
        trial("who_took_a_pods_route_or_rule_is_told", interference),
    ]
}

fn pair<'a>(near: &'a str, far: &'a str, last: u8) -> Request {
    let near = NewLink { name: near, mac: Some(mac(last)), ..NewLink::default() };
    Request::add_veth(&near, &NewLink { name: far, ..NewLink::default() })
}

fn rule() -> NicRule {
    NicRule::with_kinds(["veth"])
}

/// Waits in one thread while `change` is done in another.
fn wait_while(host: &Netns, change: impl FnOnce(&mut Netlink) + Send) -> Result<Link, NicError> {
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait_for_nic(host, mac(1), &rule(), Instant::now() + PATIENCE));
        change(&mut Netlink::open(host).unwrap());
        waiter.join().unwrap()
    })
}

fn appears() {
    let host = netns();
    let found = wait_while(&host, |netlink| netlink.transact(&[pair("a0", "a1", 1)]).unwrap()).unwrap();
    assert_eq!((found.name.as_str(), found.index), ("a0", index(&host, "a0")));
    // And when it is there from the start.
    assert_eq!(wait_for_nic(&host, mac(1), &rule(), Instant::now()).unwrap().index, found.index);
}

fn takes_mac() {
    let host = netns();
    Netlink::open(&host).unwrap().transact(&[pair("a0", "a1", 9)]).unwrap();
    let change = LinkChange { mac: Some(mac(1)), ..LinkChange::default() };
    let found = wait_while(&host, |netlink| netlink.transact(&[Request::set_link("a1", &change)]).unwrap());
    assert_eq!(found.unwrap().name, "a1");
}

fn never() {
    let host = netns();
    Netlink::open(&host).unwrap().transact(&[pair("a0", "a1", 1)]).unwrap();
    let start = Instant::now();
    let deadline = start + Duration::from_millis(50);
    // The link is there, but of a kind that is no NIC on a real node.
    let error = wait_for_nic(&host, mac(1), &NicRule::default(), deadline).unwrap_err();
    // It counts from when it began to wait.
    assert!(matches!(error, NicError::Missing { waited_ms: Some(_), .. }), "{error:?}");
    assert!(Instant::now() >= deadline, "{error}");
    assert!(error.to_string().starts_with("no NIC has MAC 02:00:00:00:00:01 after waiting"), "{error}");
    assert!(start.elapsed() < PATIENCE);
}

fn ambiguous() {
    let host = netns();
    Netlink::open(&host).unwrap().transact(&[pair("a0", "a1", 1), pair("b0", "b1", 1)]).unwrap();
    let error = wait_for_nic(&host, mac(1), &rule(), Instant::now() + PATIENCE).unwrap_err();
    assert_eq!(error.to_string(), "2 NICs have MAC 02:00:00:00:00:01: a0, b0");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn until(monitor: &mut LinkMonitor, mut wanted: impl FnMut(&LinkEvent) -> bool) {
    let search = async {
        while let Some(event) = monitor.next().await {
            if wanted(&event) {
                return;
            }
        }
        panic!("the monitor ended");
    };
    timeout(PATIENCE, search).await.expect("the event comes in time");
}

fn monitor() {
    let (host, pod) = (netns(), netns());
    let mut netlink = Netlink::open(&host).unwrap();
    netlink.transact(&[pair("a0", "a1", 1)]).unwrap();
    runtime().block_on(async {
        let mut monitor = LinkMonitor::start(&host).unwrap();
        let mut names: Vec<_> = monitor.initial().iter().map(|link| link.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a0", "a1", "lo"]);
        let (one, two) = (index(&host, "a0"), index(&host, "a1"));
        // The kernel tells of a new alias only if the link is up.
        let alias = LinkChange { alias: Some("mine"), up: Some(true), ..LinkChange::default() };
        let bridge = Request::add_bridge(&NewLink { name: "br0", ..NewLink::default() });
        netlink.transact(&[Request::set_link(one, &alias), bridge]).unwrap();
        until(&mut monitor, |event| {
            matches!(event, LinkEvent::Changed(link) if link.index == one && link.alias.as_deref() == Some("mine"))
        })
        .await;

        // A port that leaves a bridge is not gone.
        let join = terway_datapath::kernel::request::Master::Index(index(&host, "br0"));
        let leave = terway_datapath::kernel::request::Master::None;
        for master in [join, leave] {
            let change = LinkChange { master: Some(master), ..LinkChange::default() };
            netlink.transact(&[Request::set_link(one, &change)]).unwrap();
        }
        let away = LinkChange { netns: Some(&pod), ..LinkChange::default() };
        netlink.transact(&[Request::set_link(two, &away)]).unwrap();
        let gone = LinkEvent::Gone {
            index: two,
            name: "a1".into(),
            mac: Netlink::open(&pod).unwrap().link_by_name("a1").unwrap().unwrap().mac,
        };
        until(&mut monitor, |event| {
            assert!(!matches!(event, LinkEvent::Gone { index, .. } if *index == one), "{event:?}");
            *event == gone
        })
        .await;
    });
}

/// The runtime does not run while events pile up, so the kernel has to drop some.
fn overrun() {
    let host = netns();
    set_up(&host, "lo");
    let mut netlink = Netlink::open(&host).unwrap();
    runtime().block_on(async {
        let mut monitor = LinkMonitor::start(&host).unwrap();
        for round in 0..200 {
            let aliases: Vec<_> = (0..64).map(|i| format!("{round}.{i}")).collect();
            let set = |alias: &String| {
                Request::set_link("lo", &LinkChange { alias: Some(alias), ..Default::default() })
            };
            netlink.transact(&aliases.iter().map(set).collect::<Vec<_>>()).unwrap();
        }
        until(&mut monitor, |event| match event {
            LinkEvent::Resync(links) => links.iter().any(|link| link.alias.as_deref() == Some("199.63")),
            _ => false,
        })
        .await;
    });
}

/// The kernel tells the netlink port of whoever asked, which is the number of a process that has one socket.
fn interference() {
    let host = netns();
    Netlink::open(&host).unwrap().transact(&[pair("a0", "a1", 1)]).unwrap();
    set_up(&host, "a0");
    set_up(&host, "a1");
    let ip = |words: &str| {
        let mut command = Command::new("ip");
        command.args(words.split(' '));
        let mut child = host.run(move || command.spawn()).unwrap().unwrap();
        assert!(child.wait().unwrap().success(), "ip {words}");
        child.id()
    };
    ip("route add 10.9.0.7/32 dev a0 proto 157");
    ip("rule add priority 512 to 10.9.0.8/32 lookup main");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut interference = Interference::listen(&host).unwrap();
        for (words, address) in
            [("route del 10.9.0.7/32 dev a0", "10.9.0.7"), ("rule del priority 512", "10.9.0.8")]
        {
            let pid = ip(words);
            let wanted = Touched::Pod(address.parse().unwrap());
            let told = async {
                loop {
                    let touch = interference.next().await.unwrap();
                    if touch.what == wanted {
                        return touch;
                    }
                }
            };
            assert_eq!(timeout(PATIENCE, told).await.unwrap().by, Some(pid), "{words}");
        }
    });
}
