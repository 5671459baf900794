//! Which kernel a guest runs, and what it needs to run it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{kernel_build, modules};
use crate::tools::{self, Tool};

/// A user-mode kernel.
pub(super) struct Kernel {
    /// The program.
    pub(super) program: PathBuf,
    /// What it is, for the report.
    pub(super) is: String,
    /// Programs of the operating system that bring it.
    pub(super) needs: Vec<Tool>,
    /// Modules to load.
    pub(super) modules: Vec<String>,
}

/// Where a kernel comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice<'a> {
    /// Debian's package.
    Packaged,
    /// A program of the developer's own.
    Own(&'a Path),
    /// Made from source and kept in this folder.
    Built(&'a Path),
}

impl Kernel {
    /// The chosen one; makes it if it is to be made.
    pub(super) fn get(choice: Choice<'_>) -> Result<Self> {
        let modules = modules::WANTED.map(str::to_owned).to_vec();
        let (program, needs, is) = match choice {
            Choice::Packaged => (
                "linux.uml".into(),
                vec![tools::USER_MODE_LINUX],
                "user-mode Linux as Debian packages it".into(),
            ),
            Choice::Own(path) => {
                ensure!(path.is_file(), "there is no kernel {}", path.display());
                (path.to_owned(), Vec::new(), format!("user-mode Linux at {}", path.display()))
            }
            Choice::Built(folder) => {
                let is =
                    "user-mode Linux made from Debian's source, with what is in xtask/src/lab/kernel.config";
                (kernel_build::kernel(folder)?, Vec::new(), is.into())
            }
        };
        Ok(Self { program, is, needs, modules })
    }
}
