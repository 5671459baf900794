//! What has been heard and not looked into yet. It is bounded: of very many touched things, nobody is told apart any more.

use std::collections::HashSet;
use std::pin::pin;

use terway_datapath::interference::{Interference, Touch, Touched};

/// So many touched things are told apart. A node has some hundred attachments, and each a few addresses.
const TOLD_APART: usize = 1024;
/// So many processes are remembered, to be named.
const PROCESSES: usize = 64;

/// What has been heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) touched: HashSet<Touched>,
    /// Whether ENIs may have got what they should not have.
    pub(super) enis: bool,
    pub(super) by: HashSet<u32>,
}

impl Heard {
    /// As if everything had been touched.
    pub(super) fn everything() -> Self {
        Self { touched: HashSet::from([Touched::Anything]), ..Self::default() }
    }

    /// Whether nothing has been heard.
    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Takes note of a touch.
    pub(super) fn note(&mut self, touch: Touch) {
        self.add(touch.what);
        if self.by.len() < PROCESSES {
            self.by.extend(touch.by);
        }
    }

    /// One thing more to look into.
    pub(super) fn add(&mut self, what: Touched) {
        // What concerns everybody leaves nothing to tell apart.
        if self.touched.contains(&Touched::Anything) {
            return;
        }
        if what == Touched::Anything || self.touched.len() >= TOLD_APART {
            self.touched.clear();
            self.touched.insert(Touched::Anything);
        } else {
            self.touched.insert(what);
        }
    }

    /// Goes on hearing while something else is done: what nobody takes is lost in the end, and then everybody has to be
    /// looked at.
    pub(super) async fn meanwhile<T>(
        &mut self,
        interference: &mut Interference,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(touch) = interference.next() => self.note(touch),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn pod(number: u32) -> Touched {
        Touched::Pod(IpAddr::V4(Ipv4Addr::from(number)))
    }

    #[test]
    fn a_burst_takes_bounded_room_and_then_concerns_everybody() {
        let mut heard = Heard::default();
        for number in 0..5000 {
            heard.note(Touch { what: pod(number % 100), by: Some(7) });
        }
        assert_eq!((heard.touched.len(), heard.by.len()), (100, 1), "each is told once");
        for number in 0..5000 {
            heard.note(Touch { what: pod(number), by: Some(number) });
        }
        assert_eq!(heard.touched, HashSet::from([Touched::Anything]));
        assert_eq!(heard.by.len(), PROCESSES);
        assert!(heard.touched.capacity() < 4 * TOLD_APART, "{}", heard.touched.capacity());
    }

    #[test]
    fn who_looks_at_everything_looks_at_no_one_apart() {
        let mut heard = Heard::default();
        for what in [pod(1), Touched::Anything, pod(2)] {
            heard.add(what);
        }
        assert_eq!(heard.touched, Heard::everything().touched);
    }
}
