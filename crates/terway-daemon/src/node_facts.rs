//! What the node is and may have, as the cloud tells: its identity, limits, vSwitches and security groups. What
//! follows from these and the settings is in `targets`.

use std::collections::BTreeMap;

use terway_cloud::{Cloud, EniFilter, InstanceIdentity, InstanceLimits, VSwitch};
use terway_types::{Fault, FaultCode, SecurityGroupId, Subnets, VSwitchId, ZoneId};
use tokio::sync::OnceCell;

use crate::gateway_check::{Verdict, judge};
use crate::node_kind::NodeKind;
use crate::settings::Settings;

/// The node as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Who it is.
    pub identity: InstanceIdentity,
    /// What its type can carry.
    pub limits: InstanceLimits,
    /// The vSwitches of new ENIs, in the order of use.
    pub vswitches: Vec<VSwitch>,
    /// The security groups of new ENIs.
    pub security_groups: Vec<SecurityGroupId>,
    /// Whether it is a Lingjun node, and where its ENIs come from.
    pub kind: NodeKind,
    /// What about its vSwitches the operator should hear of.
    pub remarks: Vec<String>,
    /// The ranges that the VPC's route table leads to it. Told by the flags, not by the cloud.
    pub pod_ranges: Subnets,
}

impl NodeFacts {
    /// A node in VPC mode, about whose ENIs the cloud is not asked.
    pub fn without_enis(identity: InstanceIdentity, kind: NodeKind) -> Self {
        let limits = InstanceLimits {
            enis: 0,
            ipv4_per_eni: 0,
            ipv6_per_eni: 0,
            members: 0,
            trunk: false,
            prefixes_per_eni: 0,
            assign_batch: 0,
        };
        let (vswitches, security_groups, pod_ranges) = (Vec::new(), Vec::new(), Subnets::default());
        Self { identity, limits, vswitches, security_groups, kind, remarks: Vec::new(), pod_ranges }
    }
}

/// What earlier attempts to discover the facts learned: so a cloud that takes one call at a time gets there too.
#[derive(Debug, Default)]
pub struct Learned {
    about: Option<Asked>,
    limits: OnceCell<InstanceLimits>,
    vswitches: OnceCell<(Vec<VSwitch>, Vec<String>)>,
    security_groups: OnceCell<Vec<SecurityGroupId>>,
}

/// What the answers depend on.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    identity: InstanceIdentity,
    kind: NodeKind,
    vswitches: BTreeMap<ZoneId, Vec<VSwitchId>>,
    security_groups: Vec<SecurityGroupId>,
    ipv6: bool,
}

/// Asks the cloud what is not learned yet. Every failure is worth another try later: somebody may mend it there.
/// What was learned is forgotten with the last answer, so that a later discovery asks anew.
pub async fn discover(
    cloud: &dyn Cloud,
    identity: InstanceIdentity,
    settings: &Settings,
    kind: NodeKind,
    learned: &mut Learned,
) -> Result<NodeFacts, Fault> {
    let asked = Asked {
        identity: identity.clone(),
        kind,
        vswitches: settings.vswitches.clone(),
        security_groups: settings.security_groups.clone(),
        ipv6: settings.ipv6,
    };
    if learned.about.as_ref() != Some(&asked) {
        *learned = Learned { about: Some(asked), ..Learned::default() };
    }
    // All of them, also where one fails: the others' answers are kept.
    let (limits, vswitches, security_groups) = tokio::join!(
        learned.limits.get_or_try_init(|| limits(cloud, &identity)),
        learned.vswitches.get_or_try_init(|| vswitches(cloud, &identity, settings, kind)),
        learned.security_groups.get_or_try_init(|| security_groups(cloud, &identity, settings)),
    );
    let (vswitches, remarks) = vswitches?.clone();
    let (limits, security_groups) = (*limits?, security_groups?.clone());
    *learned = Learned::default();
    let pod_ranges = Subnets::default();
    Ok(NodeFacts { identity, limits, vswitches, security_groups, kind, remarks, pod_ranges })
}

async fn limits(cloud: &dyn Cloud, identity: &InstanceIdentity) -> Result<InstanceLimits, Fault> {
    let kind = &identity.instance_type;
    let limits = cloud.instance_limits(kind).await.map_err(|failure| terway_cloud::fault(&failure))?;
    limits.ok_or_else(|| {
        let what = format!("the cloud does not know the type {kind} of this node, so nobody can tell its limits");
        Fault::new(FaultCode::CloudInvalid, what).remedy(
            "let the node's metadata tell its real type, or call the endpoint of the region that has the type",
        )
    })
}

