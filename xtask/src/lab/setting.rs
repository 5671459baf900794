//! Which guests a test file has, how their cards are wired, and what lies over this machine's files in their roots.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::agents;
use super::cable::Cable;
use super::guest::Guest;
use super::job::{Job, Program};
use super::kernel::Kernel;
use super::test_files::{AGENTS, CHILDREN, TWO_NODES, TestFile};
use crate::packages;

/// A test file's guests, and the cables between their cards.
pub(super) struct Setting {
    /// They run at the same time.
    pub(super) guests: Vec<Participant>,
    /// Cut when the guests have ended.
    _cables: Vec<Cable>,
}

/// One guest.
pub(super) struct Participant {
    cards: Vec<String>,
    /// What it leaves.
    pub(super) folder: PathBuf,
    /// What it does.
    pub(super) job: Job,
}

/// Where guests' things are.
pub(super) struct Places<'a> {
    /// What guests leave: a folder for each below this.
    pub(super) left: &'a Path,
    /// What is kept between runs.
    pub(super) cache: &'a Path,
    /// Sockets of cards.
    pub(super) plugs: &'a Path,
}

impl Setting {
    /// The guests of a test file.
    pub(super) fn of(
        file: &TestFile,
        filter: Option<&str>,
        kernel: &Kernel,
        places: &Places<'_>,
    ) -> Result<Self> {
        let job = |layers, shared| {
            let programs = vec![Program::test(file, filter)];
            Job { modules: kernel.modules.clone(), layers, shared, whole_machine: false, programs }
        };
        let left = places.left.join(&file.name);
        match file.name.as_str() {
            AGENTS => {
                let layer = places.cache.join("agents");
                packages::unpack(&agents::PACKAGES, &layer)?;
                let job = || job(vec![layer.clone()], vec![]);
                if filter.is_none() {
                    return parts(&file.name, &left, places.plugs, &agents::PARTS, job);
                }
                let guest = Participant { cards: vec![], folder: left, job: job() };
                Ok(Self { guests: vec![guest], _cables: vec![] })
            }
            TWO_NODES => two(&left, places.plugs, || job(vec![], vec![left.join("meeting")])),
            CHILDREN if filter.is_none() => {
                parts(&file.name, &left, places.plugs, &OF_CHILDREN, || job(vec![], vec![]))
            }
            name => {
                let (guest, cables) = alone(name, left, places.plugs, job(vec![], vec![]))?;
                Ok(Self { guests: vec![guest], _cables: cables })
            }
        }
    }
}

impl Participant {
    /// Runs the guest.
    pub(super) fn run(&self, kernel: &Kernel, init: &Path, deadline: Duration) -> Result<()> {
        Guest { kernel, cards: &self.cards, init, folder: &self.folder, deadline }.run(&self.job)
    }
}

/// A guest whose cards 0 and 1 are connected, and so are 2 and 3.
fn alone(name: &str, folder: PathBuf, plugs: &Path, job: Job) -> Result<(Participant, Vec<Cable>)> {
    let cable = |ends: [u8; 2]| Cable::new(plugs, &ends.map(|end| format!("{name}{end}")));
    let (one, two) = (cable([0, 1])?, cable([2, 3])?);
    let cards = vec![one.card(0, 0, 0), one.card(1, 1, 1), two.card(0, 2, 2), two.card(1, 3, 3)];
    Ok((Participant { cards, folder, job }, vec![one, two]))
}

/// A part of a file's tests by its name, and the words that choose it.
pub(super) type Part = (&'static str, &'static [&'static str]);
/// What may befall a pod in its life, and all else.
const OF_CHILDREN: [Part; 2] = [("life", &["life::"]), ("rest", &["--skip", "life::"])];

/// Guests that share the tests of a file that takes long.
fn parts(name: &str, left: &Path, plugs: &Path, parts: &[Part], job: impl Fn() -> Job) -> Result<Setting> {
    let (mut guests, mut cables) = (Vec::new(), Vec::new());
    for &(part, chosen) in parts {
        let mut job = job();
        for program in &mut job.programs {
            program.arguments.extend(chosen.iter().map(|&word| word.to_owned()));
            program.part = Some(part.to_owned());
        }
        let (guest, ends) = alone(&format!("{name}{part}"), left.join(part), plugs, job)?;
        guests.push(guest);
        cables.extend(ends);
    }
    Ok(Setting { guests, _cables: cables })
}

/// Two nodes and the VPC between them, whose cards of the same number are connected. They meet in a folder.
fn two(left: &Path, plugs: &Path, job: impl Fn() -> Job) -> Result<Setting> {
    let parts = ["1", "2", "vpc"];
    let cable = |number: u8| Cable::new(plugs, &parts.map(|part| format!("part{part}{number}")));
    let cables = vec![cable(0)?, cable(1)?];
    let guest = |(plug, part): (usize, &str)| {
        // The nodes' end in 10 and 11, 20 and 21.
        let first_mac = 0x10 * (u8::try_from(plug).unwrap_or_default() + 1);
        let cards = (0_u8..).zip(&cables);
        let cards =
            cards.map(|(number, cable)| cable.card(plug, usize::from(number), first_mac + number)).collect();
        let mut job = job();
        for program in &mut job.programs {
            program.environment.insert("TERWAY_NODE".to_owned(), part.into());
            program.environment.insert("TERWAY_MEETING".to_owned(), left.join("meeting"));
            program.part = Some(part.to_owned());
        }
        Participant { cards, folder: left.join(part), job }
    };
    let guests = parts.into_iter().enumerate().map(guest).collect();
    Ok(Setting { guests, _cables: cables })
}
