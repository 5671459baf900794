//! What was seen before anybody knew whether it would be needed, and for how long it may be counted on.

use std::time::{Duration, Instant};

/// What was seen earlier is looked at again. An answer out of the daemon's pool takes milliseconds, on a busy node some
/// hundred, and to look twice would cost those for nothing. One that waited for the cloud takes seconds, in which others
/// may have been at work.
const FRESH: Duration = Duration::from_millis(500);

/// Something that was seen, and since when it may have changed.
#[derive(Debug)]
pub struct Seen<T> {
    what: T,
    since: Instant,
}

impl<T> Seen<T> {
    /// Looks.
    pub fn by<E>(look: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        let since = Instant::now();
        look().map(|what| Self { what, since })
    }

    /// What was seen then.
    pub fn then(&self) -> &T {
        &self.what
    }

    /// What was seen, if that is not long ago.
    pub fn fresh(self) -> Option<T> {
        (self.since.elapsed() < FRESH).then_some(self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_long_ago_is_forgotten() {
        let seen = Seen::by(|| Ok::<_, ()>(7)).unwrap();
        let old = Seen { what: 7, since: seen.since.checked_sub(FRESH).unwrap() };
        assert_eq!((*seen.then(), *old.then()), (7, 7));
        assert_eq!((seen.fresh(), old.fresh()), (Some(7), None));
    }
}
