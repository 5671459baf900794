//! A release of Debian that is not this machine's: apt reads its lists into a folder of their own, so that what the
//! machine itself would install stays what it was. The mirror is the machine's, if it has one of Debian.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::str;

use anyhow::{Context as _, Result};

use crate::workspace::{output, run};

/// The archive itself, for a machine of another distribution.
const ARCHIVE: &str = "http://deb.debian.org/debian/";
/// Who signs every release.
pub(crate) const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A release, by its code name.
#[derive(Debug)]
pub(crate) struct Release {
    name: &'static str,
    mirror: String,
}

impl Release {
    /// The release of this name, on the mirror that this machine uses; one of Ubuntu has none of Debian.
    pub(crate) fn named(name: &'static str) -> Result<Self> {
        let mut command = Command::new("apt-get");
        command.args([
            "indextargets",
            "--format",
            "$(LABEL) $(COMPONENT) $(REPO_URI)",
            "Created-By: Packages",
        ]);
        let said = output(&mut command)?;
        let said = str::from_utf8(&said).context("what apt-get said is not text")?;
        Ok(Self { name, mirror: mirror(said).unwrap_or(ARCHIVE).to_owned() })
    }

    /// Downloads packages into a folder, and nothing that they depend on.
    pub(super) fn fetch(&self, packages: &[&str], folder: &Path) -> Result<()> {
        let own = folder.with_extension("apt");
        for place in ["lists/partial", "cache/archives/partial", "nothing"] {
            fs::create_dir_all(own.join(place))
                .with_context(|| format!("failed to make {}", own.display()))?;
        }
        let source = format!("deb [signed-by={KEYS}] {} {} main\n", self.mirror, self.name);
        fs::write(own.join("source.list"), source).context("failed to write where packages come from")?;
        run(Self::apt(&own).arg("update"))?;
        run(Self::apt(&own).arg("download").args(packages).current_dir(folder))?;
        fs::remove_dir_all(&own).with_context(|| format!("failed to remove {}", own.display()))
    }

    /// apt-get that knows of one release alone.
    fn apt(own: &Path) -> Command {
        let mut command = Command::new("apt-get");
        command.args(["--quiet=2", "--option", "APT::Sandbox::User=root"]);
        for (option, place) in
            [("Dir::Etc::sourcelist", "source.list"), ("Dir::State::lists", "lists"), ("Dir::Cache", "cache")]
        {
            command.arg("--option").arg(format!("{option}={}", own.join(place).display()));
        }
        command.args(["--option", "APT::Default-Release="]);
        command
    }
}

/// The first mirror of Debian's own archive among apt's targets, one a line: label, component, address.
fn mirror(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| line.strip_prefix("Debian main "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_itself_is_taken_and_nobody_elses() {
        let targets = "Node Source main http://other.example/node/\n\
                       Debian-Security main http://mirror.example/security/\n\
                       Debian non-free http://mirror.example/debian/\n\
                       Debian main http://mirror.example/debian/\n\
                       Debian main http://late.example/debian/\n";
        assert_eq!(mirror(targets), Some("http://mirror.example/debian/"));
        assert_eq!(mirror("Ubuntu main http://mirror.example/ubuntu/\n"), None);
        assert_eq!(mirror(""), None);
    }
}
