//! Puts a program into a folder of the host by rename. Overwriting in place fails while a runtime runs
//! the old one ("text file busy"), and a half-written plugin counts as a successful DEL with libcni.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use terway_types::{Fault, FaultCode};

/// Which step failed, on which file.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step} {}", path.display())]
pub(crate) struct InstallError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl InstallError {
    /// The failure as a person meets it.
    pub(crate) fn fault(&self) -> Fault {
        Fault::new(FaultCode::NotInstalled, "the program is not installed").caused_by(self)
    }
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> InstallError + use<'a> {
    move |source| InstallError { step, path: path.to_owned(), source }
}

/// Copies `from` beside its new place, makes it durable and executable, and renames it. `to` is a folder,
/// or a file name in one. Returns the new place; on failure the old program stays.
pub(crate) fn install(from: &Path, to: &Path) -> Result<PathBuf, InstallError> {
    let place = match from.file_name() {
        Some(name) if to.is_dir() => to.join(name),
        _ => to.to_owned(),
    };
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let fresh = place.with_file_name(format!(".{name}.{}", std::process::id()));
    let result =
        copy(from, &fresh).and_then(|()| fs::rename(&fresh, &place).map_err(failed("put in place", &place)));
    if let Err(error) = result {
        // The copy may not exist; the error above is the one that matters.
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    let folder = place.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("make durable", folder))?;
    Ok(place)
}

fn copy(from: &Path, fresh: &Path) -> Result<(), InstallError> {
    let mut source = File::open(from).map_err(failed("read", from))?;
    let mut target = File::create(fresh).map_err(failed("create", fresh))?;
    io::copy(&mut source, &mut target).map_err(failed("write", fresh))?;
    target.set_permissions(Permissions::from_mode(0o755)).map_err(failed("make executable", fresh))?;
    target.sync_all().map_err(failed("make durable", fresh))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_running_program_keeps_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (from, place) = (dir.path().join("terway"), dir.path().join("bin/terway"));
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(&from, "new").unwrap();
        fs::write(&place, "old").unwrap();
        let mut running = File::open(&place).unwrap();

        assert_eq!(install(&from, &dir.path().join("bin")).unwrap(), place);

        assert_eq!(fs::read_to_string(&place).unwrap(), "new");
        assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o755);
        let mut old = String::new();
        running.read_to_string(&mut old).unwrap();
        assert_eq!(old, "old");
        assert_eq!(fs::read_dir(dir.path().join("bin")).unwrap().count(), 1, "no copy stays behind");
    }

    #[test]
    fn a_failure_names_step_and_file_and_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("terway");
        fs::write(&place, "old").unwrap();
        let missing = dir.path().join("missing");
        let error = install(&missing, &place).unwrap_err();
        assert_eq!(error.to_string(), format!("failed to read {}", missing.display()));
        let fault = error.fault();
        assert!(fault.cause.contains("missing: No such file") && fault.remedy.contains("--from"), "{fault}");
        assert_eq!(fs::read_to_string(&place).unwrap(), "old");
        let nowhere = dir.path().join("no/such/folder");
        let error = install(&place, &nowhere).unwrap_err().to_string();
        assert!(error.starts_with("failed to create "), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
