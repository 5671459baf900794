//! Places that must agree with each other because a tool cannot read one from the other.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Crates with a stricter `clippy.toml`: clippy reads the nearest file only, so they repeat the root's.
const STRICT: &[&str] = &["crates/terway-types", "crates/terway-pool", "crates/cni-protocol"];

/// Every disagreement, as sentences.
pub(crate) fn violations(root: &Path, version: &str) -> Result<Vec<String>> {
    let read =
        |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("failed to read {path}"));
    let mut wrong = Vec::new();
    let general = read("clippy.toml")?;
    for folder in STRICT {
        let path = format!("{folder}/clippy.toml");
        wrong.extend(lacking(&path, &read(&path)?, &general));
    }
    wrong.extend(images("deploy/terway.yaml", &read("deploy/terway.yaml")?, version));
    let conflist = read("cni-conf/10-terway.conflist")?;
    let conflist = serde_json::from_str(&conflist).context("cni-conf/10-terway.conflist is no JSON")?;
    wrong.extend(conflist_problems(&conflist));
    Ok(wrong)
}

/// Lines of the general file, comments aside, that the strict one does not repeat.
fn lacking(path: &str, strict: &str, general: &str) -> Vec<String> {
    let rules = general.lines().filter(|line| !line.starts_with('#'));
    rules
        .filter(|rule| !strict.lines().any(|line| line == *rule))
        .map(|rule| format!("{path} lacks the root's `{}`", rule.trim()))
        .collect()
}

/// Images that are not of this version.
fn images(path: &str, manifest: &str, version: &str) -> Vec<String> {
    let wanted = format!("image: terway:{version}");
    let images = manifest.lines().map(str::trim).filter(|line| line.starts_with("image:"));
    images
        .filter(|image| *image != wanted)
        .map(|image| format!("{path} says `{image}`, but this is {version}"))
        .collect()
}

/// What runtimes and our own parts rely on in the conflist we ship.
fn conflist_problems(conflist: &Value) -> Vec<String> {
    let plugin = &conflist["plugins"][0];
    let versions = conflist["cniVersions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let facts = [
        // Requests of the Go plugin carry no network; the daemon files them under this name.
        (conflist["name"] == "terway", "its name must be terway"),
        (plugin["type"] == "terway", "its first plugin must be terway"),
        // An old libcni reads only this and refuses what it does not know.
        (conflist["cniVersion"] == "1.0.0", "cniVersion must be 1.0.0"),
        (versions.contains(&"1.1.0".into()), "cniVersions must offer 1.1.0, which brings STATUS and GC"),
        (plugin["capabilities"]["bandwidth"] == true, "it must take bandwidth"),
    ];
    let broken = facts.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, rule)| format!("cni-conf/10-terway.conflist: {rule}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_file_repeats_the_general_one() {
        let general = "# why\na = 1\nb = [\n  { path = \"x\" },\n]\n";
        assert_eq!(
            lacking("p", "a = 1\nb = [\n  { path = \"x\" },\n  { path = \"y\" },\n]", general),
            [""; 0]
        );
        assert_eq!(lacking("p", "a = 1\nb = [\n]", general), ["p lacks the root's `{ path = \"x\" },`"]);
    }

    #[test]
    fn images_are_of_this_version() {
        let manifest = "  image: terway:0.1.0\n  image: terway:0.0.9\n";
        assert_eq!(images("p", manifest, "0.1.0"), ["p says `image: terway:0.0.9`, but this is 0.1.0"]);
    }

    #[test]
    fn a_conflist_that_runtimes_would_misread_is_named() {
        let conflist = serde_json::json!({
            "cniVersion": "1.1.0", "cniVersions": ["1.1.0"], "name": "terway",
            "plugins": [{ "type": "terway", "capabilities": { "bandwidth": true } }],
        });
        assert_eq!(conflist_problems(&conflist), ["cni-conf/10-terway.conflist: cniVersion must be 1.0.0"]);
    }
}
