//! What has been heard and not looked into yet. It is bounded: of very many touched things, nobody is told apart any more.

use std::collections::HashSet;
use std::iter;
use std::pin::pin;

use terway_datapath::interference::{Interference, Touch, Touched};

use super::round::{Memory, Report};

/// So many touched things are told apart. A node has some hundred attachments, and each a few addresses.
const TOLD_APART: usize = 1024;
/// So many processes are remembered, to be named.
const PROCESSES: usize = 64;
/// So many touches are taken without waiting: no flood keeps what a round found from being told.
const BY_THEN: usize = 10_000;

/// Where touches are heard.
pub(super) trait Ears {
    /// Waits for the next; none if nothing more is heard. Cancel safe.
    async fn next(&mut self) -> Option<Touch>;
    /// The next of those told by now.
    fn told_by_now(&mut self) -> Option<Touch>;
}

impl Ears for Interference {
    async fn next(&mut self) -> Option<Touch> {
        Self::next(self).await
    }

    fn told_by_now(&mut self) -> Option<Touch> {
        Self::told_by_now(self)
    }
}

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

    /// Goes on hearing while a round looks: what nobody takes is lost in the end, and then everybody has to be looked at.
    /// A round may find missing what was taken after it began, so whoever is told of by its end may have done it.
    pub(super) async fn meanwhile(
        &mut self,
        ears: &mut impl Ears,
        round: impl Future<Output = Option<(Memory, Report)>>,
    ) -> Option<(Memory, Report)> {
        let mut round = pin!(round);
        let (memory, mut report) = loop {
            tokio::select! {
                done = &mut round => break done?,
                Some(touch) = ears.next() => self.note(touch),
            }
        };
        iter::from_fn(|| ears.told_by_now()).take(BY_THEN).for_each(|touch| self.note(touch));
        report.by.extend(&self.by);
        Some((memory, report))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::pending;
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::task::yield_now;

    use super::*;

    /// What the kernel has told: of the first the runtime knows already that it can be read.
    struct Told {
        known: VecDeque<Touch>,
        more: VecDeque<Touch>,
    }

    impl Ears for Told {
        async fn next(&mut self) -> Option<Touch> {
            match self.known.pop_front() {
                Some(touch) => Some(touch),
                None => pending().await,
            }
        }

        fn told_by_now(&mut self) -> Option<Touch> {
            self.known.pop_front().or_else(|| self.more.pop_front())
        }
    }

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

    /// The round began because the kernel told of a link by itself, and found what was taken while it looked.
    #[tokio::test]
    async fn who_is_told_of_by_the_end_of_a_round_may_have_done_what_it_found() {
        let by = |number, by| Touch { what: pod(number), by };
        for known in 0..=4 {
            let mut more = VecDeque::from([by(1, None), by(2, Some(81)), by(3, Some(81)), by(4, None)]);
            let known = more.drain(..known).collect();
            let mut heard = Heard::default();
            let round = async {
                yield_now().await;
                Some((Memory::default(), Report { by: HashSet::from([7]), ..Report::default() }))
            };
            let (_, report) = heard.meanwhile(&mut Told { known, more }, round).await.unwrap();
            assert_eq!(report.by, HashSet::from([7, 81]));
            assert_eq!(heard.touched, (1..=4).map(pod).collect(), "the next round looks there");
        }
    }

    #[tokio::test]
    async fn a_flood_keeps_no_round_from_being_told() {
        struct Flood;
        impl Ears for Flood {
            async fn next(&mut self) -> Option<Touch> {
                pending().await
            }
            fn told_by_now(&mut self) -> Option<Touch> {
                Some(Touch { what: pod(1), by: Some(9) })
            }
        }
        let round = async { Some((Memory::default(), Report::default())) };
        let (_, report) = Heard::default().meanwhile(&mut Flood, round).await.unwrap();
        assert_eq!(report.by, HashSet::from([9]));
    }
}
