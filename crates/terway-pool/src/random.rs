//! Random choices that can be repeated: a small generator that starts from the settings' seed and the pool's
//! start. Nothing here is secret; it only spreads load and keeps nodes from acting in step.

use std::time::Duration;

use terway_types::Timestamp;

/// The generator: `SplitMix64` by Steele, Lea and Flood (2014).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64, start: Timestamp) -> Self {
        Self { state: seed ^ start.0.rotate_left(32) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `count`; 0 for none or one, without a draw.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        if count < 2 {
            return 0;
        }
        let wide = u128::from(self.next()) * (count as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A duration within `permille` thousandths below the given one, which stays the longest.
    pub(crate) fn shortened(&mut self, whole: Duration, permille: u16) -> Duration {
        whole.saturating_sub(self.share(whole, permille))
    }

    /// A duration within `permille` thousandths around the given one.
    pub(crate) fn varied(&mut self, whole: Duration, permille: u16) -> Duration {
        let share = self.share(whole, permille);
        if self.below(2) == 0 { whole.saturating_sub(share) } else { whole.saturating_add(share) }
    }

    fn share(&mut self, whole: Duration, permille: u16) -> Duration {
        let part = self.below(usize::from(permille) + 1);
        whole.saturating_mul(u32::try_from(part).unwrap_or(0)) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_start_gives_the_same_choices_and_another_start_others() {
        let draw = |seed, now| {
            let mut random = Random::new(seed, Timestamp(now));
            (0..20).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 5), draw(1, 5));
        assert_ne!(draw(1, 5), draw(2, 5));
        assert_ne!(draw(1, 5), draw(1, 6));
    }

    #[test]
    fn every_choice_comes_up() {
        let mut random = Random::new(7, Timestamp(0));
        let mut seen = [0; 5];
        (0..1000).for_each(|_| seen[random.below(5)] += 1);
        assert!(seen.iter().all(|count| (120..280).contains(count)), "{seen:?}");
    }

    #[test]
    fn jitter_keeps_to_its_bounds() {
        let mut random = Random::new(7, Timestamp(0));
        let whole = Duration::from_secs(1);
        let (mut least, mut most) = (whole, whole);
        for _ in 0..500 {
            let shorter = random.shortened(whole, 200);
            assert!((Duration::from_millis(800)..=whole).contains(&shorter), "{shorter:?}");
            let varied = random.varied(whole, 100);
            (least, most) = (least.min(varied), most.max(varied));
        }
        assert!(least >= Duration::from_millis(900) && least < Duration::from_millis(920), "{least:?}");
        assert!(most <= Duration::from_millis(1100) && most > Duration::from_millis(1080), "{most:?}");
        assert_eq!(random.varied(whole, 0), whole);
    }
}
