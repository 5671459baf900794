//! Stand-ins for NICs, which floors and reference plugins use up: pairs of links between a node and the VPC.

use std::path::Path;

use anyhow::{Context as _, Result};
use terway_rig::reader;

/// Makes one: this end on the node, the far one in the VPC's namespace.
pub(crate) fn stand_in(host: &Path, vpc: &Path, [near, far]: [&str; 2]) -> Result<()> {
    let name = vpc.file_name().and_then(|name| name.to_str()).context("the VPC's namespace has no name")?;
    reader::text(host, "ip", &["link", "add", near, "type", "veth", "peer", "name", far, "netns", name])?;
    reader::text(vpc, "ip", &["link", "set", far, "up"]).map(drop)
}
