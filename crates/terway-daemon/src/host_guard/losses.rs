//! What got lost how often, and so when it may be put back: the first few times at once, then after pauses that
//! double. Two programs that undo each other's work as fast as they can help nobody.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// So often an object is put back at once.
const FREE: u32 = 3;
/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// An object that stays for so long after its last repair is forgotten.
const QUIET: Duration = Duration::from_mins(2);

/// What to do about an object that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Put it back.
    Repair,
    /// Not before then; `news` if nobody was told yet.
    Wait {
        /// When.
        until: Instant,
        /// Whether this pause has just begun.
        news: bool,
    },
}

#[derive(Debug)]
struct Loss {
    repairs: u32,
    last: Instant,
    told: u32,
}

/// Every object that was put back lately, by whose it is and its name.
#[derive(Debug)]
pub(super) struct Losses<K> {
    lost: HashMap<(K, String), Loss>,
}

impl<K> Default for Losses<K> {
    fn default() -> Self {
        Self { lost: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Losses<K> {
    /// What to do about an object that is missing now.
    pub(super) fn judge(&mut self, key: &K, object: &str, now: Instant) -> Verdict {
        self.lost.retain(|_, loss| now.saturating_duration_since(loss.last) < pause(loss.repairs) + QUIET);
        let Some(loss) = self.lost.get_mut(&(key.clone(), object.to_owned())) else { return Verdict::Repair };
        let until = loss.last + pause(loss.repairs);
        if now >= until {
            return Verdict::Repair;
        }
        let news = loss.told < loss.repairs;
        loss.told = loss.repairs;
        Verdict::Wait { until, news }
    }

    /// It was put back.
    pub(super) fn repaired(&mut self, key: &K, object: &str, now: Instant) {
        let loss = self.lost.entry((key.clone(), object.to_owned()));
        let loss = loss.or_insert(Loss { repairs: 0, last: now, told: 0 });
        loss.repairs += 1;
        loss.last = now;
    }
}

/// How long an object put back so often has to wait for the next time.
fn pause(repairs: u32) -> Duration {
    let Some(doublings) = repairs.checked_sub(FREE) else { return Duration::ZERO };
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use terway_types::{AttachmentKey, ContainerId, IfName, NetworkName};

    use super::*;

    fn key() -> AttachmentKey {
        AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new("c0ffee").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    const OBJECT: &str = "route 10.0.0.1 dev cali1";

    #[test]
    fn the_first_times_at_once_then_after_pauses_that_double() {
        let (mut losses, key, mut now) = (Losses::default(), key(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(losses.judge(&key, OBJECT, now), Verdict::Repair);
            losses.repaired(&key, OBJECT, now);
        }
        for seconds in [10, 20, 40, 80, 160, 320, 600, 600] {
            let until = now + Duration::from_secs(seconds);
            assert_eq!(losses.judge(&key, OBJECT, now), Verdict::Wait { until, news: true });
            assert_eq!(losses.judge(&key, OBJECT, now), Verdict::Wait { until, news: false }, "told once");
            now = until;
            assert_eq!(losses.judge(&key, OBJECT, now), Verdict::Repair);
            losses.repaired(&key, OBJECT, now);
        }
        assert_eq!(losses.judge(&key, "another object", now), Verdict::Repair);
    }

    #[test]
    fn what_stays_is_forgotten() {
        let (mut losses, key, now) = (Losses::default(), key(), Instant::now());
        for _ in 0..=FREE {
            losses.repaired(&key, OBJECT, now);
        }
        let later = now + pause(FREE + 1) + QUIET;
        assert_eq!(losses.judge(&key, OBJECT, later), Verdict::Repair);
        assert!(losses.lost.is_empty());
    }
}
