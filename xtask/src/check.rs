//! The rules of the house: the floors, the shared lints, the absences, the copies that must agree, and a
//! report of file sizes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::metadata::Metadata;
use crate::workspace::Workspace;
use crate::{absences, copies, floors, sizes, vendors};

/// Folders with Rust code of ours.
const SOURCES: &[&str] = &["crates", "tests", "xtask"];

/// Checks all rules and names everything that breaks one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let metadata = Metadata::read(workspace)?;
    let members: Vec<_> = metadata.members().collect();
    let mut wrong = floors::violations(members.iter().copied());
    for member in &members {
        if !inherits_lints(&member.manifest_path)? {
            wrong.push(format!("{} lacks `[lints] workspace = true`", member.name));
        }
    }
    wrong.extend(copies::violations(&workspace.root, env!("CARGO_PKG_VERSION"))?);
    let mut lengths = Vec::new();
    for path in rust_files(&workspace.root)? {
        let file = workspace.root.join(&path);
        let text = fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
        wrong.extend(absences::violations(&path, &text));
        wrong.extend(vendors::violations(&path, &text));
        lengths.push((path, text.lines().count()));
    }
    for line in sizes::report(lengths) {
        eprintln!("   {line}");
    }
    if !wrong.is_empty() {
        bail!("{} rules of the house are broken\n  {}", wrong.len(), wrong.join("\n  "));
    }
    eprintln!("   {} crates on their floors, no forbidden text", members.len());
    Ok(())
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    lints: Lints,
}

#[derive(Default, Deserialize)]
struct Lints {
    #[serde(default)]
    workspace: bool,
}

fn inherits_lints(manifest: &Path) -> Result<bool> {
    let text =
        fs::read_to_string(manifest).with_context(|| format!("failed to read {}", manifest.display()))?;
    let manifest: Manifest =
        toml::from_str(&text).with_context(|| format!("failed to read {}", manifest.display()))?;
    Ok(manifest.lints.workspace)
}

/// Our Rust files, from the root, without generated ones.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root.join(&folder))
            .with_context(|| format!("failed to list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("failed to list {}", folder.display()))?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                let is_ours = !matches!(entry.file_name().to_str(), Some("generated" | "target"));
                folders.extend(is_ours.then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
