//! What is measured: the shipped plugin and daemon.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::plugin::Call;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};

use crate::Options;

/// A world whose daemons have booted.
pub(crate) fn world(plan: &Plan, options: &Options) -> Result<World> {
    let mut world = World::start(plan, &options.binaries, &options.state)?;
    world.boot()?;
    Ok(world)
}

/// Waits until this many ENIs are ready, so that the next ADD is a warm one.
pub(crate) fn warm(node: &Node, count: usize) -> Result<()> {
    eventually(&format!("{count} ENIs are ready"), Duration::from_mins(2), || {
        let ready = node.phases().ok()?.iter().filter(|phase| *phase == "Ready").count();
        (ready >= count).then_some(())
    })
    .with_context(|| node.log_tail())
}

/// Waits until this many addresses of shared ENIs are idle.
pub(crate) fn warm_addresses(node: &Node, count: usize) -> Result<()> {
    eventually(&format!("{count} addresses are idle"), Duration::from_mins(2), || {
        (idle_addresses(node).ok()? >= count).then_some(())
    })
    .with_context(|| node.log_tail())
}

/// Waits for what the next ADD takes in the node's mode.
pub(crate) fn warm_either(node: &Node) -> Result<()> {
    if node.mode == "ENIMultiIP" { warm_addresses(node, 1) } else { warm(node, 1) }
}

/// IPv4 addresses that nobody holds of shared ENIs whose link is there; their IPv6 partners are not counted again.
fn idle_addresses(node: &Node) -> Result<usize> {
    let shown: Value = serde_json::from_slice(&node.cli(&["show", "addresses", "-o", "json"])?.stdout)
        .context("terway-cli show addresses printed no JSON")?;
    let enis = shown.as_array().context("it printed no list")?;
    let ready = enis.iter().filter(|eni| eni["phase"] == "Ready");
    let addresses = ready.filter_map(|eni| eni["addresses"].as_array()).flatten();
    let idle = |one: &&Value| {
        one["phase"] == "Idle" && one["address"].as_str().is_some_and(|address| address.contains('.'))
    };
    Ok(addresses.filter(idle).count())
}

/// How long one scrape of the daemon's metrics takes.
pub(crate) fn scrape(node: &Node) -> Result<Duration> {
    let start = Instant::now();
    metrics(node)?;
    Ok(start.elapsed())
}

/// The daemon's metrics.
pub(crate) fn metrics(node: &Node) -> Result<String> {
    let mut stream = UnixStream::connect(node.run.join("eni_debug.socket")).context("no debug socket")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("the scrape was not answered")?;
    let text = String::from_utf8(answer).context("the metrics are no text")?;
    ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
    Ok(text)
}

/// How long each verb of one pod took.
pub(crate) struct Round {
    pub(crate) add: Duration,
    pub(crate) check: Duration,
    pub(crate) del: Duration,
}

/// A pod's life: a new sandbox each time. The caller waits for a warm pool.
pub(crate) fn round(node: &mut Node) -> Result<Round> {
    round_after(node, || ())
}

/// The same, after a rest that the sandbox lies before.
pub(crate) fn round_after(node: &mut Node, rest: impl FnOnce()) -> Result<Round> {
    let mut pod = node.pod("bench")?;
    rest();
    let add = pod.add()?.elapsed;
    let check = pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?.elapsed;
    let del = pod.del()?.elapsed;
    Ok(Round { add, check, del })
}

/// A call that needs neither pod nor ENI.
pub(crate) fn without_pod(pod: &Pod, verb: &str) -> Call {
    ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
        .iter()
        .fold(pod.call(verb), |call, key| call.without(key))
}

/// How long such a call takes.
pub(crate) fn bare(pod: &Pod, verb: &str) -> Result<Duration> {
    Ok(without_pod(pod, verb).run()?.expect_ok(verb)?.elapsed)
}

/// What came of many calls at once.
pub(crate) struct Burst {
    /// From the first start to the last end.
    pub(crate) elapsed: Duration,
    /// Calls that failed.
    pub(crate) refused: usize,
}

/// Runs one verb for all pods at once.
pub(crate) fn at_once(pods: &[Pod], verb: &'static str) -> Result<Burst> {
    let start = Instant::now();
    let threads: Vec<_> = pods
        .iter()
        .map(|pod| {
            let call = pod.call(verb);
            thread::spawn(move || call.run())
        })
        .collect();
    let mut refused = 0;
    for thread in threads {
        let outcome = thread.join().map_err(|_| anyhow!("a call panicked"))??;
        refused += usize::from(!outcome.ok());
    }
    Ok(Burst { elapsed: start.elapsed(), refused })
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:").with_context(|| format!("process {pid} is gone"))
}

/// The most memory that a call of the plugin had resident, in KiB. The figure only grows, so it is read until the process
/// has ended. What `wait4` reports would count the memory of this program, which starts it, as well.
pub(crate) fn peak_kib(call: &Call) -> Result<u64> {
    let child = call.start()?;
    let peak = std::iter::from_fn(|| memory(child.id(), "VmHWM:")).last();
    let output = child.wait_with_output().context("failed to wait for the plugin")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    peak.context("the plugin had ended before it was looked at")
}

/// A line of `/proc/<pid>/status`; none once the process has given up its memory.
fn memory(pid: u32, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|text| text.strip_prefix(line))?.split_whitespace().next()?.parse().ok()
}
