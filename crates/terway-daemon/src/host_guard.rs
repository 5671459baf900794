//! Keeps what attachments need on the node as it was made, against services of the node that take away what they did
//! not make: hears of every change, looks at the attachments concerned, puts back what is missing, and tells the
//! operator who took it. It never fights: what gets lost again and again is put back ever more seldom.
//!
//! Task: one, until the daemon ends. Invariant: nothing of an attachment is changed without its lock, so the plugin
//! and the guard never work on one attachment at the same time.

mod concern;
mod enis;
mod heard;
mod losses;
mod round;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use terway_datapath::host_agent;
use terway_datapath::interference::{Interference, Touched};
use terway_datapath::kernel::{Netns, NicRule};
use terway_types::fault::chain;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use self::concern::resolve;
use self::enis::Enis;
use self::heard::Heard;
use self::round::{Memory, Report, Round, Subject};
use crate::driver::DriverHandle;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::node::InterfaceSettings;

/// How long to wait for what else the same hand does.
const GATHER: Duration = Duration::from_millis(200);
/// How long to leave an attachment alone that the plugin works on.
const BUSY: Duration = Duration::from_millis(500);
/// How often to look at everything, for what makes no noise.
const SLOW: Duration = Duration::from_mins(1);
/// Pause before listening again after that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// The guard.
#[derive(Debug)]
pub struct HostGuard {
    /// Who knows the attachments.
    pub driver: DriverHandle,
    /// What every interface is told besides its ENI.
    pub interface: InterfaceSettings,
    /// Where the locks of attachments are.
    pub run_dir: PathBuf,
    /// The node's root folder, to name processes and services.
    pub root: PathBuf,
    /// Whoever looks after what is no attachment's.
    pub node_wide: Arc<Notify>,
    /// Where it tells that it has looked at everybody once, or cannot.
    pub looked: Arc<watch::Sender<bool>>,
    /// Where the operator hears of it.
    pub events: Arc<Events>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

impl HostGuard {
    /// Guards until the pool's thread has ended.
    pub async fn keep(self) {
        let mut memory = Memory::default();
        let mut told = false;
        loop {
            let failed = match Netns::current().map(|host| (Interference::listen(&host), host)) {
                Ok((Ok(interference), host)) => match self.guard(interference, host, memory).await {
                    Some(kept) => {
                        memory = kept;
                        continue;
                    }
                    None => return,
                },
                Ok((Err(error), _)) => chain(&error),
                Err(error) => chain(&error),
            };
            self.looked.send_replace(true);
            if !told {
                let message =
                    format!("cannot hear of changes of the node's links, routes and rules: {failed}");
                self.events.note("HostGuardDeaf", message);
                told = true;
            }
            sleep(PAUSE).await;
        }
    }

    /// Guards until nothing can be heard any more, which gives the memory back, or the pool's thread has ended.
    async fn guard(&self, mut interference: Interference, host: Netns, mut memory: Memory) -> Option<Memory> {
        let mut heard = Heard::everything();
        let (mut due, mut slow) = (Some(Instant::now()), Instant::now() + SLOW);
        loop {
            let next = due.map_or(slow, |due| due.min(slow));
            tokio::select! {
                touch = interference.next() => match touch {
                    Some(touch) => {
                        if touch.what == Touched::Anything {
                            self.node_wide.notify_one();
                        }
                        heard.note(touch);
                        due = due.or(Some(Instant::now() + GATHER));
                    }
                    None => return Some(memory),
                },
                () = sleep_until(next) => {
                    if Instant::now() >= slow {
                        heard.add(Touched::Anything);
                        slow = Instant::now() + SLOW;
                    }
                    let round = self.round(std::mem::take(&mut heard), &host, memory);
                    let (kept, report) = heard.meanwhile(&mut interference, round).await?;
                    memory = kept;
                    self.looked.send_replace(true);
                    let gathered = (!heard.is_empty()).then(|| Instant::now() + GATHER);
                    due = self.conclude(&report, &mut heard).into_iter().chain(gathered).min();
                }
            }
        }
    }

    /// Looks at those concerned by what was heard; none if the pool's thread has ended.
    async fn round(&self, heard: Heard, host: &Netns, memory: Memory) -> Option<(Memory, Report)> {
        let round = self.prepare(heard, host, memory).await?;
        tokio::task::spawn_blocking(|| round.run()).await.ok()
    }

    /// The attachments and ENIs concerned by what was heard; none if the pool's thread has ended.
    async fn prepare(&self, heard: Heard, host: &Netns, memory: Memory) -> Option<Round> {
        let Heard { touched, enis, by } = heard;
        let node = host.clone();
        let mut concern = tokio::task::spawn_blocking(move || resolve(touched, &node)).await.ok()?;
        let concerned = self.driver.look(move |pool, _| {
            let macs: BTreeSet<_> = pool.enis().filter_map(|eni| eni.mac).collect();
            let (at_enis, everybody) = (concern.settle(&macs) || enis, concern.is_about_everybody());
            let all = pool.attachments().filter(|(held, eni)| concern.is_about(held, eni));
            let all = all.map(|(held, eni)| (held.clone(), eni.clone())).collect::<Vec<_>>();
            (all, if at_enis { macs } else { BTreeSet::new() }, everybody)
        });
        let describe = |(held, eni): (terway_types::AttachmentRecord, terway_types::EniRecord)| {
            let parts = self.interface.interface(&eni, held.addresses).ok()?;
            Some(Subject { key: held.key, pod: held.pod, parts, mode: self.interface.mode })
        };
        let (concerned, macs, everybody) = concerned.await.ok()?;
        let subjects = concerned.into_iter().filter_map(describe).collect();
        let enis = Enis { macs, rule: NicRule::with_kinds(&self.interface.nic_kinds) };
        let (host, run_dir) = (host.clone(), self.run_dir.clone());
        Some(Round { subjects, everybody, enis, host, run_dir, by, memory, now: std::time::Instant::now() })
    }

