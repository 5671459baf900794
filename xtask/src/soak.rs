//! Long runs of the pool's histories, in pieces: the same test as in an ordinary run, in release mode, told by the
//! environment where to begin and how far to go. It shrinks and names what fails; here is only the clock.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::{Workspace, run as run_command};

/// How long a piece should take, so that there is news now and then.
const PIECE: Duration = Duration::from_secs(20);

/// The kinds of histories: each is a test `soak_KIND` of the pool.
const KINDS: [&str; 9] =
    ["exclusive", "looks", "meddling", "demands", "claims", "everything", "shared", "addresses", "routed"];

/// How far to go.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Histories of each kind.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    histories: u64,
    /// The number of the first one; each history is its number's.
    #[arg(long, default_value_t = 1_000_000)]
    seed: u64,
    /// Steps of a history at most; thousands make fewer and deeper histories.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Stop after this time, at the end of a piece.
    #[arg(long)]
    minutes: Option<u64>,
    /// Only histories of this kind.
    #[arg(long, value_parser = KINDS)]
    kind: Option<String>,
    /// Explore the small worlds instead, to the end, with so many faults more than in an ordinary run.
    #[arg(long)]
    faults: Option<u64>,
}

/// Runs histories until there are enough, the time is up, or one fails.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if let Some(faults) = arguments.faults {
        let mut command = workspace.cargo(TEST);
        command.args(["exhaustive::", "--nocapture", "--test-threads=1"]);
        return run_command(command.env("TERWAY_SOAK_FAULTS", faults.to_string()));
    }
    let filter = format!("soak_{}", arguments.kind.as_deref().unwrap_or_default());
    let begun = Instant::now();
    let (mut done, mut piece) = (0, arguments.histories.min(1_000));
    while done < arguments.histories {
        let seed = arguments.seed + done;
        live(workspace, &filter, seed, piece, arguments.steps)?;
        done += piece;
        let passed = begun.elapsed();
        println!(
            "{done} of {} histories of each kind, {} of them per second; next number {}",
            arguments.histories,
            per_second(done, passed),
            arguments.seed + done
        );
        if arguments.minutes.is_some_and(|minutes| passed >= Duration::from_secs(minutes * 60)) {
            break;
        }
        piece = next_piece(per_second(done, passed), arguments.histories - done);
    }
    Ok(())
}

const TEST: &str = "test --quiet --release --package terway-pool --lib --";

fn live(workspace: &Workspace, filter: &str, seed: u64, histories: u64, steps: u64) -> Result<()> {
    let mut command = workspace.cargo(TEST);
    command.args([filter, "--test-threads=1"]);
    command.env("TERWAY_SOAK_SEED", seed.to_string());
    command.env("TERWAY_SOAK_HISTORIES", histories.to_string());
    command.env("TERWAY_SOAK_STEPS", steps.to_string());
    let output = command.stderr(std::process::Stdio::inherit()).output().context("failed to start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && !text.contains("running 0 tests") {
        return Ok(());
    }
    // Shrinking panics thousands of times; the tale is what the last panic says.
    let tale =
        text.rfind(" history ").map_or(&*text, |at| &text[text[..at].rfind('\n').map_or(0, |at| at + 1)..]);
    bail!("among histories {seed} to {}:\n{tale}", seed + histories - 1)
}

fn per_second(count: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    count.saturating_mul(1_000) / millis
}

/// As many as a piece should have at this pace, and no more than are left.
fn next_piece(per_second: u64, left: u64) -> u64 {
    per_second.saturating_mul(PIECE.as_secs()).max(100).min(left)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn there_is_a_test_for_each_kind_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/terway-pool/src/histories");
        let text: String = ["mod.rs", "routed.rs", "shared/mod.rs"]
            .iter()
            .map(|file| fs::read_to_string(root.join(file)).unwrap())
            .collect();
        let kinds = text.lines().filter_map(|line| line.strip_prefix("fn soak_")?.strip_suffix("() {"));
        assert_eq!(kinds.collect::<BTreeSet<_>>(), BTreeSet::from(KINDS));
    }

    #[test]
    fn a_piece_takes_its_time_and_no_more_than_is_left() {
        assert_eq!(next_piece(200, 1_000_000), 4_000);
        assert_eq!(next_piece(1, 1_000_000), 100);
        assert_eq!(next_piece(200, 50), 50);
    }

    #[test]
    fn the_pace_is_per_second() {
        assert_eq!(per_second(3_000, Duration::from_millis(1_500)), 2_000);
        assert_eq!(per_second(5, Duration::ZERO), 5_000);
    }
}
