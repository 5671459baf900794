//! Begins one of the kernel's grace periods (RCU) early, where that makes an ADD shorter.
//!
//! The move of a NIC waits until the readers of all that was put off before it are done. The start of a plugin has put
//! something off, and the next tick of the clock begins a period for that. If the tick comes before the move, the move waits
//! for the rest of this period, two ticks long, and for a whole one of its own. A period that was begun before the tick
//! ends one tick earlier, and with its end the move's begins. If no tick comes before the move, all wait for the same period.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_getres, clock_gettime};
use rustix::thread::{MembarrierCommand, membarrier};

/// How long it takes from when a plugin connects to its move, if the ENI is at hand.
const TO_THE_MOVE: Duration = Duration::from_micros(1_600);
/// Says whether to wait for a period begins one; where it does not, the next tick does.
const BEGUN_BY_A_WAIT: &str = "/sys/module/rcutree/parameters/rcu_normal_wake_from_gp";

/// Whoever begins periods, one at a time.
#[derive(Debug, Default)]
pub struct Grace {
    waits: Arc<AtomicBool>,
    is_begun_by_a_wait: OnceLock<bool>,
}

impl Grace {
    /// Begins a period if a tick comes before the move of a NIC that is soon to be moved. Nobody waits for its end.
    pub fn begin_before_a_tick(&self) {
        if !tick().is_some_and(|(now, distance)| comes_before_the_move(now, distance)) || !self.can_begin() {
            return;
        }
        if !self.waits.swap(true, Ordering::Relaxed) {
            let waits = Arc::clone(&self.waits);
            // A thread that ends: one of the runtime's would stay, and be memory.
            let waiter = thread::Builder::new().name("grace".to_owned()).stack_size(64 << 10);
            let begun = waiter.spawn(move || {
                // Where it is refused nothing is begun, and moves take their time.
                let _ = membarrier(MembarrierCommand::Global);
                waits.store(false, Ordering::Relaxed);
            });
            if begun.is_err() {
                self.waits.store(false, Ordering::Relaxed);
            }
        }
    }

    fn can_begin(&self) -> bool {
        let look = || fs::read(BEGUN_BY_A_WAIT).is_ok_and(|said| said.starts_with(b"1"));
        *self.is_begun_by_a_wait.get_or_init(look)
    }
}

/// The time on the clock that ticks go by, and the distance between them.
fn tick() -> Option<(Duration, Duration)> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    Some((now.into(), clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?.into()))
}

/// Ticks come at whole multiples of their distance (since Linux 6.4).
fn comes_before_the_move(now: Duration, distance: Duration) -> bool {
    let passed = now.as_nanos().checked_rem(distance.as_nanos());
    passed.is_some_and(|passed| distance.as_nanos() - passed < TO_THE_MOVE.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_comes_at_each_multiple_of_their_distance() {
        let distance = Duration::from_millis(4);
        let comes = |micros| comes_before_the_move(Duration::from_micros(micros), distance);
        assert!(!comes(4_000_000), "it has just come");
        assert!(!comes(4_002_400));
        assert!(comes(4_002_401));
        assert!(comes(4_003_999));
        assert!(!comes_before_the_move(Duration::from_secs(1), Duration::ZERO), "a clock without a distance");
    }

    #[test]
    fn one_waits_at_a_time_and_another_one_after_it() {
        let grace = Grace { is_begun_by_a_wait: OnceLock::from(true), ..Grace::default() };
        for _ in 0..2 {
            while !grace.waits.load(Ordering::Relaxed) {
                grace.begin_before_a_tick();
                thread::yield_now();
            }
            while grace.waits.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        }
    }
}
