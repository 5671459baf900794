//! What the pool's decisions cost, and how much memory addresses take: in this process, on the engine alone.
//!
//! Times are means over many pairs of ADD and DEL in a pool that is ready, and of several such means the least: whoever else
//! uses the processor only ever adds to one. Memory is the growth of this process's
//! resident pages while a large pool is built from a ledger; the ledger's own records are dropped by then.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use terway_pool::{
    Claim, EniPolicy, Event, Keep, Mode, Pool, PoolSettings, ReleasePace, RequestId, Sharing, VSwitchPolicy,
    Wants,
};
use terway_types::{
    AddressCounts, AddressPhase, AddressRecord, Addresses, AttachmentKey, ContainerId, EniPhase, EniRecord,
    Gateways, IfName, LedgerSnapshot, MacAddr, NetworkName, PodRef, Subnets, Timestamp,
};

use crate::Options;
use crate::machine;
use crate::table::Table;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Pairs of ADD and DEL that a mean is taken over, and how many means the least one is taken of.
const PAIRS: u32 = 500;
const MEANS: u32 = 10;
/// A page of memory, in bytes, on the machines this is measured on.
const PAGE: u64 = 4_096;
/// How much slower a decision may become while the pool grows a thousandfold: its trees become deeper, and nothing
/// walks over all of it.
const FLAT: f64 = 4.0;

/// All of it.
pub(crate) fn run(table: &mut Table, _: &Options) -> Result<()> {
    machine::pinned(|| {
        measured(table);
        Ok(())
    })
}

fn measured(table: &mut Table) {
    decisions(table);
    let bytes = memory(1_000, 200);
    table.promise("memory per shared address", format!("{bytes:.0} bytes"), "< 200 bytes", bytes < 200.0);
    let collected = collect(10_000);
    table.budget("one GC that releases 10,000", format!("{collected:.1} ms"), "< 100 ms", collected < 100.0);
    let begun = start(10_000);
    table.figure("a pool out of 10,000 records", format!("{begun:.1} ms"));
    table.raw(
        "pool",
        json!({ "bytes_per_address": bytes, "collect_10000_ms": collected, "new_10000_ms": begun }),
    );
}

fn decisions(table: &mut Table) {
    let mut all = Vec::new();
    for enis in [10, 100, 1_000, 10_000] {
        let (allocate, release) = exclusive(enis);
        table.raw(&format!("decision_{enis}"), json!({ "allocate_us": allocate, "release_us": release }));
        all.push(allocate.max(release));
    }
    let each: Vec<_> = all.iter().map(|time| format!("{time:.1}")).collect();
    let slowest = all.iter().copied().fold(0.0, f64::max);
    table.budget(
        "a decision with 10, 100, 1,000, 10,000 ENIs",
        format!("{} us", each.join(", ")),
        "< 10 us",
        slowest < 10.0,
    );
    let growth = all.last().copied().unwrap_or_default() / all.first().copied().unwrap_or(1.0);
    table.promise("the same with 10,000 / 10 ENIs", format!("{growth:.1}"), "<= 4", growth <= FLAT);
    let waits = [10, 1_000].map(waiting);
    let longer = waits[1] / waits[0];
    table.budget(
        "a decision beside 10, 1,000 that wait",
        format!("{:.1}, {:.1} us", waits[0], waits[1]),
        "< 10 us",
        waits[1] < 10.0,
    );
    table.promise("the same with 1,000 / 10 others", format!("{longer:.1}"), "<= 4", longer <= FLAT);
    table.raw("decision_waiting", json!({ "us_10": waits[0], "us_1000": waits[1] }));
    let (allocate, release) = shared(1_000, 50);
    table.budget(
        "a decision with 1,000 ENIs x 50 addresses",
        format!("ADD {allocate:.1} us, DEL {release:.1} us"),
        "< 10 us",
        allocate.max(release) < 10.0,
    );
    let (few, _) = shared(20, 50);
    table.raw(
        "decision_1000x50",
        json!({ "allocate_us": allocate, "release_us": release, "allocate_20x50_us": few }),
    );
}

