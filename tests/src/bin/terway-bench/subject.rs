//! What is measured: the shipped plugin and daemon.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::pod::Pod;

/// Waits until this many ENIs are ready, so that the next ADD is a warm one.
pub(crate) fn warm(node: &Node, count: usize) -> Result<()> {
    eventually(&format!("{count} ENIs are ready"), Duration::from_mins(2), || {
        let ready = node.phases().ok()?.iter().filter(|phase| *phase == "Ready").count();
        (ready >= count).then_some(())
    })
    .with_context(|| node.log_tail())
}

/// One ADD and one DEL of a warm ENI; a new sandbox each time.
pub(crate) fn round(node: &mut Node) -> Result<(Duration, Duration)> {
    warm(node, 1)?;
    let mut pod = node.pod("bench")?;
    let add = pod.add()?.elapsed;
    let del = pod.del()?.elapsed;
    Ok((add, del))
}

/// One call that needs neither pod nor ENI.
pub(crate) fn bare(pod: &Pod, verb: &str) -> Result<Duration> {
    let call = pod.call(verb);
    let call = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
        .iter()
        .fold(call, |call, key| call.without(key));
    Ok(call.run()?.expect_ok(verb)?.elapsed)
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
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the daemon is gone")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS line")?;
    line.split_whitespace()
        .nth(1)
        .context("no figure in the VmRSS line")?
        .parse()
        .context("VmRSS is no number")
}
