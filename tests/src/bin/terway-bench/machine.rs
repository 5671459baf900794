//! The machine that is measured on: what it is, whether something else keeps it busy, and on which of its processors
//! what is measured runs.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// When others keep the processors busy for more than this share of the time, the machine is not quiet.
const QUIET: f64 = 0.05;
/// How long is looked at them. The load average would tell of the build before a run.
const LOOK: Duration = Duration::from_secs(3);
/// What a tick of `/proc/stat` stands for: the kernel's `USER_HZ`, part of its ABI.
const TICK: Duration = Duration::from_millis(10);

/// What a reader of the figures wants to know.
pub(crate) struct Machine {
    emulated: bool,
    processor: String,
    processors: usize,
    memory_gib: f64,
    kernel: String,
    /// The share of their time for which others kept the processors busy, before the first and after the last measurement.
    others: Vec<f64>,
}

impl Machine {
    /// As it is now: before the first measurement, with nothing of ours running.
    pub(crate) fn look() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("failed to read {path}"));
        let cpus = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        let kib: f64 =
            field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0.0);
        let mut machine = Self {
            emulated: field(&cpus, "vendor_id") == Some("User Mode Linux"),
            processor: field(&cpus, "model name").unwrap_or("processor without a name").to_owned(),
            processors: allowed()?.len(),
            memory_gib: kib / 1024.0 / 1024.0,
            kernel: version(&read("/proc/sys/kernel/osrelease")?).to_owned(),
            others: Vec::new(),
        };
        machine.look_again()?;
        Ok(machine)
    }

    /// After the last measurement, with nothing of ours running.
    pub(crate) fn look_again(&mut self) -> Result<()> {
        let (before, began) = (busy()?, Instant::now());
        thread::sleep(LOOK);
        #[expect(clippy::cast_precision_loss, reason = "a few processors")]
        let all = began.elapsed().as_secs_f64() * self.processors as f64;
        self.others.push(busy()?.saturating_sub(before).as_secs_f64() / all);
        Ok(())
    }

    /// Whether it is a guest of the lab: an ordinary program, whose times say nothing about a kernel's.
    pub(crate) const fn is_emulated(&self) -> bool {
        self.emulated
    }

    /// What it is, in a line.
    pub(crate) fn line(&self) -> String {
        let Self { processor, memory_gib, kernel, others, .. } = self;
        let processors = match self.processors {
            1 => "1 processor".to_owned(),
            several => format!("{several} processors"),
        };
        let digits = usize::from(*memory_gib < 1.0);
        let alone = if others.iter().all(|share| *share <= QUIET) {
            ""
        } else {
            ", so it was NOT alone: the times say little"
        };
        let others: Vec<_> = others.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        format!(
            "{processor}, {processors}, {memory_gib:.digits$} GiB, Linux {kernel}; kept busy by others {} before and after{alone}",
            others.join(" and ")
        )
    }

    /// For the record.
    pub(crate) fn json(&self) -> Value {
        json!({
            "processor": self.processor, "processors": self.processors, "memory_gib": self.memory_gib,
            "kernel": self.kernel, "busy_by_others": self.others,
        })
    }

    /// A warning where an older record is of another machine: only its ratios are to be compared then. Memory is not the
    /// same twice on one machine.
    pub(crate) fn differs_from(&self, older: &Value) -> Option<String> {
        let now = self.json();
        let differs = ["processor", "processors", "kernel"].into_iter().filter(|key| now[key] != older[key]);
        let told: Vec<_> = differs.map(|key| format!("{key} {}, then {}", now[key], older[key])).collect();
        (!told.is_empty()).then(|| {
            format!("the baseline is of another machine ({}): compare ratios only\n", told.join("; "))
        })
    }

    /// How the figures came about, for people.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}.\n\
             Calls that are compared ran in turns, pinned to one processor with all that they start; senders and receivers\n\
             to one each; what is measured at once, and the daemon, ran where the kernel put them.\n",
            self.line()
        )
    }
}

/// The rest of the first line with this name.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim())
}

/// The numbers of a kernel's release, without what a distribution adds.
fn version(release: &str) -> &str {
    release.trim().split('-').next().unwrap_or_default()
}

/// The processors this thread may use.
fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("failed to ask for the processors")?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Which end of the list of processors: two who talk to each other take one each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    First,
    Last,
}

/// Keeps this thread, and whatever it starts from now on, on one processor.
pub(crate) fn pin(end: End) -> Result<()> {
    let all = allowed()?;
    let cpu = match end {
        End::First => all.first(),
        End::Last => all.last(),
    };
    set(&[*cpu.context("no processor is left to this thread")?])
}

fn set(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).context("a processor beyond the kernel's range")?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("failed to choose processors")
}

/// Does some work pinned to one processor, with all the programs that it starts.
pub(crate) fn pinned<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = allowed()?;
    pin(End::Last)?;
    let outcome = work();
    set(&before)?;
    outcome
}

/// How long all processors together were busy since the machine started, whoever kept them so: also for the kernel's own
/// threads and interrupts, which nobody's process is charged for.
pub(crate) fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("failed to read /proc/stat")?;
    let ticks = busy_ticks(&text).context("/proc/stat has no line about all processors")?;
    Ok(TICK * ticks)
}

/// user, nice, system, irq and softirq; not idle, iowait, and what a hypervisor gave to others.
fn busy_ticks(stat: &str) -> Option<u32> {
    let numbers: Vec<u32> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .filter_map(|text| text.parse().ok())
        .collect();
    [0, 1, 2, 5, 6].iter().map(|at| numbers.get(*at)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_pinned_with_what_it_starts_and_not_for_longer() {
        let outcome = thread::spawn(|| {
            let before = allowed()?;
            let during = pinned(|| thread::spawn(allowed).join().expect("no panic"))?;
            Ok::<_, anyhow::Error>((before, during, allowed()?))
        });
        let (before, during, after) = outcome.join().expect("no panic").expect("processors");
        assert_eq!(during, [*before.last().expect("a processor")]);
        assert_eq!(before, after);
    }

    #[test]
    fn busy_is_all_but_idle_waiting_and_stolen() {
        assert_eq!(busy_ticks("cpu  1 10 100 7777 7777 1000 10000 7777 0 0\ncpu0 1 1"), Some(11_111));
        assert_eq!(busy_ticks("cpu  1 10"), None);
    }

    #[test]
    fn a_baseline_of_another_machine_is_told() {
        let machine = Machine::look().expect("a machine");
        let mut older = machine.json();
        assert_eq!(machine.differs_from(&older), None);
        older["kernel"] = json!("2.4.0");
        let told = machine.differs_from(&older).expect("another kernel");
        assert!(told.contains("then \"2.4.0\"") && !told.contains("processor"), "{told}");
    }

    #[test]
    fn a_busy_machine_is_told() {
        let mut machine = Machine::look().expect("a machine");
        assert_eq!(machine.others.len(), 1);
        machine.others = vec![0.01, 0.02];
        assert!(
            machine.line().ends_with("kept busy by others 1 % and 2 % before and after"),
            "{}",
            machine.line()
        );
        machine.others[1] = 0.4;
        assert!(
            machine.line().contains("1 % and 40 % before and after, so it was NOT alone"),
            "{}",
            machine.line()
        );
        assert!(machine.text().contains(&machine.kernel) && machine.processors > 0);
        assert_eq!(version("6.18.44-generic\n"), "6.18.44");
    }
}