fn settings(mode: Mode, idle: u32, enis: u32) -> PoolSettings {
    PoolSettings {
        mode,
        min_idle: 0,
        max_idle: idle,
        warm_up: 0,
        max_enis: enis,
        release: ReleasePace { interval: Duration::from_mins(2), quick: false },
        reclaim: None,
        vswitches: vec!["vsw-a".into()],
        vswitch_policy: VSwitchPolicy::Ordered,
        security_groups: vec!["sg-1".into()],
        ipv6: false,
        quarantine: Duration::ZERO,
        quarantine_max: Duration::from_mins(5),
        consistency: Duration::from_secs(10),
        link_timeout: Duration::from_mins(1),
        home_timeout: Duration::from_secs(90),
        operation_timeout: Duration::from_mins(10),
        retry_first: Duration::from_secs(1),
        retry_max: Duration::from_mins(1),
        parallel: 3,
        token_prefix: "decisions".to_owned(),
        generation: 1,
        seed: 1,
    }
}

fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

fn record(number: u32, phase: EniPhase) -> EniRecord {
    EniRecord {
        token: format!("token-{number:06}").into(),
        id: Some(format!("eni-{number:06}").into()),
        mac: Some(mac(number)),
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::new(Some(Ipv4Addr::from(0x0a00_0000 + number)), None),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        phase,
        since: NOW,
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        claim: None,
        assigning: None,
    }
}

fn key(number: u32) -> AttachmentKey {
    let container = ContainerId::new(format!("c{number:06}"));
    match (NetworkName::new("net"), container, IfName::new("eth0")) {
        (Ok(network), Ok(container), Ok(ifname)) => AttachmentKey { network, container, ifname },
        parts => panic!("names that keep the rules: {parts:?}"),
    }
}

fn ready(settings: PoolSettings, snapshot: LedgerSnapshot) -> Pool {
    let enis = u32::try_from(snapshot.enis.len()).unwrap_or(u32::MAX);
    let (mut pool, _) = Pool::new(settings, snapshot, NOW);
    for number in 0..enis {
        pool.handle(NOW, Event::LinkUp { mac: mac(number) });
    }
    pool
}

fn exclusive_pool(enis: u32) -> Pool {
    let enis_ready = (0..enis).map(|number| record(number, EniPhase::Ready)).collect();
    ready(
        settings(Mode::Exclusive, enis, enis),
        LedgerSnapshot { enis: enis_ready, ..LedgerSnapshot::default() },
    )
}

fn shared_pool(enis: u32, per_eni: u32) -> Pool {
    let address = |eni: u32, index: u32| AddressRecord {
        address: IpAddr::V4(Ipv4Addr::from(0x0a80_0000 + eni * per_eni + index)),
        eni: format!("token-{eni:06}").into(),
        phase: AddressPhase::Idle,
        since: NOW,
    };
    let addresses = (0..enis).flat_map(|eni| (0..per_eni).map(move |index| address(eni, index))).collect();
    let enis_ready = (0..enis).map(|number| record(number, EniPhase::Ready)).collect();
    let eni_policy = EniPolicy::MostIps;
    let sharing =
        Sharing { per_eni: per_eni + 1, prefixes: false, assign_batch: 10, eni_policy, min_enis: 0 };
    let settings = settings(Mode::Shared(sharing), enis * per_eni, enis);
    ready(settings, LedgerSnapshot { enis: enis_ready, addresses, ..LedgerSnapshot::default() })
}

fn allocate(pool: &mut Pool, number: u32, at: Timestamp) {
    let request = RequestId(u64::from(number));
    let deadline = at + Duration::from_secs(10);
    let (pod, netns, wants) = (PodRef::default(), String::new(), Wants::default());
    pool.handle(at, Event::Allocate { request, key: key(number), pod, netns, wants, deadline });
    assert!(pool.attachment(&key(number)).is_some(), "a pool that is ready serves at once");
}

