//! The guest's first process: this very program, started by the guest's kernel. It makes a root that can be written
//! to, loads modules, runs the job's programs and switches the guest off.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::{chdir, chroot};

use super::job::{DESELECTED, DONE, HandOver, JOB, Job, PORT, Program, RELEASE};
use super::modules;

/// Where the root to be is made. Every machine has the folder, and the guest's own will be an empty one.
const WORKSHOP: &str = "/run";

/// Does the job in the folder and switches off, whatever comes of it. What went wrong is on the console.
pub(crate) fn main(folder: &Path) -> Result<()> {
    if let Err(error) = work(folder) {
        eprintln!("the guest failed: {error:#}");
    }
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF).context("failed to switch off")? {}
}

fn work(folder: &Path) -> Result<()> {
    let text = fs::read_to_string(folder.join(JOB)).context("failed to read the job")?;
    let job: Job = serde_json::from_str(&text).context("failed to read the job")?;
    put("proc", Path::new("/proc"), None)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("failed to read the release")?;
    let release = release.trim();
    modules::load(release, &job.modules)?;
    if job.whole_machine {
        mount_own()?;
    } else {
        let shared: Vec<&Path> = job.shared.iter().map(PathBuf::as_path).chain([folder]).collect();
        enter_root(&job.layers, &shared)?;
    }
    fs::write(folder.join(RELEASE), release).context("failed to write the release")?;
    for program in &job.programs {
        run(program, folder).with_context(|| format!("failed to run {}", program.name))?;
    }
    fs::write(folder.join(DONE), "").context("failed to say that all is done")?;
    if job.whole_machine { hand_over(folder) } else { Ok(()) }
}

/// Gives away everything in the folder, and last that all is done.
fn hand_over(folder: &Path) -> Result<()> {
    let port = File::options().read(true).write(true).open(PORT).context("failed to open the port")?;
    let mut answers = BufReader::new(&port);
    let mut names: Vec<String> = fs::read_dir(folder)
        .context("failed to read what is left")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != JOB)
        .collect();
    names.sort_by_key(|name| name == DONE);
    for name in names {
        let content = fs::read(folder.join(&name)).with_context(|| format!("failed to read {name}"))?;
        let file = HandOver { content: String::from_utf8_lossy(&content).into_owned(), name };
        writeln!(&port, "{}", serde_json::to_string(&file)?).context("failed to hand over")?;
        answers.read_line(&mut String::new()).context("failed to hear an answer")?;
    }
    Ok(())
}

/// Makes a root that anybody may write to and enters it: this machine's with the layers over it, the first on top.
/// What is written stays in the guest's memory, except what is written to the shared folders.
fn enter_root(layers: &[PathBuf], shared: &[&Path]) -> Result<()> {
    let workshop = Path::new(WORKSHOP);
    put("tmpfs", workshop, None)?;
    let place = |name: &str| {
        let place = workshop.join(name);
        fs::create_dir(&place).map(|()| place).with_context(|| format!("failed to make {name} in {WORKSHOP}"))
    };
    let mut below = Vec::new();
    // One mount for each: the kernel refuses layers that are parts of each other.
    for (number, layer) in layers.iter().map(PathBuf::as_path).chain([Path::new("/")]).enumerate() {
        let seen = place(&format!("layer{number}"))?;
        put("hostfs", &seen, Some(layer))?;
        below.push(seen.display().to_string());
    }
    let [above, scratch, root] = [place("above")?, place("scratch")?, place("root")?];
    let options =
        format!("lowerdir={},upperdir={},workdir={}", below.join(":"), above.display(), scratch.display());
    put("overlay", &root, Some(Path::new(&options)))?;
    chdir(&root).context("failed to go to the guest's root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("failed to move the guest's root")?;
    chroot(".").context("failed to enter the guest's root")?;
    put("proc", Path::new("/proc"), None)?;
    mount_own()?;
    shared.iter().try_for_each(|folder| put("hostfs", folder, Some(folder)))
}

fn mount_own() -> Result<()> {
    for (kind, place) in [("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")] {
        put(kind, Path::new(place), None)?;
    }
    Ok(())
}

fn put(kind: &str, place: &Path, data: Option<&Path>) -> Result<()> {
    match mount(Some("none"), place, Some(kind), MsFlags::empty(), data) {
        // A kernel without it has the nodes of this machine.
        Err(Errno::ENODEV) if kind == "devtmpfs" => Ok(()),
        outcome => outcome.with_context(|| format!("failed to mount {kind} at {}", place.display())),
    }
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
        .envs(&program.environment)
        .stdin(Stdio::null())
        .stdout(File::create(shared.join(program.output()))?)
        .stderr(File::create(shared.join(program.errors()))?)
        .status()?;
    Ok(fs::write(shared.join(program.end()), status.to_string())?)
}
