//! Runtimes newer than this machine's release has, for the stage `clients`: a containerd and a libcni that know STATUS and
//! GC, and the Go that builds a client of the latter. They are unpacked below `target` and not installed.

use std::path::PathBuf;

use anyhow::Result;

use crate::packages::{self, Release};
use crate::workspace::Workspace;

/// The release that runtimes come from, and its packages: containerd 2.1 and libcni 1.3 at the least.
const RUNTIMES: (&str, [&str; 2]) = ("forky", ["containerd", "golang-github-appc-cni-dev"]);
/// The release that Go comes from, and its packages.
const GO: (&str, [&str; 2]) = ("trixie", ["golang-1.24-go", "golang-1.24-src"]);

/// Unpacks them, and tells the folder: `runtimes` and `go` in it.
pub(crate) fn unpack(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("newer");
    for ((release, list), name) in [(RUNTIMES, "runtimes"), (GO, "go")] {
        packages::unpack_of(&Release::named(release)?, &list, &folder.join(name))?;
    }
    Ok(folder)
}
