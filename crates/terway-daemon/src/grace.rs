//! Begins one of the kernel's grace periods (RCU) early, where that makes an ADD shorter.
//!
//! The move of a NIC waits until the readers of all that was put off before it are done. The start of a plugin has put
//! something off, and the next tick of the clock begins a period for that. If the tick comes before the move, the move waits
//! for the rest of this period, two ticks long, and for a whole one of its own. A period that was begun before the tick
//! ends one tick earlier, and with its end the move's begins. If no tick comes before the move, all wait for the same period.
//!
//! So it counts how soon after a plugin connects a period is begun: a thread of its own waits for that, which goes first of
//! all in the daemon's cpu group. A plugin in another group may go on before it for as long as the kernel lets it.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_getres, clock_gettime};
use rustix::process::setpriority_process;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::arrivals::{Arrivals, Ends};

/// From when a plugin is accepted to its answer, in microseconds, until that has been learned: machines and disks differ.
const TO_THE_ANSWER: u32 = 1_400;
/// How long it took to accept it, and from its answer to where its move waits.
const AROUND_IT: Duration = Duration::from_micros(600);
/// Whoever waited longer had no ENI at hand.
const AT_HAND: Duration = Duration::from_millis(10);
/// So far, in microseconds, one answer moves what is known: by how much it was off says nothing, and half of them are later.
const STEP: u32 = 50;
/// Before all of its cpu group who have not asked for it. Takes CAP_SYS_NICE.
const FIRST: i32 = -20;
/// A period is asked for with little.
const STACK: usize = 64 << 10;
/// Says whether to wait for a period begins one; where it does not, the next tick does.
const BEGUN_BY_A_WAIT: &str = "/sys/module/rcutree/parameters/rcu_normal_wake_from_gp";

/// What it takes from connecting to a move.
#[derive(Debug)]
pub struct Grace {
    to_the_answer: AtomicU32,
    /// How many wait for an answer.
    under_way: AtomicU32,
}

/// A plugin that waits for its answer.
#[derive(Debug)]
pub struct Call<'a> {
    grace: &'a Grace,
    alone: bool,
}

impl Default for Grace {
    fn default() -> Self {
        let [to_the_answer, under_way] = [TO_THE_ANSWER, 0].map(AtomicU32::new);
        Self { to_the_answer, under_way }
    }
}

impl Call<'_> {
    /// An ENI was given, so long after the plugin was accepted. Of a crowd only the first counts: the others wait for each
    /// other.
    pub fn answered(self, after: Duration) {
        if self.alone && after < AT_HAND {
            let known = self.grace.to_the_answer.load(Ordering::Relaxed);
            let later = after > Duration::from_micros(known.into());
            let learned = if later { known + STEP } else { known.saturating_sub(STEP) };
            self.grace.to_the_answer.store(learned, Ordering::Relaxed);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.grace.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Grace {
    /// Somebody asks for an ENI.
    pub fn call(&self) -> Call<'_> {
        Call { grace: self, alone: self.under_way.fetch_add(1, Ordering::Relaxed) == 0 }
    }

    /// From when a plugin is accepted to its answer, in the middle.
    pub fn to_the_answer(&self) -> Duration {
        Duration::from_micros(self.to_the_answer.load(Ordering::Relaxed).into())
    }

    /// Whether a tick comes before the move of somebody who connects now, if an ENI is at hand for him.
    fn tick_comes_before_the_move(&self, now: Duration, distance: Duration) -> bool {
        let to_the_move = self.to_the_answer() + AROUND_IT;
        // Ticks come at whole multiples of their distance (since Linux 6.4).
        let passed = now.as_nanos().checked_rem(distance.as_nanos());
        passed.is_some_and(|passed| distance.as_nanos() - passed < to_the_move.as_nanos())
    }

    /// For whoever connects to the listener, as long as what is returned is kept and until `moves` says that no NIC is ever
    /// moved here. Nothing is done where the kernel begins periods with ticks only.
    pub fn watch<M>(self: &Arc<Self>, listener: impl AsFd, moves: M) -> io::Result<Option<Ends>>
    where
        M: Fn() -> Option<bool> + Send + 'static,
    {
        let begins = fs::read(BEGUN_BY_A_WAIT).is_ok_and(|said| said.starts_with(b"1"));
        begins.then(|| self.begin(listener, moves, tick, wait_for_a_period)).transpose()
    }

    fn begin<M, T, B>(self: &Arc<Self>, listener: impl AsFd, moves: M, tick: T, begin: B) -> io::Result<Ends>
    where
        M: Fn() -> Option<bool> + Send + 'static,
        T: Fn() -> Option<(Duration, Duration)> + Send + 'static,
        B: Fn() + Send + 'static,
    {
        let (arrivals, ends) = Arrivals::at(listener)?;
        let grace = Arc::clone(self);
        thread::Builder::new().name("grace".to_owned()).stack_size(STACK).spawn(move || {
            // Of this thread alone.
            if let Err(error) = setpriority_process(None, FIRST) {
                tracing::debug!(%error, "grace periods begin a little later: their thread has no priority");
            }
            let comes =
                || tick().is_some_and(|(now, distance)| grace.tick_comes_before_the_move(now, distance));
            while arrivals.next() {
                match moves() {
                    // Nobody shall be woken for nothing.
                    Some(false) => return,
                    Some(true) if comes() => begin(),
                    _ => {}
                }
            }
        })?;
        Ok(ends)
    }
}

/// The time on the clock that ticks go by, and the distance between them.
fn tick() -> Option<(Duration, Duration)> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    Some((now.into(), clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?.into()))
}

