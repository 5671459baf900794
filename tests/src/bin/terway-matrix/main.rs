//! The reachability matrix: every mode in a world of its own, every path with real packets; printed, and written into
//! the page that asks for it. Run it by `cargo xtask matrix`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use terway_rig::reach::{self, Row};
use terway_rig::sandbox;
use terway_rig::world::{Plan, World};

/// What the table stands between on a page.
const MARKERS: [&str; 2] = ["<!-- matrix -->\n", "<!-- end of matrix -->"];

fn main() -> ExitCode {
    sandbox::run(|| {
        let options = Options::read(env::args().skip(1))?;
        let exclusive = Plan { name: "exclusive".to_owned(), pool: (2, 4), ..Plan::default() };
        let shared = Plan { name: "shared".to_owned(), shared: true, pool: (4, 20), ..Plan::default() };
        let routed = Plan { name: "routed".to_owned(), routed: Some(24), ..Plan::default() };
        let modes = [
            ("exclusive", explore(&exclusive, &options.binaries)?),
            ("policy routing", explore(&shared, &options.binaries)?),
            ("VPC route", explore(&routed, &options.binaries)?),
        ];
        let table = reach::table(&modes);
        println!("{table}");
        if let Some(page) = &options.page {
            write(page, &table)?;
        }
        Ok(if tell_failures(&modes) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

fn explore(plan: &Plan, binaries: &Path) -> Result<Vec<Row>> {
    let plan = Plan { nodes: 2, ..plan.clone() };
    let mut world = World::start(&plan, binaries, Path::new("/run/terway"))?;
    reach::prepare(&world)?;
    world.boot()?;
    let [v4, v6] = plan.cloud.names().gateways;
    let rows = reach::explore(&mut world, [v4.parse()?, v6.parse()?]);
    rows.with_context(|| format!("{} failed: {}", plan.name, world.nodes[0].log_tail()))
}

/// Says what is not as it should be, and whether anything is not.
fn tell_failures(modes: &[(&str, Vec<Row>)]) -> bool {
    let mut failed = false;
    for (mode, rows) in modes {
        for row in rows {
            for (family, outcome) in [("IPv4", &row.v4), ("IPv6", &row.v6)] {
                if let Err(error) = outcome {
                    eprintln!("{mode}, {family}: {}: {error:#}", row.path);
                    failed = true;
                }
            }
        }
    }
    failed
}

/// Puts the table between the markers of a page.
fn write(page: &Path, table: &str) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("failed to read {}", page.display()))?;
    let parts =
        text.split_once(MARKERS[0]).and_then(|(head, rest)| Some((head, rest.split_once(MARKERS[1])?.1)));
    let Some((head, tail)) = parts else { bail!("{} has no place marked for the matrix", page.display()) };
    let text = format!("{head}{}{table}{}{tail}", MARKERS[0], MARKERS[1]);
    fs::write(page, text).with_context(|| format!("failed to write {}", page.display()))
}

struct Options {
    /// `--bin-dir DIR`: the folder with the shipped programs; by default the one this program lies in.
    binaries: PathBuf,
    /// `--page FILE`: the page to write the table into.
    page: Option<PathBuf>,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let own = env::current_exe().context("failed to find this program")?;
        let binaries = own.parent().context("this program lies in no folder")?.to_owned();
        let mut options = Self { binaries, page: None };
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--bin-dir" => options.binaries = value.into(),
                "--page" => options.page = Some(value.into()),
                _ => bail!("unknown option {word}; there are --bin-dir and --page"),
            }
        }
        Ok(options)
    }
}
