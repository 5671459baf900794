//! How packets wait at an ENI: what `tc` counts in each class, when packets leave that bear a time, and who takes what
//! away. ENIs here have several queues.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Instant;

use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use terway_datapath::kernel::{Netlink, Netns, QdiscKind};
use terway_datapath::{Asked, apply_spoiled, can_repair, diff, leftovers, observe, repair};
use terway_types::{Bandwidth, Datapath, InterfacePlan, PriorityClass, Queueing};

use crate::life::break_it;
use crate::refused;
use crate::sandbox::run;
use crate::world::{Kind, PATIENCE, Pod, World};

/// The queues of an ENI.
const QUEUES: u32 = 2;
/// What a pod sends at once.
const PACKETS: u64 = 20;
const BYTES: usize = 1000;

fn with(class: PriorityClass) -> Queueing {
    Queueing { paced: false, class: Some(class) }
}

fn paced() -> Queueing {
    Queueing { paced: true, class: None }
}

fn pod(world: &World, name: &str, number: u16, queueing: Queueing) -> Pod {
    let mut pod = world.pod(name, number);
    pod.queueing = queueing;
    pod
}

/// Bytes sent of each class, in all queues together.
fn sent(world: &World) -> BTreeMap<u32, u64> {
    let mut all = BTreeMap::new();
    let said = world.tc("-s class show dev eth1");
    let mut minor = None;
    for words in said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()) {
        match words[..] {
            ["class", "prio", id, ..] => minor = id.split(':').nth(1).and_then(|minor| minor.parse().ok()),
            ["class", ..] => minor = None,
            ["Sent", bytes, "bytes", ..] => {
                if let Some(minor) = minor {
                    *all.entry(minor).or_default() += bytes.parse::<u64>().unwrap();
                }
            }
            _ => {}
        }
    }
    all
}

/// The filters for an address of the pod's, of each place where packets wait.
fn filters(world: &World) -> Vec<String> {
    let handles = prios(world);
    let of = |handle: &String| world.tc(&format!("filter show dev eth1 parent {handle}"));
    let shown: Vec<_> = handles.iter().map(of).collect();
    shown
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.contains("flowid"))
        .map(str::to_owned)
        .collect()
}

fn prios(world: &World) -> Vec<String> {
    let said = world.tc("qdisc show dev eth1");
    let prios = said.lines().filter_map(|line| line.strip_prefix("qdisc prio "));
    prios.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

fn kinds(text: &str, kind: &str) -> usize {
    text.lines().filter(|line| line.starts_with(&format!("qdisc {kind} "))).count()
}

fn send(from: &Netns, to: &str) {
    let to: SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.run(|| UdpSocket::bind(any)).unwrap().unwrap();
    for _ in 0..PACKETS {
        // The first may find the neighbour unknown; the kernel keeps a few until it answers.
        socket.send_to(&[7; BYTES], to).unwrap();
        thread::yield_now();
    }
}

/// Has the pod send until its class has counted all of it, and says what the others counted meanwhile.
fn counted(world: &World, pod: &Pod, to: &str, minor: u32) {
    let before = sent(world);
    let grown = |minor: u32| sent(world).get(&minor).unwrap_or(&0) - before.get(&minor).unwrap_or(&0);
    let until = Instant::now() + PATIENCE;
    let wanted = PACKETS * BYTES as u64;
    while grown(minor) < wanted {
        assert!(Instant::now() < until, "class {minor} of {to}: {:?} {:?}", before, sent(world));
        send(&pod.netns, to);
    }
    // Neighbours are asked, and no more.
    for other in (1..=3).filter(|other| *other != minor) {
        assert!(grown(other) < wanted / 4, "{to}: class {other} grew by {}", grown(other));
    }
}

pub(crate) fn packets_wait_in_the_class_of_their_pod(kind: Kind) {
    let world = World::with_queues(kind, &[7, 8, 9], QUEUES);
    let classes = [PriorityClass::Guaranteed, PriorityClass::Burstable, PriorityClass::BestEffort];
    for (class, number) in classes.into_iter().zip(7..) {
        let pod = pod(&world, &format!("p{number}"), number, with(class));
        let layout = world.add(&pod);
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
        let minor = u32::from(number) - 6;
        let [v4, v6] = pod.gateways();
        counted(&world, &pod, &format!("{v4}:9"), minor);
        counted(&world, &pod, &format!("[{v6}]:9"), minor);
    }
    assert_eq!(prios(&world).len(), QUEUES as usize);
    assert_eq!(filters(&world).len(), 3 * 2 * QUEUES as usize);
}

/// A pod comes back before its old sandbox is gone: whatever its address was, it is what the new one says.
pub(crate) fn a_changed_class_makes_way(kind: Kind) {
    let world = World::with_queues(kind, &[7], QUEUES);
    let old = pod(&world, "old", 7, with(PriorityClass::Guaranteed));
    world.add(&old);
    let new = pod(&world, "new", 7, with(PriorityClass::BestEffort));
    let layout = world.add(&new);
    assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    let all = filters(&world);
    assert_eq!(all.len(), 2 * QUEUES as usize, "{all:#?}");
    assert!(all.iter().all(|line| line.contains(":3")), "{all:#?}");
    // The old one's DEL comes late, and knows the address.
    world.del(&old, None);
    assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    world.del(&new, None);
    assert_eq!(filters(&world), Vec::<String>::new());
}

pub(crate) fn every_object_taken_away_is_named_and_put_back(kind: Kind) {
    let world = World::with_queues(kind, &[7], QUEUES);
    let pod = pod(&world, "pod", 7, Queueing { paced: true, class: Some(PriorityClass::Guaranteed) });
    let layout = world.add(&pod);
    let is_about_queues = |name: &str| name.starts_with("qdisc") || name.starts_with("filter prio");
    let mut count = 0;
    for object in layout.host.objects().into_iter().filter(|object| is_about_queues(&object.name())) {
        break_it(&world, &pod, false, &object);
        let drifts = diff(&layout, &observe(&layout, &world.node, &pod.netns).unwrap());
        assert!(drifts.iter().any(|drift| drift.object == object), "{object}: {drifts:?}");
        assert!(drifts.iter().all(can_repair), "{object}: {drifts:?}");
        repair(&layout, &drifts, &world.node).unwrap();
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new(), "{object}");
        count += 1;
    }
    assert_eq!(count, 3, "the qdiscs, and a class per address");
}

