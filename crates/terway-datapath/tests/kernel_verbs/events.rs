//! Waiting for links, and watching them.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use terway_datapath::interference::{Interference, Touch, Touched};
use terway_datapath::kernel::{
    Link, LinkChange, Netlink, Netns, NewLink, NicError, NicRule, Request, wait_for_nic,
};
use terway_datapath::monitor::{LinkEvent, LinkMonitor};
use tokio::time::timeout;

use crate::bench::{PATIENCE, index, mac, netns, set_up, trial};
use crate::needs::Need;
use crate::nft_needs::NAT;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_nic_that_appears_is_found_at_once", appears),
        trial("a_nic_that_takes_the_mac_later_is_found", takes_mac),
        trial("a_nic_that_never_comes_is_missing_at_the_deadline", never),
        trial("two_nics_of_one_mac_are_ambiguous", ambiguous),
        trial("the_monitor_tells_of_links_that_come_change_and_go", monitor),
        trial("the_monitor_resynchronises_after_lost_events", overrun),
        trial("events_that_wait_cost_no_memory", waiting_costs_nothing),
        trial("who_took_a_pods_route_rule_or_queue_is_told", interference),
        trial("who_took_a_rule_that_was_just_put_back_is_told_by_then", a_rule_told_by_then),
    ]
}

/// Those that want the packet filter.
pub(crate) fn of_the_filter() -> Vec<(Trial, &'static [Need])> {
    let name = "who_took_the_translation_that_was_just_put_back_is_told_by_then";
    vec![(trial(name, translation_told_by_then), &[NAT])]
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
        let (mut monitor, links) = LinkMonitor::start(&host).unwrap();
        let mut names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
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

/// Gives a link this many new aliases, each of which the kernel tells.
fn burst(netlink: &mut Netlink, link: &str, count: usize) {
    for start in (0..count).step_by(64) {
        let aliases: Vec<_> = (start..count.min(start + 64)).map(|number| number.to_string()).collect();
        let set = |alias: &String| {
            Request::set_link(link, &LinkChange { alias: Some(alias), ..Default::default() })
        };
        netlink.transact(&aliases.iter().map(set).collect::<Vec<_>>()).unwrap();
    }
}

/// More events than the kernel keeps for anybody.
const TOO_MANY: usize = 12_800;

/// What the kernel still had when it began to lose events is older than the list that makes the loss good.
fn overrun() {
    let host = netns();
    let mut netlink = Netlink::open(&host).unwrap();
    netlink.transact(&[pair("a0", "a1", 1)]).unwrap();
    runtime().block_on(async {
        let (mut monitor, _) = LinkMonitor::start(&host).unwrap();
        set_up(&host, "lo");
        set_up(&host, "a0");
        burst(&mut netlink, "lo", TOO_MANY);
        netlink.transact(&[Request::delete_link("a0")]).unwrap();
        let last = (TOO_MANY - 1).to_string();
        until(&mut monitor, |event| match event {
            LinkEvent::Resync(links) => {
                let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
                assert_eq!(names, ["lo"]);
                links[0].alias.as_ref() == Some(&last)
            }
            _ => false,
        })
        .await;
        netlink.transact(&[pair("b0", "b1", 2)]).unwrap();
        until(&mut monitor, |event| match event {
            LinkEvent::Changed(link) => {
                assert!(!link.name.starts_with('a'), "{event:?}");
                link.name == "b0"
            }
            _ => false,
        })
        .await;
    });
}

/// The runtime's threads run all the time, and nobody takes an event.
fn waiting_costs_nothing() {
    let host = netns();
    set_up(&host, "lo");
    let mut netlink = Netlink::open(&host).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let (mut monitor, _) = LinkMonitor::start(&host).unwrap();
    let mut interference = Interference::listen(&host).unwrap();
    burst(&mut netlink, "lo", 640);
    let before = resident_kib();
    burst(&mut netlink, "lo", TOO_MANY);
    let more = resident_kib().saturating_sub(before);
    assert!(more < 4096, "{TOO_MANY} events that wait take {more} KiB");
    runtime.block_on(async {
        let lost = timeout(PATIENCE, interference.next()).await.expect("in time").expect("it hears");
        assert_eq!(lost.what, Touched::Anything);
        until(&mut monitor, |event| matches!(event, LinkEvent::Resync(_))).await;
    });
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs a program in the namespace; gives the number of its process, which is the netlink port that the kernel tells of
/// a process with one socket.
fn on(host: &Netns, program: &str, words: &str) -> u32 {
    let mut command = Command::new(program);
    command.args(words.split(' '));
    let mut child = host.run(move || command.spawn()).unwrap().unwrap();
    assert!(child.wait().unwrap().success(), "{program} {words}");
    child.id()
}

fn interference() {
    let host = netns();
    Netlink::open(&host).unwrap().transact(&[pair("a0", "a1", 1)]).unwrap();
    set_up(&host, "a0");
    set_up(&host, "a1");
    on(&host, "ip", "route add 10.9.0.7/32 dev a0 proto 157");
    on(&host, "ip", "rule add priority 512 to 10.9.0.8/32 lookup main");
    let pod = |address: &str| Touched::Pod(address.parse().unwrap());
    let queues = Touched::Queues(index(&host, "a0"));
    runtime().block_on(async {
        let mut interference = Interference::listen(&host).unwrap();
        for (program, words, wanted) in [
            ("ip", "route del 10.9.0.7/32 dev a0", pod("10.9.0.7")),
            ("ip", "rule del priority 512", pod("10.9.0.8")),
            ("tc", "qdisc add dev a0 root tbf rate 8mbit burst 10k latency 10ms", queues.clone()),
            ("tc", "qdisc del dev a0 root", queues),
        ] {
            // One command may be told more than once.
            let by = Some(on(&host, program, words));
            let wanted = Touch { what: wanted, by };
            let told = async { while interference.next().await.unwrap() != wanted {} };
            timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("nothing is told of {words}"));
        }
    });
}

/// Neither does the runtime run meanwhile, nor does anybody wait for what the kernel tells.
fn told_by_then(made: [&str; 2], taken: [&str; 2], what: &Touched) {
    let host = netns();
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut interference = Interference::listen(&host).unwrap();
    on(&host, made[0], made[1]);
    while interference.told_by_now().is_some() {}
    let wanted = Touch { what: what.clone(), by: Some(on(&host, taken[0], taken[1])) };
    on(&host, made[0], made[1]);
    let told: Vec<_> = std::iter::from_fn(|| interference.told_by_now()).collect();
    assert!(told.contains(&wanted), "{told:?} without {wanted:?}");
}

fn a_rule_told_by_then() {
    let pod = Touched::Pod("10.9.0.8".parse().unwrap());
    let made = "rule add priority 512 to 10.9.0.8/32 lookup main";
    told_by_then(["ip", made], ["ip", "rule del priority 512"], &pod);
}

fn translation_told_by_then() {
    let (made, taken) = ("add table ip terway", "delete table ip terway");
    told_by_then(["nft", made], ["nft", taken], &Touched::Anything);
}
