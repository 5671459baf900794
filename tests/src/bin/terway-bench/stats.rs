//! Samples and what is said about them.

use std::time::Duration;

use serde_json::{Value, json};

/// Times of one thing, measured again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one, in milliseconds.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1000.0);
        self.0.sort_by(f64::total_cmp);
    }

    /// The value that a share of all samples do not exceed: 0.5 is the median.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into few samples"
        )]
        let index = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Median, 99th percentile, least and number, for the record.
    pub(crate) fn json(&self) -> Value {
        json!({ "p50_ms": self.quantile(0.5), "p99_ms": self.quantile(0.99), "min_ms": self.quantile(0.0), "samples": self.0.len() })
    }
}