pub(crate) fn each_request_refused_once(kind: Kind) {
    let world = World::with_queues(kind, &[7, 8], QUEUES);
    let other = pod(&world, "other", 8, with(PriorityClass::Burstable));
    let others = world.add(&other);
    let pod = pod(&world, "pod", 7, Queueing { paced: true, class: Some(PriorityClass::Guaranteed) });
    // What else there is of a pod has tests of its own.
    let is_about_queues = |what: &str| what.contains("sch_prio") || what.contains("filter prio");
    let (layout, before) = (world.layout(&pod), filters(&world));
    let count = refused::each(
        |spoil| {
            let only = |asked: Asked<'_, '_>| {
                if is_about_queues(&asked.what()) {
                    spoil(asked);
                }
            };
            apply_spoiled(&layout, &world.context(&pod, None), &only)
        },
        || {
            assert_eq!(filters(&world), before);
            assert_eq!(world.check(&other, &others), Vec::<String>::new());
        },
    );
    // The address of each family in each queue; what of the tree was made at a first attempt stays.
    assert!(count >= 2 * 2, "{count}");
}

pub(crate) fn what_a_dead_pod_left_is_found_and_goes(kind: Kind) {
    let world = World::with_queues(kind, &[7, 8], QUEUES);
    let other = pod(&world, "other", 8, with(PriorityClass::Burstable));
    let others = world.add(&other);
    let dead = pod(&world, "dead", 7, with(PriorityClass::Guaranteed));
    world.add(&dead);
    assert!(leftovers::classes(&world.node).unwrap().is_empty(), "their links lead to them");
    world.forget(&dead);
    let stale = leftovers::classes(&world.node).unwrap();
    let mut addresses: Vec<_> = dead.plan().addresses.iter().collect();
    addresses.sort();
    assert_eq!(stale.keys().copied().collect::<Vec<_>>(), addresses);
    leftovers::clear_classes(&world.node, &stale).unwrap();
    assert_eq!(filters(&world).len(), 2 * QUEUES as usize);
    assert_eq!(world.check(&other, &others), Vec::<String>::new());
}

/// Nanoseconds of the clock that fair queueing goes by.
fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(now.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap()
}

/// Sends a packet that is to leave half a second from now, as an agent on the node has it leave. Gives how many
/// nanoseconds early it arrived, none if it kept its time.
fn early(world: &World, pod: &Pod) -> Option<u64> {
    const DELAY: u64 = 500_000_000;
    let [gateway, _] = pod.gateways();
    let server = world.vpc.run(|| UdpSocket::bind((gateway.as_str(), 7100))).unwrap().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = world.node.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    let to: SocketAddr = format!("{gateway}:7100").parse().unwrap();
    let mut buffer = [0; 16];
    // The neighbour is known from then on.
    let heard = (0..8).any(|_| {
        client.send_to(b"hello", to).unwrap();
        server.recv_from(&mut buffer).is_ok()
    });
    assert!(heard, "{to} hears nothing");
    let clock = libc::sock_txtime { clockid: libc::CLOCK_MONOTONIC, flags: 0 };
    setsockopt(&client, sockopt::TxTime, &clock).unwrap();
    let leaves = now() + DELAY;
    let text = [IoSlice::new(b"later")];
    let address = SockaddrStorage::from(to);
    let when = [ControlMessage::TxTime(&leaves)];
    sendmsg(client.as_raw_fd(), &text, &when, MsgFlags::empty(), Some(&address)).unwrap();
    let arrived = loop {
        let (length, _) = server.recv_from(&mut buffer).unwrap();
        if &buffer[..length] == b"later" {
            break now();
        }
    };
    leaves.checked_sub(arrived).filter(|early| *early > 0)
}

