//! Log lines on standard error.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Our own crates.
const OURS: [&str; 6] =
    ["terway_daemon", "terway_cloud", "terway_datapath", "terway_ledger", "terway_pool", "terwayd"];

/// Writes lines of at least this level. Libraries below us speak up from `warn` on, unless `trace` is
/// asked for: their lines are about bytes, not about pods.
pub fn start(level: LevelFilter, json: bool) {
    let others = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let filter = Targets::new().with_default(others).with_targets(OURS.map(|ours| (ours, level)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    if json { registry.with(lines.json().flatten_event(true)).init() } else { registry.with(lines).init() }
}