/// An allocation and a release, in microseconds, with half of the pool held by others.
fn pairs(mut pool: Pool, held: u32) -> (f64, f64) {
    (0..held).for_each(|number| allocate(&mut pool, number, NOW));
    let [allocating, releasing] = least_means(held, |number| {
        let begun = Instant::now();
        allocate(&mut pool, number, NOW);
        let allocating = begun.elapsed();
        let request = RequestId(u64::from(number) << 32);
        let release = Event::Release { request, key: key(number) };
        let begun = Instant::now();
        pool.handle(NOW, release);
        [allocating, begun.elapsed()]
    });
    (allocating, releasing)
}

/// Does it often, each time with the next number, and answers the least mean of each time, in microseconds.
fn least_means<const N: usize>(first: u32, mut times: impl FnMut(u32) -> [Duration; N]) -> [f64; N] {
    let mut least = [f64::INFINITY; N];
    for mean in 0..MEANS {
        let mut sums = [Duration::ZERO; N];
        for number in first + mean * PAIRS..first + (mean + 1) * PAIRS {
            sums.iter_mut().zip(times(number)).for_each(|(sum, time)| *sum += time);
        }
        for (least, sum) in least.iter_mut().zip(sums) {
            *least = least.min(sum.as_secs_f64() * 1e6 / f64::from(PAIRS));
        }
    }
    least
}

fn exclusive(enis: u32) -> (f64, f64) {
    pairs(exclusive_pool(enis), enis / 2)
}

/// An ADD that has to wait, or gives up, on a full node on which others wait, in microseconds: half of them
/// for security groups of their own, half for claims.
fn waiting(others: u32) -> f64 {
    let mut pool = exclusive_pool(10);
    (0..10).for_each(|number| allocate(&mut pool, number, NOW));
    let ask = |pool: &mut Pool, number: u32, wants: Wants| {
        let (request, deadline) = (RequestId(u64::from(number)), NOW + Duration::from_hours(1));
        let (pod, netns) = (PodRef::default(), String::new());
        pool.handle(NOW, Event::Allocate { request, key: key(number), pod, netns, wants, deadline });
        request
    };
    for number in 100..100 + others {
        let groups = Wants { security_groups: vec![format!("sg-{number}").into()], ..Wants::default() };
        let claim = Claim { id: format!("claim-{number}").as_str().into(), eni: None, keep: Keep::Fixed };
        let claimed = Wants { claim: Some(claim), ..Wants::default() };
        ask(&mut pool, number, if number % 2 == 0 { groups } else { claimed });
    }
    let [both] = least_means(10_000, |number| {
        let begun = Instant::now();
        let request = ask(&mut pool, number, Wants::default());
        pool.handle(NOW, Event::Cancel { request });
        [begun.elapsed()]
    });
    both / 2.0
}

fn shared(enis: u32, per_eni: u32) -> (f64, f64) {
    pairs(shared_pool(enis, per_eni), enis * per_eni / 2)
}

/// Bytes per address.
fn memory(enis: u32, per_eni: u32) -> f64 {
    let one = resident();
    let small = shared_pool(enis, 1);
    let two = resident();
    let large = shared_pool(enis, per_eni);
    let three = resident();
    // What ENIs take is in both; the difference is what addresses take.
    let addresses = f64::from(enis * per_eni - enis);
    let grown = three.saturating_sub(two).saturating_sub(two.saturating_sub(one));
    drop((small, large));
    #[expect(clippy::cast_precision_loss, reason = "bytes of a process are far below 2^52")]
    let grown = grown as f64;
    grown / addresses
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * PAGE
}

/// Milliseconds for one collection that releases everything.
fn collect(count: u32) -> f64 {
    let mut pool = exclusive_pool(count);
    (0..count).for_each(|number| allocate(&mut pool, number, NOW));
    let network = key(0).network;
    let begun = Instant::now();
    pool.handle(NOW, Event::Collect { request: RequestId(u64::MAX), network, valid: Vec::new() });
    begun.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds to build a pool from this many records.
fn start(records: u32) -> f64 {
    let enis = (0..records).map(|number| record(number, EniPhase::Ready)).collect();
    let settings = settings(Mode::Exclusive, records, records);
    let begun = Instant::now();
    let (pool, _) = Pool::new(settings, LedgerSnapshot { enis, ..LedgerSnapshot::default() }, NOW);
    let passed = begun.elapsed();
    drop(pool);
    passed.as_secs_f64() * 1e3
}
