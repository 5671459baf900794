//! Measures the shipped binaries against the kernel floor and the reference plugins, in one run, as ratios beside the
//! budgets. Run it by `cargo xtask bench`; nothing else should run on the machine meanwhile.

mod churn;
mod cold;
mod crowds;
mod decisions;
mod devices;
mod durable;
mod exclusive;
mod families;
mod floor;
mod floor_shared;
mod growth;
mod guard;
mod machine;
mod nic;
mod options;
mod paths;
mod phases;
mod plot;
mod reference;
mod rest;
mod serial;
mod settle;
mod shared;
mod sizes;
mod stage;
mod stats;
mod storm;
mod stream;
mod subject;
mod table;

use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::Value;
use terway_rig::{page, sandbox};

use machine::Machine;
use options::Options;
use table::Table;

/// Measures one thing and fills its lines in.
type Part = fn(&mut Table, &Options) -> Result<()>;

/// Everything there is to measure, in order: crowds come after what is measured one by one, because a kernel that is taking
/// hundreds of namespaces apart is slower for everybody.
const PARTS: &[(&str, Part)] = &[
    ("decisions", decisions::run),
    ("devices", devices::run),
    ("exclusive", exclusive::run),
    ("shared", shared::run),
    ("families", families::run),
    ("phases", phases::run),
    ("guard", guard::run),
    ("crowds", crowds::run),
    ("storm", storm::run),
    ("growth", growth::run),
    ("paths", paths::run),
    ("churn", churn::run),
    ("durable", durable::run),
    ("sizes", sizes::run),
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("Measures the shipped programs. Options:\n\n{}", options::TEXT);
        return ExitCode::SUCCESS;
    }
    sandbox::run(|| {
        let own = env::current_exe().context("failed to find this program")?;
        let parts: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        let options =
            Options::parse(&words, own.parent().context("this program lies in no folder")?, &parts)?;
        let (older, other) =
            (options.older()?, options.other_kernel()?.as_ref().map(OtherKernel::of).transpose()?);
        let mut machine = Machine::look()?;
        fresh(&options)?;
        let mut table = Table::new(machine.is_emulated());
        let measured = PARTS.iter().filter(|(name, _)| options.wants(name)).try_for_each(|(name, part)| {
            settle::settle().with_context(|| format!("failed to clean up before {name}"))?;
            table.begin(name);
            part(&mut table, &options).with_context(|| format!("failed to measure {name}"))
        });
        // Whatever came of it, the files are out of the way of the next run.
        let _ = fs::remove_dir_all(&options.state);
        measured?;
        machine.look_again()?;
        let text = tell(&table, &machine);
        println!("\n{text}");
        if let Some(older) = older {
            println!(
                "\n{}{}",
                machine.differs_from(&older["machine"]).unwrap_or_default(),
                table.against(&older)
            );
        }
        keep(&table, &machine, &text, &options)?;
        if let Some(page) = &options.page {
            let other = other.map(|other| other.shown()).unwrap_or_default();
            page::fill(page, "figures", &(shown(&table, &machine, &options) + &other))?;
            println!("and into {}", page.display());
        }
        Ok(verdict(&table, &options))
    })
}

/// An empty folder for the worlds' files.
fn fresh(options: &Options) -> Result<()> {
    let _ = fs::remove_dir_all(&options.state);
    fs::create_dir_all(&options.state)
        .with_context(|| format!("failed to create {}", options.state.display()))
}

/// Table, machine, and what is to be known about the figures.
fn tell(table: &Table, machine: &Machine) -> String {
    format!("{}\n{}{}\n", table.text(), machine.text(), table.groups().unwrap_or_default())
}

/// The same for a page.
fn shown(table: &Table, machine: &Machine, options: &Options) -> String {
    let head = format!("{}; {}.", machine.line(), options.amount());
    let body = format!("```\n{}```", table.text());
    [head, body].into_iter().chain(table.groups()).collect::<Vec<_>>().join("\n\n") + "\n"
}

/// What was measured in another kernel.
struct OtherKernel {
    name: String,
    table: Table,
}

impl OtherKernel {
    fn of(record: &Value) -> Result<Self> {
        let name = record["machine"]["kernel"].as_str().context("--beside: the record names no kernel")?;
        let table =
            Table::of(record).context("--beside: the record's lines are not those of this program")?;
        Ok(Self { name: name.to_owned(), table })
    }

    /// For a page, behind the figures of this machine's kernel.
    fn shown(&self) -> String {
        let name = &self.name;
        format!(
            "\nIn a guest of the lab, Linux {name} (`cargo xtask lab --bench`). It is emulated and has one processor, on which \
             nothing waits for RCU: its times are to be compared among themselves only.\n\n```\n{}```\n",
            self.table.text()
        )
    }
}

fn keep(table: &Table, machine: &Machine, text: &str, options: &Options) -> Result<()> {
    let mut record = table.json();
    record["machine"] = machine.json();
    let path = options.folder().join("table.txt");
    fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    fs::write(&options.out, serde_json::to_vec_pretty(&record)?)
        .with_context(|| format!("failed to write {}", options.out.display()))?;
    println!("\nwritten to {}", options.folder().display());
    Ok(())
}

/// What `--check` says.
fn verdict(table: &Table, options: &Options) -> ExitCode {
    let broken = table.broken();
    for line in &broken {
        println!("out of its budget: {line}");
    }
    if options.check && !broken.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
