//! Which kernel a guest runs, and what it needs to run it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::modules;
use crate::tools::{self, Tool};

/// A user-mode kernel.
pub(super) struct Kernel {
    /// The program.
    pub(super) program: PathBuf,
    /// Programs of the operating system that bring it.
    pub(super) needs: Vec<Tool>,
    /// Modules to load.
    pub(super) modules: Vec<String>,
}

impl Kernel {
    /// The one at this path, or Debian's.
    pub(super) fn choose(path: Option<&Path>) -> Result<Self> {
        let modules = modules::WANTED.map(str::to_owned).to_vec();
        let Some(path) = path else {
            return Ok(Self { program: "linux.uml".into(), needs: vec![tools::USER_MODE_LINUX], modules });
        };
        ensure!(path.is_file(), "there is no kernel {}", path.display());
        Ok(Self { program: path.to_owned(), needs: Vec::new(), modules })
    }
}
