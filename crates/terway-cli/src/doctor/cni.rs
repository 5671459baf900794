//! Whether the runtime on this node would call our plugin: its folder's first configuration is ours, and the
//! program is in place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Finding;

const CONFIGURATIONS: &str = "etc/cni/net.d";
const PLUGIN: &str = "opt/cni/bin/terway";

/// The configuration a runtime takes: the first by name.
pub(crate) fn configuration(root: &Path) -> Finding {
    const CHECK: &str = "configuration";
    let Some(first) = first(&root.join(CONFIGURATIONS)) else {
        return Finding::wrong(
            CHECK,
            format!("/{CONFIGURATIONS} has none"),
            "terwayd puts it there once it can serve pods: see why it is not ready, and its --cni-conf-dir",
        );
    };
    let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match fs::read(&first).map(|text| serde_json::from_slice::<Value>(&text)) {
        Ok(Ok(value)) if calls_us(&value) => Finding::fine(CHECK, format!("runtimes take {name}")),
        Ok(Ok(_)) => Finding::wrong(
            CHECK,
            format!("runtimes take {name}, which does not call terway first"),
            format!("remove /{CONFIGURATIONS}/{name}, or give it a name after 10-terway.conflist"),
        ),
        Ok(Err(error)) => Finding::wrong(
            CHECK,
            format!("{name} is no JSON: {error}"),
            format!("remove /{CONFIGURATIONS}/{name}"),
        ),
        Err(error) => Finding::wrong(CHECK, format!("{name} cannot be read: {error}"), "run doctor as root"),
    }
}

/// libcni reads these endings, in the order of the names.
fn first(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let read = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ["conf", "conflist", "json"].iter().any(|one| ending == *one))
    };
    files.filter(read).min()
}

fn calls_us(configuration: &Value) -> bool {
    let first = configuration.pointer("/plugins/0/type").or_else(|| configuration.get("type"));
    first.and_then(Value::as_str) == Some("terway")
}

/// The program.
pub(crate) fn plugin(root: &Path) -> Finding {
    const CHECK: &str = "plugin";
    let remedy = "run terway-cli install --from terway --to /opt/cni/bin";
    match fs::metadata(root.join(PLUGIN)) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {
            Finding::fine(CHECK, format!("/{PLUGIN}, {} bytes", found.len()))
        }
        Ok(_) => Finding::wrong(CHECK, format!("/{PLUGIN} is no executable file"), remedy),
        Err(error) => Finding::wrong(CHECK, format!("/{PLUGIN}: {error}"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::super::Outcome;
    use super::*;

    #[test]
    fn the_first_configuration_by_name_is_the_one_that_counts() {
        let root = tempfile::tempdir().unwrap();
        assert!(configuration(root.path()).what.contains("has none"));
        let folder = root.path().join(CONFIGURATIONS);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("10-terway.conflist"), r#"{"plugins": [{"type": "terway"}]}"#).unwrap();
        fs::write(folder.join(".10-terway.conflist.draft"), "half").unwrap();
        assert_eq!(configuration(root.path()).outcome, Outcome::Fine);
        fs::write(folder.join("05-bridge.conf"), r#"{"type": "bridge"}"#).unwrap();
        let finding = configuration(root.path());
        assert!(finding.outcome == Outcome::Wrong && finding.what.contains("05-bridge.conf"), "{finding:?}");
        fs::write(folder.join("00.json"), "{").unwrap();
        assert!(configuration(root.path()).what.contains("00.json is no JSON"));
    }

    #[test]
    fn the_program_must_be_there_and_executable() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(plugin(root.path()).outcome, Outcome::Wrong);
        let file = root.path().join(PLUGIN);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert!(plugin(root.path()).what.contains("no executable"));
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(plugin(root.path()).outcome, Outcome::Fine);
    }
}
