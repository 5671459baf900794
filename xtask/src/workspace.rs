//! Where the repository is and how its commands run: always from its root, always visibly.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::said;

/// The repository this program was built from.
pub(crate) struct Workspace {
    /// Its root.
    pub(crate) root: PathBuf,
    cargo: OsString,
}

impl Workspace {
    /// The repository around this package.
    pub(crate) fn here() -> Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lives one folder below the repository's root")?
            .to_path_buf();
        Ok(Self { root, cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()) })
    }

    /// The folder cargo builds into: `CARGO_TARGET_DIR`, else `target`.
    pub(crate) fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }

    /// The folder of the shipped programs.
    pub(crate) fn dist(&self) -> PathBuf {
        self.target().join("dist")
    }

    /// A cargo command with these arguments, split at white space, to be extended and run.
    pub(crate) fn cargo(&self, words: &str) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(words.split_whitespace()).current_dir(&self.root).stdin(Stdio::null());
        // What cargo told this program of its own package is not for the next cargo: build scripts that look at it
        // would run again, and all that depends on them would be built again, by turns with a cargo called by hand.
        let own = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        };
        for name in env::vars_os().map(|(name, _)| name).filter(own) {
            command.env_remove(name);
        }
        command
    }
}

/// Runs a command to its end with its output on the terminal. Where that goes into a log, the error repeats the lines that say
/// why the command failed, below its first line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("   $ {}", shown(command));
    let (status, said) = if io::stderr().is_terminal() {
        command.status().map(|status| (status, Vec::new()))
    } else {
        said::run(command)
    }
    .with_context(|| format!("failed to start {}", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}\n{}", shown(command), said::excerpt(&said).join("\n"));
    }
    Ok(())
}

/// Runs a command to its end and gives what it printed.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start {}", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", shown(command), output.status);
    }
    Ok(output.stdout)
}

/// The command as a person would type it, without the folders of its program.
fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let mut words = vec![name];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
