//! Where the time of a call went: each part of a verb says that it has ended, and the plugin adds a line of JSON to the
//! file named by `TERWAY_TIMELINE`. Without that variable nothing is kept and no clock is read.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use terway_datapath::apply::Step;
use terway_datapath::kernel::{Traffic, traffic};

/// The variable with the file's path.
pub(crate) const VARIABLE: &str = "TERWAY_TIMELINE";

thread_local! {
    static TIMELINE: RefCell<Option<Timeline>> = const { RefCell::new(None) };
}

struct Timeline {
    file: PathBuf,
    verb: String,
    started: Duration,
    last: Instant,
    traffic: Traffic,
    parts: Vec<(&'static str, Duration)>,
}

/// Begins, if there is a file to write to.
pub(crate) fn begin(file: Option<PathBuf>, verb: &str) {
    let Some(file) = file else { return };
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timeline = Timeline {
        file,
        verb: verb.to_owned(),
        started,
        last: Instant::now(),
        traffic: Traffic::default(),
        parts: Vec::new(),
    };
    TIMELINE.replace(Some(timeline));
}

/// The time since the part before belongs to this one. Parts of the same name are added up.
pub(crate) fn until(part: &'static str) {
    TIMELINE.with_borrow_mut(|timeline| {
        if let Some(timeline) = timeline {
            timeline.add(part, Instant::now());
        }
    });
}

/// Tells the steps of an apply apart: to be called as each begins. What comes before the first is `look`, the last one
/// is for the caller to end.
pub(crate) fn steps() -> impl Fn(Step) -> Result<(), String> {
    let running = Cell::new("look");
    move |step| {
        until(running.replace(name(step)));
        Ok(())
    }
}

/// What a step is called here.
pub(crate) fn name(step: Step) -> &'static str {
    match step {
        Step::NodeSwitches => "node_switches",
        Step::Links => "links",
        Step::LinkSwitches => "link_switches",
        Step::Pod => "pod",
        Step::Host => "host",
        Step::Loopback => "loopback",
    }
}

/// Ends with the last part, and writes.
pub(crate) fn end(part: &'static str) {
    until(part);
    let Some(mut timeline) = TIMELINE.take() else { return };
    timeline.traffic = traffic();
    if let Err(error) = timeline.write() {
        eprintln!("terway: failed to write to {} of {VARIABLE}: {error}", timeline.file.display());
    }
}

impl Timeline {
    fn add(&mut self, part: &'static str, now: Instant) {
        let spent = now.saturating_duration_since(self.last);
        self.last = now;
        match self.parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, sum)) => *sum += spent,
            None => self.parts.push((part, spent)),
        }
    }

    fn line(&self) -> String {
        let mut line = format!(
            r#"{{"verb":"{}","started_unix_us":{}"#,
            self.verb.escape_default(),
            self.started.as_micros()
        );
        for (name, spent) in &self.parts {
            let _ = write!(line, r#","{name}_us":{}"#, spent.as_micros());
        }
        let Traffic { requests, reply_bytes } = self.traffic;
        let _ = writeln!(line, r#","netlink_requests":{requests},"netlink_reply_bytes":{reply_bytes}}}"#);
        line
    }

    /// In one write, so that lines of plugins at work at the same time do not mix.
    fn write(&self) -> io::Result<()> {
        File::options().create(true).append(true).open(&self.file)?.write_all(self.line().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_every_part_once_in_order() {
        let start = Instant::now();
        let mut timeline = Timeline {
            file: PathBuf::new(),
            verb: "ADD".to_owned(),
            started: Duration::from_micros(1_700_000_000_000_007),
            last: start,
            traffic: Traffic { requests: 19, reply_bytes: 11_205 },
            parts: Vec::new(),
        };
        for (part, at) in [("connect", 300), ("daemon", 1500), ("connect", 1600)] {
            timeline.add(part, start + Duration::from_micros(at));
        }
        assert_eq!(
            timeline.line(),
            "{\"verb\":\"ADD\",\"started_unix_us\":1700000000000007,\"connect_us\":400,\"daemon_us\":1200,\
             \"netlink_requests\":19,\"netlink_reply_bytes\":11205}\n"
        );
    }

    #[test]
    fn without_a_file_nothing_is_kept() {
        begin(None, "ADD");
        until("connect");
        end("print");
        assert!(TIMELINE.take().is_none());
    }

    #[test]
    fn steps_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("timeline");
        begin(Some(file.clone()), "ADD");
        let before = steps();
        before(Step::Links).unwrap();
        before(Step::Pod).unwrap();
        until("pod");
        end("print");
        let line = std::fs::read_to_string(file).unwrap();
        let parts: Vec<&str> = line.split('"').filter(|word| word.ends_with("_us")).collect();
        assert_eq!(parts, ["started_unix_us", "look_us", "links_us", "pod_us", "print_us"]);
    }
}
