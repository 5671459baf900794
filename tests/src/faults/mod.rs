//! The fault matrix: every action of the cloud that a node uses, each going wrong in every way the simulated cloud
//! knows, and the ways in which a cloud misbehaves for a while whatever it is asked. After each the books of ledger,
//! cloud and kernel must agree; how much longer everything took is what the fault cost.

mod manner;
mod story;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cloud::Cloud;

pub use manner::Manner;
pub use table::{json, line, text};

/// How pods get addresses in a cell's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Whole ENIs.
    Exclusive,
    /// Addresses of shared ones.
    Shared,
}

/// One action or all of them, going wrong in one way.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// On which cloud.
    pub cloud: Cloud,
    /// How pods get addresses meanwhile.
    pub mode: Mode,
    /// The action; `*` for a cloud that misbehaves whatever it is asked.
    pub action: &'static str,
    /// What goes wrong.
    pub manner: &'static Manner,
}

/// How a cell ended.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub cell: Cell,
    /// How long its story took; or what did not hold.
    pub took: Result<Duration, String>,
    /// How much of that the fault cost, beside the same story undisturbed.
    pub longer: Duration,
}

/// Actions that change something, by the mode whose story needs them.
const EXCLUSIVE: [&str; 5] = [
    "CreateNetworkInterface",
    "AttachNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
    "DetachNetworkInterface",
    "DeleteNetworkInterface",
];
const SHARED: [&str; 4] = [
    "AssignPrivateIpAddresses",
    "AssignIpv6Addresses",
    "UnassignPrivateIpAddresses",
    "UnassignIpv6Addresses",
];

/// Every cell of a cloud.
pub fn cells(cloud: Cloud) -> Vec<Cell> {
    let names = cloud.names();
    let changes = EXCLUSIVE.map(|action| (Mode::Exclusive, action)).into_iter();
    let changes = changes.chain(SHARED.map(|action| (Mode::Shared, action)));
    let reads =
        ["DescribeNetworkInterfaces", names.limits, names.vswitches].map(|action| (Mode::Exclusive, action));
    let reads = reads.into_iter().chain(names.task.map(|action| (Mode::Shared, action)));
    let cell = |(mode, action), manner| Cell { cloud, mode, action, manner };
    let of_calls = changes
        .flat_map(|change| manner::of_changes().map(move |manner| cell(change, manner)))
        .chain(reads.flat_map(|read| manner::of_reads().map(move |manner| cell(read, manner))));
    let standing = [Mode::Exclusive, Mode::Shared].into_iter();
    let standing = standing.flat_map(|mode| manner::standing().map(move |manner| cell((mode, "*"), manner)));
    of_calls.chain(standing.filter(|cell| cell.manner.fits(cell.mode))).collect()
}

/// Those of them that are worth their time in every run of all tests.
pub fn selection(cloud: Cloud) -> Vec<Cell> {
    let chosen = |cell: &Cell| match cell.mode {
        _ if cell.action == "*" => manner::IN_SHORT.contains(&cell.manner.name),
        _ => cell.manner.name == manner::LOST_ANSWER,
    };
    cells(cloud).into_iter().filter(chosen).collect()
}

/// Lives through the cells, some at a time, each in a world of its own below `directory`. Each outcome is told as soon
/// as it is there.
pub fn run(
    cells: &[Cell],
    workers: usize,
    binaries: &Path,
    directory: &Path,
    name: &str,
    tell: &(dyn Fn(&Outcome) + Sync),
) -> Vec<Outcome> {
    let quiet = undisturbed(cells, binaries, directory, name);
    let next = Mutex::new(cells.iter().enumerate());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((number, cell)) = taken else { return };
                    let world = format!("{name}{number}");
                    let took =
                        story::tell(cell, &world, binaries, directory).map_err(|error| format!("{error:#}"));
                    let quiet = quiet.get(&(cell.cloud.name(), cell.mode)).copied().unwrap_or_default();
                    let longer = took.as_ref().map_or(Duration::ZERO, |took| took.saturating_sub(quiet));
                    let outcome = Outcome { cell: *cell, took, longer };
                    tell(&outcome);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// How long each story takes when nothing goes wrong.
fn undisturbed(
    cells: &[Cell],
    binaries: &Path,
    directory: &Path,
    name: &str,
) -> BTreeMap<(&'static str, Mode), Duration> {
    let kinds: BTreeMap<_, _> =
        cells.iter().map(|cell| ((cell.cloud.name(), cell.mode), cell.cloud)).collect();
    let stories = kinds.into_iter().zip(0..).filter_map(|(((cloud, mode), of), number)| {
        let cell = Cell { cloud: of, mode, action: "*", manner: &manner::NONE };
        let took = story::tell(&cell, &format!("{name}quiet{number}"), binaries, directory).ok()?;
        Some(((cloud, mode), took))
    });
    stories.collect()
}
