//! The guest's first process: this very program, started by the guest's kernel. It makes the places tests write
//! to, loads modules, runs the job's programs and switches the guest off.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use super::job::{DESELECTED, DONE, JOB, Job, Program, RELEASE};
use super::modules;

/// Where the guest sees the folder it shares with the machine it runs on. Not below `/run` or `/tmp`: tests put
/// file systems of their own there.
const SHARED: &str = "/mnt";

/// Does the job in the folder and switches off, whatever comes of it. What went wrong is on the console.
pub(crate) fn main(folder: &Path) -> Result<()> {
    if let Err(error) = work(folder) {
        eprintln!("the guest failed: {error:#}");
    }
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF).context("failed to switch off")? {}
}

fn work(folder: &Path) -> Result<()> {
    for (kind, place, data) in [
        ("proc", "/proc", None),
        ("sysfs", "/sys", None),
        ("tmpfs", "/run", None),
        ("tmpfs", "/tmp", None),
        ("hostfs", SHARED, Some(folder)),
    ] {
        mount(Some("none"), place, Some(kind), MsFlags::empty(), data)
            .with_context(|| format!("failed to mount {kind} at {place}"))?;
    }
    let shared = Path::new(SHARED);
    let text = fs::read_to_string(shared.join(JOB)).context("failed to read the job")?;
    let job: Job = serde_json::from_str(&text).context("failed to read the job")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("failed to read the release")?;
    let release = release.trim();
    fs::write(shared.join(RELEASE), release).context("failed to write the release")?;
    modules::load(release, &job.modules)?;
    for program in &job.programs {
        run(program, shared).with_context(|| format!("failed to run {}", program.name))?;
    }
    fs::write(shared.join(DONE), "").context("failed to say that all is done")
}

fn run(program: &Program, shared: &Path) -> Result<()> {
    let status = Command::new(&program.path)
        .args(&program.arguments)
        .current_dir(&program.directory)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/run")
        .env("TERWAY_LAB", "1")
        .env("TERWAY_DESELECTED", shared.join(DESELECTED))
        .stdin(Stdio::null())
        .stdout(File::create(shared.join(program.output()))?)
        .stderr(File::create(shared.join(program.errors()))?)
        .status()?;
    Ok(fs::write(shared.join(program.end()), status.to_string())?)
}