    /// Tells what a round found, and says when to look again.
    fn conclude(&self, report: &Report, heard: &mut Heard) -> Option<Instant> {
        let who = || blame("taken away", &report.by, &self.root);
        for (outcome, count) in [
            ("repaired", report.repaired.len()),
            ("expelled", report.expelled.len()),
            ("left", report.left.len()),
            ("postponed", report.fought.len()),
        ] {
            self.metrics.host_repairs(outcome, count);
        }
        if !report.repaired.is_empty() {
            let what = list(&report.repaired);
            self.events.note("HostStateRepaired", format!("put back on the node: {what}{}", who()));
        }
        if !report.expelled.is_empty() {
            let (what, who) = (list(&report.expelled), blame("put there", &report.by, &self.root));
            self.events.note("EniCleared", format!("taken off ENIs of pods: {what}{who}"));
        }
        if !report.left.is_empty() {
            let what = list(&report.left);
            self.events.note("HostStateLost", format!("cannot be put back on the node: {what}{}", who()));
        }
        if !report.fought.is_empty() {
            let what = list(&report.fought);
            let advice = "see `terway-cli doctor` on the node, and deploy/host for settings that help";
            self.events.note("HostStateFought", format!("lost again and again: {what}{}; {advice}", who()));
        }
        heard.enis |= report.enis_later.is_some();
        for key in report.busy.iter().chain(report.later.keys()) {
            heard.add(Touched::Attachment(key.clone()));
        }
        let busy = (!report.busy.is_empty()).then(|| Instant::now() + BUSY);
        let later = report.later.values().chain(&report.enis_later).min().map(|at| Instant::from_std(*at));
        busy.into_iter().chain(later).min()
    }
}

/// The first few, and how many more.
fn list(objects: &[String]) -> String {
    const SHOWN: usize = 4;
    let text = objects.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match objects.len() {
        more if more > SHOWN => format!("{text} and {} more", more - SHOWN),
        _ => text,
    }
}

/// Our own programs, whose work the kernel tells of too.
const OURS: [&str; 2] = ["terway", "terwayd"];

/// Who did it: the processes that asked the kernel, and where they have ended, the services at work. A service may do it
/// by programs that it starts, such as `ip`.
fn blame(deed: &str, by: &HashSet<u32>, root: &Path) -> String {
    let told = by.iter().filter_map(|pid| host_agent::process(root, *pid));
    let mut processes: Vec<_> = told.filter(|process| !OURS.contains(&process.name.as_str())).collect();
    processes.sort_by_key(|process| process.pid);
    let names: Vec<_> =
        processes.iter().map(|process| format!("process {} ({})", process.pid, process.name)).collect();
    let (named, guess) = if names.is_empty() {
        (String::new(), "; probably by")
    } else {
        (format!("; {deed} by {}", names.join(", ")), ", perhaps for")
    };
    if processes.iter().any(host_agent::is_at_work) {
        return named;
    }
    let at_work: Vec<_> = host_agent::at_work(root).iter().map(ToString::to_string).collect();
    if at_work.is_empty() { named } else { format!("{named}{guess} {}", at_work.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_still_runs_is_named_before_services_that_may_have_done_it() {
        let root = tempfile::tempdir().unwrap();
        running(root.path(), 412, "systemd-network");
        assert_eq!(
            blame("taken away", &HashSet::from([412, 9]), root.path()),
            "; taken away by process 412 (systemd-network)"
        );
        assert_eq!(
            blame("put there", &HashSet::from([9]), root.path()),
            "; probably by systemd-networkd (process 412)"
        );
        assert_eq!(blame("taken away", &HashSet::new(), Path::new("/does/not/exist")), "");
    }

    fn running(root: &Path, pid: u32, name: &str) {
        let proc = root.join("proc").join(pid.to_string());
        std::fs::create_dir_all(&proc).unwrap();
        std::fs::write(proc.join("comm"), format!("{name}\n")).unwrap();
    }

    #[test]
    fn a_service_is_named_beside_the_program_that_it_may_have_started() {
        let root = tempfile::tempdir().unwrap();
        running(root.path(), 120, "ip");
        let by = HashSet::from([120]);
        assert_eq!(blame("put there", &by, root.path()), "; put there by process 120 (ip)");
        running(root.path(), 99, "dhclient");
        assert_eq!(
            blame("put there", &by, root.path()),
            "; put there by process 120 (ip), perhaps for dhclient (process 99)"
        );
    }

    #[test]
    fn our_own_programs_are_not_accused() {
        let root = tempfile::tempdir().unwrap();
        running(root.path(), 7, "terway");
        running(root.path(), 8, "terwayd");
        let by = HashSet::from([7, 8]);
        assert_eq!(blame("put there", &by, root.path()), "");
        running(root.path(), 99, "dhclient");
        assert_eq!(blame("put there", &by, root.path()), "; probably by dhclient (process 99)");
    }

    #[test]
    fn long_lists_say_how_many_more() {
        let objects: Vec<String> = (0..6).map(|number| format!("o{number}")).collect();
        assert_eq!(list(&objects), "o0, o1, o2, o3 and 2 more");
        assert_eq!(list(&objects[..1]), "o0");
    }
}
