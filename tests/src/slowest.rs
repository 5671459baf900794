//! Which scenarios took longest: told after a run, so that one that waits in vain does not hide among hundreds.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many are named.
const NAMED: usize = 10;

static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Does something and remembers how long it took.
pub fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let outcome = work();
    if let Ok(mut times) = TIMES.lock() {
        times.push((begin.elapsed(), name.to_owned()));
    }
    outcome
}

/// Names the slowest of this run on standard error.
pub fn tell() {
    let times = TIMES.lock().map(|times| times.clone()).unwrap_or_default();
    if times.len() > NAMED {
        eprintln!("\nthe slowest, of {:.0} s together:\n{}", total(&times), named(times));
    }
}

fn total(times: &[(Duration, String)]) -> f64 {
    times.iter().map(|(time, _)| time.as_secs_f64()).sum()
}

fn named(mut times: Vec<(Duration, String)>) -> String {
    times.sort_unstable_by(|left, right| right.cmp(left));
    let line = |(time, name): &(Duration, String)| format!("{:>7.1} s  {name}\n", time.as_secs_f64());
    times.iter().take(NAMED).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_come_first_and_only_a_few_are_named() {
        let times = (1..=20).map(|number| (Duration::from_secs(number), format!("story {number}"))).collect();
        let text = named(times);
        assert_eq!(text.lines().count(), NAMED);
        assert_eq!(text.lines().next(), Some("   20.0 s  story 20"));
    }

    #[test]
    fn what_is_timed_is_done() {
        assert_eq!(timed("a", || 7), 7);
        assert!(TIMES.lock().expect("no panic").iter().any(|(_, name)| name == "a"));
    }
}
