//! Other people's packages: licences, duplicates and sources, by the rules of `deny.toml`. Our own
//! reading of that file needs nothing installed; cargo-deny, where installed, checks the same and more.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::licences;
use crate::metadata::{Metadata, Package};
use crate::workspace::{Workspace, run as run_command};

/// The parts of `deny.toml` that are read here.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    /// `name@version`
    #[serde(rename = "crate")]
    package: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// Checks all of it and names everything that is wrong.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let rules: Rules = toml::from_str(&text).with_context(|| format!("failed to read {}", path.display()))?;
    let metadata = Metadata::read(workspace)?;
    let packages: Vec<&Package> = metadata.third_parties().collect();
    let wrong = violations(&rules, &packages);
    if !wrong.is_empty() {
        bail!("{} packages break deny.toml\n  {}", wrong.len(), wrong.join("\n  "));
    }
    eprintln!("   {} packages: licences, duplicates and sources as deny.toml says", packages.len());
    cargo_deny(workspace)
}

/// Advisories need cargo-deny and its database; without it that part is left out, and said so.
fn cargo_deny(workspace: &Workspace) -> Result<()> {
    let installed = workspace.cargo("deny --version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        eprintln!(
            "   cargo-deny is not installed: its own reading of deny.toml and the advisories are left out"
        );
        return Ok(());
    }
    run_command(&mut workspace.cargo("deny --offline --all-features check bans licenses sources"))
}

fn violations(rules: &Rules, packages: &[&Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let licence = package.license.as_deref().unwrap_or_default();
        if !licences::satisfies(licence, &rules.licenses.allow) {
            wrong.push(format!("{} {} has licence {licence:?}", package.name, package.version));
        }
        let source = package.source.as_deref().unwrap_or_default();
        if !rules.sources.allow_registry.iter().any(|allowed| source == format!("registry+{allowed}")) {
            wrong.push(format!("{} {} comes from {source:?}", package.name, package.version));
        }
        let skipped = rules
            .bans
            .skip
            .iter()
            .any(|skip| skip.package == format!("{}@{}", package.name, package.version));
        if !skipped {
            versions.entry(&package.name).or_default().push(&package.version);
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        wrong.push(format!("{name} is there {} times: {}", versions.len(), versions.join(", ")));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn package(name: &str, version: &str, license: &str, source: &str) -> Package {
        serde_json::from_value(serde_json::json!({
            "id": name, "name": name, "version": version, "license": license, "source": source,
            "manifest_path": "", "dependencies": [], "targets": [],
        }))
        .unwrap()
    }

    #[test]
    fn each_rule_names_who_breaks_it() {
        let rules: Rules = toml::from_str(
            r#"
            [licenses]
            allow = ["MIT"]
            [bans]
            skip = [{ crate = "old@1.0.0", reason = "r" }]
            [sources]
            allow-registry = ["https://github.com/rust-lang/crates.io-index"]
            "#,
        )
        .unwrap();
        let packages = [
            package("good", "1.0.0", "MIT OR GPL-3.0", REGISTRY),
            package("old", "1.0.0", "MIT", REGISTRY),
            package("old", "2.0.0", "MIT", REGISTRY),
            package("twice", "1.0.0", "MIT", REGISTRY),
            package("twice", "2.0.0", "MIT", REGISTRY),
            package("copyleft", "1.0.0", "GPL-3.0", REGISTRY),
            package("fork", "1.0.0", "MIT", "git+https://example.org/fork"),
        ];
        assert_eq!(
            violations(&rules, &packages.iter().collect::<Vec<_>>()),
            [
                "copyleft 1.0.0 has licence \"GPL-3.0\"",
                "fork 1.0.0 comes from \"git+https://example.org/fork\"",
                "twice is there 2 times: 1.0.0, 2.0.0",
            ]
        );
    }
}
