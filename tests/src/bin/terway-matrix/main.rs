//! The reachability matrix: every mode in a world of its own, every path with real packets; printed, and written into
//! the page that asks for it. Run it by `cargo xtask matrix`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use terway_rig::reach::{self, Cell, Row};
use terway_rig::table::{self, Matrix};
use terway_rig::trunk::{self, Trunks};
use terway_rig::world::{Plan, World};
use terway_rig::{kernel, page, sandbox};

/// Where the worlds are.
const PLACE: &str = "/run/terway";

/// Paths that a mode has not, which the page says as well. In mode L3S the source is translated of what the packet filter
/// led elsewhere, and IPVS changes a connection's addresses without marking it so.
const CLOSED: [(&str, &str); 1] = [("IPVlan L3S", reach::BY_IPVS)];

fn main() -> ExitCode {
    sandbox::run(|| {
        let options = Options::read(env::args().skip(1))?;
        let modes = modes(&options.binaries)?;
        let own = Matrix::new(kernel::release()?, &modes);
        if let Some(file) = &options.out {
            own.write(file)?;
        }
        let others = options.beside.iter().map(|file| Matrix::read(file));
        let table = table::table(&[Ok(own)].into_iter().chain(others).collect::<Result<Vec<_>>>()?);
        println!("{table}");
        if let Some(page) = &options.page {
            page::fill(page, "matrix", &table)?;
        }
        Ok(if tell_failures(&modes) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

/// Every mode, as far as the kernel has what it needs.
fn modes(binaries: &Path) -> Result<Vec<(&'static str, Vec<Row>)>> {
    let exclusive = Plan { name: "exclusive".to_owned(), pool: (2, 4), ..Plan::default() };
    let shared = Plan { name: "shared".to_owned(), shared: true, pool: (4, 20), ..Plan::default() };
    let routed = Plan { name: "routed".to_owned(), routed: Some(24), ..Plan::default() };
    let children = |name: &str, mode: &str| -> Result<Vec<Row>> {
        if !kernel::has_ipvlan()? {
            return Ok(reach::lacking("IPVlan"));
        }
        let keys = [
            ("eniip_virtual_type", json!("IPVlan")),
            ("ipvlan_mode", json!(mode)),
            ("require_virtual_type", json!(true)),
        ];
        explore(&Plan { name: name.to_owned(), ..shared.clone() }, &keys, binaries)
    };
    let members = |name: &str, vlan_links: bool| match trunk::lacking(vlan_links)? {
        Some(lacking) => Ok(reach::lacking(lacking)),
        None => members(name, vlan_links, binaries),
    };
    Ok(vec![
        ("exclusive", explore(&exclusive, &[], binaries)?),
        ("policy routing", explore(&shared, &[], binaries)?),
        ("VPC route", explore(&routed, &[], binaries)?),
        ("IPVlan L2", children("ipvlan", "l2")?),
        ("IPVlan L3S", children("routed-children", "l3s")?),
        ("trunk, VLAN links", members("links", true)?),
        ("trunk, tags", members("tags", false)?),
    ])
}

fn explore(plan: &Plan, keys: &[(&str, Value)], binaries: &Path) -> Result<Vec<Row>> {
    let plan = Plan { nodes: 2, ..plan.clone() };
    let mut world = World::start(&plan, binaries, Path::new(PLACE))?;
    reach::prepare(&world)?;
    for node in &world.nodes {
        keys.iter().try_for_each(|(key, value)| node.tell_plugin(key, value.clone()))?;
    }
    world.boot()?;
    let [v4, v6] = plan.cloud.names().gateways;
    let rows = reach::explore(&mut world, [v4.parse()?, v6.parse()?]);
    rows.with_context(|| format!("{} failed: {}", plan.name, world.nodes[0].log_tail()))
}

fn members(name: &str, vlan_links: bool, binaries: &Path) -> Result<Vec<Row>> {
    let mut trunks = Trunks::start(name, vlan_links, binaries, Path::new(PLACE))?;
    reach::explore_nodes(&mut trunks.nodes, Trunks::addresses(), trunk::GATEWAYS)
}

/// Says what is not as it should be, and whether anything is not. A path that is known to be closed and is open is
/// not as it should be either: then this program and the page say something wrong.
fn tell_failures(modes: &[(&str, Vec<Row>)]) -> bool {
    let mut failed = false;
    for (mode, rows) in modes {
        for row in rows {
            let closed = CLOSED.contains(&(mode, row.path));
            for (family, outcome) in [("IPv4", &row.v4), ("IPv6", &row.v6)] {
                let wrong = match outcome {
                    Cell::Broken(error) if !closed => format!("{error:#}"),
                    Cell::Held if closed => "open, and known to be closed".to_owned(),
                    Cell::Held | Cell::Broken(_) | Cell::Lacking(_) => continue,
                };
                eprintln!("{mode}, {family}: {}: {wrong}", row.path);
                failed = true;
            }
        }
    }
    failed
}

/// What can be told, for people; `cargo xtask matrix --help` shows it as well.
const OPTIONS: &str = include_str!("options.txt");

struct Options {
    /// `--bin-dir DIR`: the folder with the shipped programs; by default the one this program lies in.
    binaries: PathBuf,
    /// `--page FILE`: the page to write the table into.
    page: Option<PathBuf>,
    /// `--out FILE`: where what came of it is written for another run in another kernel.
    out: Option<PathBuf>,
    /// `--beside FILE` (repeatable): what came of it in another kernel.
    beside: Vec<PathBuf>,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let own = env::current_exe().context("failed to find this program")?;
        let binaries = own.parent().context("this program lies in no folder")?.to_owned();
        let mut options = Self { binaries, page: None, out: None, beside: Vec::new() };
        while let Some(word) = words.next() {
            let value =
                words.next().with_context(|| format!("{word} needs a value; the options are\n{OPTIONS}"))?;
            match word.as_str() {
                "--bin-dir" => options.binaries = value.into(),
                "--page" => options.page = Some(value.into()),
                "--out" => options.out = Some(value.into()),
                "--beside" => options.beside.push(value.into()),
                _ => bail!("unknown option {word}; the options are\n{OPTIONS}"),
            }
        }
        Ok(options)
    }
}
