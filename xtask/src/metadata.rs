//! What `cargo metadata` says, cut down to what the checks ask: packages, who depends on whom, targets.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::workspace::{Workspace, output};

/// The whole graph for the platform we ship on.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// Every package that any platform needs.
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

/// A package, ours or from a registry.
#[derive(Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line of a package's dependency tables.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

/// A library, program or test binary.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let json =
            output(&mut workspace.cargo(
                "metadata --format-version 1 --all-features --filter-platform x86_64-unknown-linux-gnu",
            ))?;
        serde_json::from_slice(&json).context("failed to read what cargo metadata printed")
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Other people's packages that our platform really needs.
    pub(crate) fn third_parties(&self) -> impl Iterator<Item = &Package> {
        let needed: BTreeSet<&str> = self.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
        self.packages.iter().filter(move |package| {
            needed.contains(package.id.as_str()) && !self.workspace_members.contains(&package.id)
        })
    }
}
