//! The last lines a command printed, kept while they pass by: a summary at the end of a long log can then say why a stage
//! failed, where nobody scrolls up or the log was cut.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines kept of what was printed.
const KEPT: usize = 2000;
/// Lines of an excerpt, at most.
const SHOWN: usize = 60;
/// How long the output may stay open after the command ended: something it left behind may hold it for ever.
const LEFT_OPEN: Duration = Duration::from_secs(5);

/// What was printed last, on both streams in the order of arrival.
type Lines = Arc<Mutex<VecDeque<String>>>;

/// Runs a command to its end, passes on what it prints and gives its last lines.
pub(crate) fn run(command: &mut Command) -> io::Result<(ExitStatus, Vec<String>)> {
    run_and_wait(command, LEFT_OPEN)
}

fn run_and_wait(command: &mut Command, left_open: Duration) -> io::Result<(ExitStatus, Vec<String>)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let lines = Lines::default();
    let (ended, ends) = mpsc::channel();
    pass_on(&mut child, &lines, &ended);
    drop(ended);
    let status = child.wait()?;
    // Each stream that closes sends one; the channel closes with the last.
    while ends.recv_timeout(left_open).is_ok() {}
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((status, lines.iter().cloned().collect()))
}

fn pass_on(child: &mut Child, lines: &Lines, ended: &Sender<()>) {
    if let Some(stdout) = child.stdout.take() {
        keep(stdout, io::stdout(), lines, ended);
    }
    if let Some(stderr) = child.stderr.take() {
        keep(stderr, io::stderr(), lines, ended);
    }
}

fn keep(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    lines: &Lines,
    ended: &Sender<()>,
) {
    let (lines, ended) = (Arc::clone(lines), ended.clone());
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
            // Whoever closed our output still wants the command to end.
            let _ = to.write_all(&line).and_then(|()| to.flush());
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            if lines.len() > KEPT {
                lines.pop_front();
            }
            line.clear();
        }
        let _ = ended.send(());
    });
}

/// The lines that say why: what failing tests printed, else a compiler's errors, else the last ones.
pub(crate) fn excerpt(lines: &[String]) -> &[String] {
    let starts = |prefix: &str| lines.iter().position(|line| line.starts_with(prefix));
    let from = starts("---- ").or_else(|| starts("error")).unwrap_or(lines.len().saturating_sub(SHOWN / 2));
    &lines[from..lines.len().min(from + SHOWN)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_is_heard_on_both_streams() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let (status, mut said) = run(&mut command).unwrap();
        said.sort();
        assert_eq!((status.code(), said), (Some(3), lines("one\ntwo")));
    }

    #[test]
    fn what_a_command_leaves_behind_does_not_hold_us() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!"]);
        let (status, said) = run_and_wait(&mut command, Duration::from_millis(100)).unwrap();
        assert!(status.success());
        let stopped = Command::new("kill").arg(&said[0]).status().unwrap();
        assert!(stopped.success(), "it should still have been running");
    }

    #[test]
    fn the_failing_tests_come_first_then_the_compiler_then_the_end() {
        let long = "test a ... ok\n".repeat(500);
        let tests =
            lines(&format!("{long}error: a warning of cargo\nfailures:\n\n---- growth::flat ----\n8 != 9\n"));
        assert_eq!(excerpt(&tests), lines("---- growth::flat ----\n8 != 9"));
        let compiler = lines(&format!("{long}error[E0308]: mismatched types\n  --> src/lib.rs"));
        assert_eq!(excerpt(&compiler), lines("error[E0308]: mismatched types\n  --> src/lib.rs"));
        assert_eq!(excerpt(&lines(&long)).len(), SHOWN / 2);
        assert_eq!(excerpt(&lines("short")), lines("short"));
    }
}