/// Begins one, and waits for its end. Whoever connects meanwhile is looked at afterwards: the end comes with a tick, so the
/// next is as far away as can be, and nothing is begun for him.
fn wait_for_a_period() {
    // Where it is refused nothing is begun, and moves take their time.
    let _ = membarrier(MembarrierCommand::Global);
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::time::Instant;

    use super::*;

    const DISTANCE: Duration = Duration::from_millis(4);
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_tick_comes_at_each_multiple_of_their_distance() {
        let grace = Grace::default();
        let comes = |micros| grace.tick_comes_before_the_move(Duration::from_micros(micros), DISTANCE);
        assert!(!comes(4_000_000), "it has just come");
        assert!(!comes(4_002_000));
        assert!(comes(4_002_001));
        assert!(comes(4_003_999));
        let second = Duration::from_secs(1);
        assert!(!grace.tick_comes_before_the_move(second, Duration::ZERO), "a clock without a distance");
    }

    #[test]
    fn the_way_to_the_move_is_learned_from_those_who_did_not_wait() {
        let grace = Grace::default();
        let known = grace.to_the_answer();
        grace.call().answered(Duration::from_secs(2));
        assert_eq!(grace.to_the_answer(), known);
        for [most, few] in [[900, 9_000], [2_900, 100]] {
            for micros in [most, most, most, few].into_iter().cycle().take(400) {
                grace.call().answered(Duration::from_micros(micros));
            }
            let off = grace.to_the_answer().abs_diff(Duration::from_micros(most));
            assert!(off < Duration::from_micros(150), "{off:?} from what most take");
        }
        let comes = |micros| grace.tick_comes_before_the_move(Duration::from_micros(micros), DISTANCE);
        assert_eq!((comes(4_000_000), comes(4_000_700)), (false, true));
    }

    #[test]
    fn a_crowd_teaches_no_more_than_one() {
        let grace = Grace::default();
        let known = grace.to_the_answer();
        let crowd: Vec<_> = (0..50).map(|_| grace.call()).collect();
        for call in crowd {
            call.answered(Duration::from_millis(9));
        }
        assert_eq!(grace.to_the_answer(), known + Duration::from_micros(STEP.into()));
        grace.call().answered(Duration::ZERO);
        assert_eq!(grace.to_the_answer(), known, "who comes after them is alone again");
    }

    /// A listener in a folder, and the way to connect to it and wait until that was seen.
    struct Door {
        folder: tempfile::TempDir,
        listener: UnixListener,
        seen: Arc<AtomicBool>,
    }

    impl Door {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
            Self { folder, listener, seen: Arc::default() }
        }

        fn connect(&self) -> UnixStream {
            self.seen.store(false, Ordering::Release);
            let theirs = UnixStream::connect(self.folder.path().join("socket")).unwrap();
            let start = Instant::now();
            while !self.seen.load(Ordering::Acquire) {
                assert!(start.elapsed() < LONG, "nobody hears of arrivals");
                thread::yield_now();
            }
            theirs
        }
    }

    #[test]
    fn a_period_begins_for_who_connects_before_a_tick() {
        let (door, now) = (Door::open(), Arc::new(AtomicU64::new(3_999)));
        let (clock, seen) = (Arc::clone(&now), Arc::clone(&door.seen));
        let tick = move || {
            let now = Duration::from_micros(clock.load(Ordering::Acquire));
            seen.store(true, Ordering::Release);
            Some((now, DISTANCE))
        };
        let (begin, begun) = mpsc::channel();
        let begin = move || begin.send(()).unwrap();
        let ends = Arc::new(Grace::default()).begin(&door.listener, || Some(true), tick, begin).unwrap();
        let _before_a_tick = door.connect();
        begun.recv_timeout(LONG).unwrap();
        now.store(100, Ordering::Release);
        let _after_it = door.connect();
        drop(ends);
        assert_eq!(begun.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected), "nothing else began");
    }

    #[test]
    fn none_begins_before_it_is_known_that_nics_move_and_nobody_waits_where_none_does() {
        let (door, known) = (Door::open(), Arc::new(AtomicBool::new(false)));
        let (mode, seen) = (Arc::clone(&known), Arc::clone(&door.seen));
        let moves = move || {
            let known = mode.load(Ordering::Acquire);
            seen.store(true, Ordering::Release);
            known.then_some(false)
        };
        let (begin, begun) = mpsc::channel();
        let begin = move || begin.send(()).unwrap();
        let before_a_tick = || Some((Duration::from_micros(3_999), DISTANCE));
        let _ends = Arc::new(Grace::default()).begin(&door.listener, moves, before_a_tick, begin).unwrap();
        let _too_early = door.connect();
        known.store(true, Ordering::Release);
        let _in_vain = door.connect();
        assert_eq!(begun.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected), "the thread has ended");
    }

    #[test]
    fn the_clock_of_ticks_is_told() {
        let (now, distance) = tick().unwrap();
        assert!(now > Duration::ZERO && distance > Duration::ZERO && distance <= Duration::from_millis(10));
    }
}