async fn vswitches(
    cloud: &dyn Cloud,
    identity: &InstanceIdentity,
    settings: &Settings,
    kind: NodeKind,
) -> Result<(Vec<VSwitch>, Vec<String>), Fault> {
    let ids = match settings.vswitches.get(&identity.zone) {
        Some(ids) => ids.clone(),
        // A Lingjun node's own NIC is in no vSwitch that new ENIs could be in.
        None if kind.lingjun || identity.vswitch.as_str().is_empty() => {
            let what = format!(
                "`vswitches` lists none for zone {}, and this node has none of its own",
                identity.zone
            );
            return Err(Fault::new(FaultCode::ConfigInvalid, what)
                .remedy("list the vSwitches of new ENIs in the configuration, by zone"));
        }
        None => vec![identity.vswitch.clone()],
    };
    // The node's own one as well, at no further call: there the gateway can be checked.
    let own = Some(&identity.vswitch).filter(|own| !own.as_str().is_empty() && !ids.contains(own));
    let asked: Vec<_> = ids.iter().chain(own).cloned().collect();
    let mut known =
        cloud.describe_vswitches(&asked).await.map_err(|failure| terway_cloud::fault(&failure))?;
    let own = known.iter_mut().find(|vswitch| vswitch.id == identity.vswitch);
    let remarks = own.map(|own| checked(own, identity)).unwrap_or_default();
    let mut found = Vec::with_capacity(ids.len());
    let mut problems = Vec::new();
    for id in &ids {
        let vswitch = known.iter().find(|vswitch| vswitch.id == *id);
        match usable(id, vswitch, identity, settings.ipv6) {
            Ok(vswitch) => found.push(vswitch.clone()),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Ok((found, remarks));
    }
    Err(Fault::new(FaultCode::ConfigInvalid, problems.join("; "))
        .remedy("mend `vswitches` in the configuration, or the vSwitches named"))
}

/// Gives the node's own vSwitch the gateways to believe.
fn checked(own: &mut VSwitch, identity: &InstanceIdentity) -> Vec<String> {
    let Verdict { gateways, remarks } = judge(own, &identity.ranges);
    own.gateways = gateways;
    remarks
}

fn usable<'a>(
    id: &VSwitchId,
    vswitch: Option<&'a VSwitch>,
    identity: &InstanceIdentity,
    ipv6: bool,
) -> Result<&'a VSwitch, String> {
    let zone = &identity.zone;
    let Some(vswitch) = vswitch else {
        return Err(format!("the cloud does not know vSwitch {id}, listed for zone {zone}"));
    };
    if vswitch.zone != *zone {
        return Err(format!("vSwitch {id} is in zone {}, this node is in {zone}", vswitch.zone));
    }
    if vswitch.vpc != identity.vpc {
        return Err(format!("vSwitch {id} is in VPC {}, this node is in {}", vswitch.vpc, identity.vpc));
    }
    if ipv6 && vswitch.subnets.v6.is_none() {
        return Err(format!("vSwitch {id} has no IPv6 CIDR, but `ip_stack` is \"dual\""));
    }
    Ok(vswitch)
}

async fn security_groups(
    cloud: &dyn Cloud,
    identity: &InstanceIdentity,
    settings: &Settings,
) -> Result<Vec<SecurityGroupId>, Fault> {
    if !settings.security_groups.is_empty() {
        return Ok(settings.security_groups.clone());
    }
    let filter = EniFilter { instance: Some(identity.id.clone()), ..EniFilter::default() };
    let enis = cloud.describe_enis(&filter).await.map_err(|failure| terway_cloud::fault(&failure))?;
    let primary = enis.into_iter().find(|eni| eni.primary() || eni.mac == identity.primary_mac);
    let groups = primary.map(|eni| eni.security_groups).unwrap_or_default();
    if groups.is_empty() {
        let what = format!("the cloud names no security group of the primary ENI of {}", identity.id);
        return Err(Fault::new(FaultCode::CloudUnavailable, what)
            .remedy("list `security_groups` in the configuration"));
    }
    Ok(groups)
}

#[cfg(test)]
pub(crate) mod tests {
    use terway_cloud::Ranges;

    use super::*;

    /// An instance with so many ENIs and addresses per ENI.
    pub(crate) fn facts(enis: u32, v4: u32, v6: u32) -> NodeFacts {
        NodeFacts {
            identity: InstanceIdentity {
                id: "i-1".into(),
                instance_type: "ecs.g7.large".to_owned(),
                region: "cn-hangzhou".to_owned(),
                zone: "h".into(),
                vpc: "vpc-1".to_owned(),
                vswitch: "vsw-1".into(),
                primary_mac: "02:00:00:00:00:01".parse().unwrap(),
                ranges: Ranges::default(),
            },
            limits: InstanceLimits {
                enis,
                ipv4_per_eni: v4,
                ipv6_per_eni: v6,
                members: 0,
                trunk: false,
                prefixes_per_eni: v4.saturating_sub(1),
                assign_batch: 10,
            },
            vswitches: Vec::new(),
            security_groups: Vec::new(),
            kind: NodeKind::default(),
            remarks: Vec::new(),
            pod_ranges: Subnets::default(),
        }
    }
}
