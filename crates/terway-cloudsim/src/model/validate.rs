//! The rules a world description must keep, so that the model need not doubt it.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use crate::config::{Config, ConfigError, VSwitchConfig};

/// Checks the description as a whole.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let others = &config.other_vpcs;
    let vswitches = config.vswitches.iter().chain(others.iter().flat_map(|vpc| &vpc.vswitches));
    unique("VPC", others.iter().map(|vpc| &vpc.id).chain([&config.vpc.id]))?;
    unique("vSwitch", vswitches.map(|vswitch| &vswitch.id))?;
    let groups = others.iter().flat_map(|vpc| &vpc.security_groups);
    unique("security group", config.security_groups.iter().chain(groups))?;
    unique("instance type", config.instance_types.iter().map(|kind| &kind.id))?;
    unique("instance", config.instances.iter().map(|instance| &instance.id))?;
    unique("access key", config.credentials.iter().map(|key| &key.access_key_id))?;
    ranges(config)?;
    if let Some(wide) = others.iter().flat_map(|vpc| &vpc.vswitches).find(|home| home.ipv4.prefix() > 29) {
        return wrong(format!("vSwitch {}: {} is not a /29 or wider range", wide.id, wide.ipv4));
    }
    for instance in &config.instances {
        let kind = config.instance_types.iter().find(|kind| kind.id == instance.instance_type);
        let Some(kind) = kind else {
            return wrong(format!("instance {} has unknown type {}", instance.id, instance.instance_type));
        };
        if kind.enis == 0 || kind.ipv4_per_eni == 0 {
            return wrong(format!("instance type {} has no room for a primary ENI", kind.id));
        }
        if !config.vswitches.iter().any(|vswitch| vswitch.id == instance.vswitch) {
            return wrong(format!("instance {} is in unknown vSwitch {}", instance.id, instance.vswitch));
        }
    }
    routes(config)
}

/// The route table leads to instances, and nowhere where a vSwitch is.
fn routes(config: &Config) -> Result<(), ConfigError> {
    for (at, route) in config.vpc.routes.iter().enumerate() {
        let net = route.destination;
        if !config.instances.iter().any(|instance| instance.id == route.instance) {
            return wrong(format!("the route to {net} leads to unknown instance {}", route.instance));
        }
        let ranges = |home: &VSwitchConfig| {
            [Some(IpNetwork::V4(home.ipv4)), home.ipv6.map(IpNetwork::V6)].into_iter().flatten()
        };
        if let Some(home) = config.vswitches.iter().find(|home| ranges(home).any(|own| overlap(own, net))) {
            return wrong(format!("the route to {net} overlaps vSwitch {}", home.id));
        }
        if config.vpc.routes[..at].iter().any(|other| overlap(other.destination, net)) {
            return wrong(format!("the route to {net} overlaps another one"));
        }
    }
    Ok(())
}

fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

/// vSwitches lie inside the VPC, apart from each other, and have room for a gateway.
fn ranges(config: &Config) -> Result<(), ConfigError> {
    for (index, vswitch) in config.vswitches.iter().enumerate() {
        let id = &vswitch.id;
        if vswitch.ipv4.prefix() > 29 || !vswitch.ipv4.is_subnet_of(config.vpc.ipv4_cidr) {
            return wrong(format!("vSwitch {id}: {} is not a /29 or wider range of the VPC", vswitch.ipv4));
        }
        if let Some(ipv6) = vswitch.ipv6
            && (ipv6.prefix() > 120 || !config.vpc.ipv6_cidr.is_some_and(|vpc| ipv6.is_subnet_of(vpc)))
        {
            return wrong(format!("vSwitch {id}: {ipv6} is not a /120 or wider range of the VPC"));
        }
        if let Some(gateway) = vswitch.gateway
            && (!vswitch.ipv4.contains(gateway)
                || [vswitch.ipv4.network(), vswitch.ipv4.broadcast()].contains(&gateway))
        {
            return wrong(format!("vSwitch {id}: {gateway} can be no gateway of {}", vswitch.ipv4));
        }
        for other in &config.vswitches[..index] {
            let both_v6 = vswitch.ipv6.zip(other.ipv6);
            if vswitch.ipv4.overlaps(other.ipv4) || both_v6.is_some_and(|(a, b)| a.overlaps(b)) {
                return wrong(format!("vSwitches {} and {id} overlap", other.id));
            }
        }
    }
    Ok(())
}

fn unique<'a>(what: &str, ids: impl Iterator<Item = &'a String>) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if id.is_empty() || !seen.insert(id) {
            return wrong(format!("{what} id {id:?} is empty or used twice"));
        }
    }
    Ok(())
}

fn wrong(what: String) -> Result<(), ConfigError> {
    Err(ConfigError::Inconsistent(what))
}
