//! Samples and what is said about them.

use std::time::Duration;

use serde_json::{Value, json};

/// A group must have at least this share of the samples to be called one, and there are so many at most: what waits for ticks
/// of a clock comes in three or four.
const LEAST_SHARE: f64 = 0.15;
const MOST_GROUPS: usize = 4;

/// Times of one thing, measured again and again, in milliseconds and in the order of their measurement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1000.0);
    }

    /// Adds one that was computed, in milliseconds.
    pub(crate) fn add_ms(&mut self, milliseconds: f64) {
        self.0.push(milliseconds);
    }

    /// All of them, as they were measured.
    pub(crate) fn all(&self) -> &[f64] {
        &self.0
    }

    /// A part of them, as they were measured.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self(self.0.get(range).unwrap_or_default().to_vec())
    }

    /// All of them, the least first.
    pub(crate) fn sorted(&self) -> Vec<f64> {
        let mut all = self.0.clone();
        all.sort_by(f64::total_cmp);
        all
    }

    /// The value that a share of all samples do not exceed: 0.5 is the median.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let all = self.sorted();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into few samples"
        )]
        let index = ((all.len() as f64 * share).ceil() as usize).clamp(1, all.len().max(1)) - 1;
        all.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The medians of groups, if the samples fall into a few with more between than within them. A median of all says
    /// nothing then: it is where one group ends or the next begins.
    pub(crate) fn groups(&self) -> Option<Vec<f64>> {
        let all = self.sorted();
        let mut splits: Vec<usize> = (1..all.len()).collect();
        splits.sort_by(|one, other| gap(&all, *other).total_cmp(&gap(&all, *one)));
        (1..MOST_GROUPS).find_map(|count| apart(&all, splits.get(..count)?))
    }

    /// Quantiles, groups and the samples themselves, for the record.
    pub(crate) fn json(&self) -> Value {
        json!({
            "p50_ms": self.quantile(0.5), "p90_ms": self.quantile(0.9), "p99_ms": self.quantile(0.99),
            "min_ms": self.quantile(0.0), "samples": self.0.len(), "groups_ms": self.groups(),
            "values_ms": self.0,
        })
    }
}

/// The medians of what lies between these splits, if each part is large, and farther from the others than it is wide.
fn apart(sorted: &[f64], splits: &[usize]) -> Option<Vec<f64>> {
    let mut ends = splits.to_vec();
    ends.push(sorted.len());
    ends.sort_unstable();
    let begins = [0].into_iter().chain(ends.iter().copied());
    let groups: Vec<_> = begins.zip(&ends).filter_map(|(begin, end)| sorted.get(begin..*end)).collect();
    #[expect(clippy::cast_precision_loss, reason = "few samples")]
    let large = |group: &&[f64]| group.len() as f64 >= (sorted.len() as f64 * LEAST_SHARE).max(3.0);
    let widest = groups.iter().map(|group| spread(group)).fold(0.0, f64::max);
    let narrowest = splits.iter().map(|at| gap(sorted, *at)).fold(f64::INFINITY, f64::min);
    (groups.iter().all(large) && narrowest > widest)
        .then(|| groups.iter().map(|group| middle(group)).collect())
}

fn gap(sorted: &[f64], at: usize) -> f64 {
    match (sorted.get(at.wrapping_sub(1)), sorted.get(at)) {
        (Some(before), Some(after)) => after - before,
        _ => 0.0,
    }
}

/// From the tenth to the ninetieth percent.
fn spread(sorted: &[f64]) -> f64 {
    let tenth = sorted.len() / 10;
    let ends = sorted.get(tenth).zip(sorted.get(sorted.len().saturating_sub(1 + tenth)));
    ends.map_or(0.0, |(low, high)| high - low)
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[u64]) -> Samples {
        let mut samples = Samples::new();
        for value in values {
            samples.add(Duration::from_millis(*value));
        }
        samples
    }

    #[test]
    fn quantiles_do_not_depend_on_the_order() {
        let some = samples(&[9, 1, 5, 3, 7]);
        assert_eq!(format!("{:?}", [0.0, 0.5, 1.0].map(|share| some.quantile(share))), "[1.0, 5.0, 9.0]");
        assert_eq!(format!("{:?}", some.all()), "[9.0, 1.0, 5.0, 3.0, 7.0]", "as they were measured");
        assert_eq!(format!("{:?}", some.part(1..3).all()), "[1.0, 5.0]");
    }

    #[test]
    fn groups_are_told_and_an_outlier_is_none() {
        let two = samples(&[20, 21, 20, 22, 21, 40, 41, 40, 42, 41]);
        assert_eq!(format!("{:?}", two.groups()), "Some([21.0, 41.0])");
        let three = samples(&[20, 21, 20, 24, 24, 25, 28, 28, 29, 28]);
        assert_eq!(format!("{:?}", three.groups()), "Some([20.0, 24.0, 28.0])");
        assert_eq!(samples(&[20, 21, 20, 22, 21, 20, 21, 22, 21, 90]).groups(), None);
        assert_eq!(samples(&[10, 12, 14, 16, 18, 20, 22, 24, 26, 28]).groups(), None);
        assert_eq!(samples(&[]).groups(), None);
    }
}
