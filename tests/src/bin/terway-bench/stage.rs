//! Nodes with the shipped programs in one of the modes, and what is around them.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::trunk::Trunks;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::subject;

/// What a mode is measured on.
pub(crate) enum Stage {
    /// Daemons and a cloud.
    Cloud(World),
    /// Nobody makes members of trunks yet: a stand-in for the daemon hands them out, and writes nothing down.
    Trunks(Trunks),
}

impl Stage {
    /// With a cloud; with children of shared ENIs where a mode of theirs is named.
    pub(crate) fn cloud(plan: &Plan, ipvlan: Option<&str>, options: &Options) -> Result<Self> {
        let mut world = World::start(plan, &options.binaries, &options.state)?;
        if let Some(mode) = ipvlan {
            for node in &world.nodes {
                node.tell_plugin("eniip_virtual_type", json!("IPVlan"))?;
                node.tell_plugin("ipvlan_mode", json!(mode))?;
                node.tell_plugin("require_virtual_type", json!(true))?;
            }
        }
        world.boot()?;
        Ok(Self::Cloud(world))
    }

    /// With trunks whose members have links for their VLANs, or tags that the trunk puts on.
    pub(crate) fn trunks(name: &str, vlan_links: bool, options: &Options) -> Result<Self> {
        Ok(Self::Trunks(Trunks::start(name, vlan_links, &options.binaries, &options.state)?))
    }

    /// The VPC's namespace.
    pub(crate) fn vpc(&self) -> &Path {
        match self {
            Self::Cloud(world) => &world.vpc,
            Self::Trunks(trunks) => &trunks.vpc,
        }
    }

    pub(crate) fn nodes(&mut self) -> &mut [Node] {
        match self {
            Self::Cloud(world) => &mut world.nodes,
            Self::Trunks(trunks) => &mut trunks.nodes,
        }
    }

    /// Waits until the next ADD on the first node need not wait.
    pub(crate) fn warm(&self) -> Result<()> {
        match self {
            Self::Cloud(world) => subject::warm_either(&world.nodes[0]),
            Self::Trunks(_) => Ok(()),
        }
    }
}