pub(crate) fn packets_leave_at_the_time_they_bear() {
    for queues in [1, QUEUES] {
        for queueing in [paced(), Queueing { class: Some(PriorityClass::Burstable), ..paced() }] {
            let world = World::with_queues(Kind::Ipvlan, &[7, 8], queues);
            world.node("link set eth1 up");
            world.node("addr add 10.0.1.200/24 dev eth1");
            let pod = pod(&world, "pod", 7, queueing);
            // Each may be late by the time it takes.
            let any_early = (0..8).any(|_| early(&world, &pod).is_some());
            assert!(any_early, "without fair queueing nobody waits");
            let layout = world.add(&pod);
            assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
            assert_eq!(early(&world, &pod), None, "{}", world.tc("qdisc show dev eth1"));
        }
    }
}

/// Whichever comes first: pods that are there lose neither their class nor their times.
pub(crate) fn one_tree_serves_both() {
    let world = World::with_queues(Kind::Ipvlan, &[7, 8, 9], QUEUES);
    let [one, two, three] = [
        pod(&world, "one", 7, paced()),
        pod(&world, "two", 8, with(PriorityClass::Guaranteed)),
        pod(&world, "three", 9, paced()),
    ];
    let layouts = [&one, &two, &three].map(|pod| (pod, world.add(pod)));
    for (pod, layout) in &layouts {
        assert_eq!(world.check(pod, layout), Vec::<String>::new());
    }
    let said = world.tc("qdisc show dev eth1");
    assert_eq!([kinds(&said, "prio"), kinds(&said, "fq")], [2, 6], "{said}");
    assert_eq!(filters(&world).len(), 2 * QUEUES as usize);
    // All that is asked for is there: nothing is made anew.
    for (pod, layout) in &layouts {
        repair(layout, &[], &world.node).unwrap();
        world.del(pod, None);
        world.add(pod);
    }
    assert_eq!(world.tc("qdisc show dev eth1"), said);
}

/// A whole ENI, in the pod: below its limit, if it has one.
pub(crate) fn a_whole_eni_is_paced_in_the_pod() {
    let limit = Some(Bandwidth { bytes_per_second: 12_500_000, burst_bytes: None });
    for (egress, fqs) in [(None, QUEUES as usize), (limit, 1)] {
        let world = World::with_queues(Kind::Ipvlan, &[7], QUEUES);
        let pod = pod(&world, "pod", 7, paced());
        let plan = InterfacePlan { datapath: Datapath::Exclusive, host_peer: false, egress, ..pod.plan() };
        let layout = world.layout_of(&plan, &pod);
        world.apply(&pod, &layout, None).unwrap();
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
        let said = run(&format!("tc -n {} qdisc show dev eth0", pod.name()));
        assert_eq!(kinds(&said, "fq"), fqs, "{said}");
        assert_eq!(kinds(&said, "tbf"), usize::from(egress.is_some()), "{said}");
        run(&format!("tc -n {} qdisc del dev eth0 root", pod.name()));
        let drifts = world.check(&pod, &layout);
        assert!(drifts.iter().any(|drift| drift == "pod: qdisc fq dev eth0 is missing"), "{drifts:?}");
        world.del(&pod, Some(plan.mac));
    }
}

/// What the kernel says of itself is what `tc` finds out.
pub(crate) fn the_kernel_is_asked_what_it_has() {
    let host = Netns::current().unwrap();
    run("ip link add asked0 type veth peer name asked1");
    let before = run("tc qdisc show");
    for kind in [QdiscKind::Fq, QdiscKind::Prio] {
        let said = Netlink::open(&host).unwrap().has_qdisc(kind).unwrap();
        assert_eq!(run("tc qdisc show"), before, "nothing comes of asking");
        let made = run(&format!(
            "tc qdisc add dev asked0 root {0} 2>/dev/null && tc qdisc del dev asked0 root && echo yes || echo no",
            kind.name()
        ));
        assert_eq!(said, made.trim() == "yes", "{}", kind.name());
    }
    run("ip link del asked0");
}
