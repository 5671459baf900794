//! How long something takes: always the same, somewhere between two bounds, mostly short and sometimes
//! very long, or for ever. Drawn from dice with a seed, so that a world can be repeated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A distribution of times, in milliseconds. In JSON: `50`, `{"uniform": [10, 90]}`,
/// `{"long_tail": [20, 5000]}`, `"never"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spread {
    /// Always this long.
    Fixed(u64),
    /// One of the other shapes.
    Shaped(Shape),
    /// It does not end by itself.
    Endless(Endless),
}

/// How times are distributed between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// Each time between the bounds as likely as another.
    Uniform(u64, u64),
    /// Half of the times lie close to the first bound, one in a hundred close to the second.
    LongTail(u64, u64),
}

/// The word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endless {
    /// Never.
    Never,
}

impl Spread {
    /// How long it takes this time; `None` for ever.
    pub fn draw(self, dice: &mut Dice) -> Option<Duration> {
        let ms = match self {
            Self::Fixed(ms) => ms,
            Self::Endless(Endless::Never) => return None,
            Self::Shaped(Shape::Uniform(low, high)) => between(low, high, dice.roll()),
            // The eighth power of a number between 0 and 1 is tiny up to the median (1/256) and 0.92 at the
            // 99th percentile.
            Self::Shaped(Shape::LongTail(low, high)) => between(low, high, dice.roll().powi(8)),
        };
        Some(Duration::from_millis(ms))
    }
}

impl From<u64> for Spread {
    fn from(ms: u64) -> Self {
        Self::Fixed(ms)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "milliseconds of a simulation, not counted to the last digit"
)]
fn between(low: u64, high: u64, share: f64) -> u64 {
    low + (high.saturating_sub(low) as f64 * share).round() as u64
}

/// A repeatable source of chance (SplitMix64).
#[derive(Clone, Debug, Default)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same rolls.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to, but not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &str) -> Vec<u64> {
        let spread: Spread = serde_json::from_str(text).unwrap();
        let mut dice = Dice::new(7);
        let mut times: Vec<u64> =
            (0..1000).map(|_| u64::try_from(spread.draw(&mut dice).unwrap().as_millis()).unwrap()).collect();
        times.sort_unstable();
        times
    }

    #[test]
    fn each_shape_keeps_its_bounds_and_its_middle() {
        let even = sorted(r#"{"uniform": [100, 200]}"#);
        assert!(even[0] >= 100 && even[999] <= 200 && (140..160).contains(&even[500]), "{even:?}");
        let tail = sorted(r#"{"long_tail": [100, 10000]}"#);
        assert!(tail[0] >= 100 && tail[500] < 200 && tail[995] > 8000 && tail[999] <= 10_000, "{tail:?}");
        assert_eq!(sorted("5"), [5; 1000]);
    }

    #[test]
    fn never_is_a_word_and_nonsense_is_refused() {
        let never: Spread = serde_json::from_str("\"never\"").unwrap();
        assert_eq!(never.draw(&mut Dice::new(1)), None);
        assert_eq!(serde_json::to_string(&never).unwrap(), "\"never\"");
        for bad in ["-1", "\"soon\"", "{\"uniform\": 1}", "{\"normal\": [1, 2]}"] {
            assert!(serde_json::from_str::<Spread>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_seed_repeats_itself() {
        let rolls = |seed| {
            let mut dice = Dice::new(seed);
            [dice.roll().to_bits(), dice.roll().to_bits()]
        };
        assert_eq!(rolls(3), rolls(3));
        assert_ne!(rolls(3), rolls(4));
    }
}
