//! Log lines on standard error.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Writes lines of at least this level. Libraries below us speak up from `warn` on, unless `trace` is
/// asked for: their lines are about bytes, not about pods.
pub fn start(level: LevelFilter, json: bool) {
    let others = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let filter =
        ["terway_daemon", "terway_cloud", "terway_datapath", "terway_ledger", "terway_pool", "terwayd"]
            .into_iter()
            .fold(others.to_string(), |filter, ours| format!("{filter},{ours}={level}"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false);
    if json { lines.json().flatten_event(true).init() } else { lines.init() }
}
