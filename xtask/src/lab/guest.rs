//! One run of a user-mode kernel: started, awaited until a deadline, and ended if it does not end by itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::job::{DONE, JOB, Job};
use super::kernel::Kernel;

/// Memory of a guest. It is a file without a name in the guest's folder, which grows with use.
const MEMORY: &str = "mem=512M";
/// The file with what guest and kernel say.
const CONSOLE: &str = "console";
/// How long a guest that is told to end may take.
const PARTING: Duration = Duration::from_secs(5);

/// A guest to be.
pub(super) struct Guest<'a> {
    /// Its kernel.
    pub(super) kernel: &'a Kernel,
    /// Its network cards, as words of its command line.
    pub(super) cards: &'a [String],
    /// Its first process.
    pub(super) init: &'a Path,
    /// The folder it shares with this machine; emptied first.
    pub(super) folder: &'a Path,
    /// Until when it must have finished.
    pub(super) deadline: Duration,
}

impl Guest<'_> {
    /// Boots, has the job done and gives the guest's word. A guest that did not finish is an error that ends with
    /// the last lines of its console.
    pub(super) fn run(&self, job: &Job) -> Result<()> {
        self.prepare(job)?;
        let mut child = self.start()?;
        let ended = self.wait(&mut child);
        let finished = self.folder.join(DONE).exists();
        match ended {
            Ok(()) if finished => Ok(()),
            Ok(()) => bail!("the guest ended early; its console:\n{}", self.console_tail()),
            Err(error) => bail!("{error:#}; its console:\n{}", self.console_tail()),
        }
    }

    fn prepare(&self, job: &Job) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(self.folder)
                .with_context(|| format!("failed to empty {}", self.folder.display()))?;
        }
        for folder in job.shared.iter().map(PathBuf::as_path).chain([self.folder]) {
            fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        fs::write(self.folder.join(JOB), serde_json::to_vec_pretty(job)?).context("failed to write the job")
    }

    fn start(&self) -> Result<Child> {
        let console = File::create(self.folder.join(CONSOLE)).context("failed to make the console")?;
        let (init, folder) = (words(self.init)?, words(self.folder)?);
        let mut command = Command::new(&self.kernel.program);
        command.args([MEMORY, "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=-1"]);
        command.args(["con=null", "con0=null,fd:1", "con1=null", &format!("uml_dir={folder}")]);
        command.args(self.cards).arg(format!("init={init}")).args(["--", "lab-guest", folder]);
        command.env("TMPDIR", self.folder).stdin(Stdio::null());
        command.stdout(console.try_clone()?).stderr(console);
        let program = self.kernel.program.display();
        command.spawn().with_context(|| format!("failed to start {program}"))
    }

    fn wait(&self, child: &mut Child) -> Result<()> {
        let pid = Pid::from_raw(child.id().cast_signed());
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            scope.spawn(move || tell.send(child.wait()));
            if let Ok(status) = told.recv_timeout(self.deadline) {
                // How it ends says nothing: it also fails when it is switched off. What it wrote counts.
                return status.map(drop).context("failed to wait for the guest");
            }
            end(pid, &told);
            bail!("the guest did not finish within {} s", self.deadline.as_secs())
        })
    }

    fn console_tail(&self) -> String {
        let text = fs::read(self.folder.join(CONSOLE)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A user-mode kernel told to terminate ends the processes that stand for the guest's. One that cannot is killed
/// together with them.
fn end<T>(pid: Pid, told: &mpsc::Receiver<T>) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    // It may have ended just now; then there is nobody to be told.
    _ = kill(pid, Signal::SIGTERM);
    if told.recv_timeout(PARTING).is_ok() {
        return;
    }
    let all = children.split_whitespace().filter_map(|word| word.parse().ok()).map(Pid::from_raw);
    for process in std::iter::once(pid).chain(all) {
        _ = kill(process, Signal::SIGKILL);
    }
}

/// A path as a word of a kernel's command line.
fn words(path: &Path) -> Result<&str> {
    let text = path.to_str().with_context(|| format!("{} is not text", path.display()))?;
    ensure!(
        !text.contains(|letter: char| letter.is_whitespace() || matches!(letter, '"' | ',')),
        "a guest cannot be told of the path {text:?}: it contains white space, a comma or a quotation mark"
    );
    Ok(text)
}
