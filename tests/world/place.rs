//! A node that is told of places it is not in: vSwitches of another zone or VPC, security groups of another VPC; and
//! one that is told too little, or nonsense, of where and what it is itself.

use anyhow::{Result, ensure};
use serde_json::json;
use terway_rig::cloud::Feature;
use terway_rig::imposter;
use terway_rig::probe::icmp;
use terway_rig::world::Plan;

use crate::cloud_trouble::{add_fails, misconfigured, says};
use crate::support::{LIMIT, Scenario, audit, booted, both, events, started, with, without};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("place::a_vswitch_of_another_zone_is_refused_with_both_zones", |plan| {
            let names = plan.cloud.names();
            let wrong = json!({ names.zone: [names.elsewhere] });
            misconfigured(plan, "vswitches", &wrong, &format!("is in zone {}", names.other_zone))
        }),
        both("place::a_vswitch_of_another_vpc_is_refused_with_both_vpcs", |plan| {
            let names = plan.cloud.names();
            let wrong = json!({ names.zone: [names.foreign] });
            misconfigured(plan, "vswitches", &wrong, names.foreign)
        }),
        with(
            Feature::GroupsOfVpcs,
            "place::a_security_group_of_another_vpc_is_said_and_leaves_nothing",
            foreign_group,
        ),
        both("place::a_metadata_service_without_a_region_is_said", |plan| {
            let region = plan.cloud.names().places[0];
            nonsense(plan, region, None, region)
        }),
        both("place::a_metadata_service_without_a_zone_is_said", |plan| {
            let zone = plan.cloud.names().places[1];
            nonsense(plan, zone, None, zone)
        }),
        with(Feature::LimitsByType, "place::an_unheard_of_instance_type_is_said", |plan| {
            nonsense(plan, "instance-type", Some("unheard-of"), "the type unheard-of of this node")
        }),
        both("place::a_gateway_that_is_not_the_rules_is_believed_and_told", other_gateway),
        without(Feature::Prefixes, "place::prefixes_are_refused_where_the_cloud_has_none", |plan| {
            let plan = Plan { shared: true, ..plan.clone() };
            misconfigured(
                &plan,
                "enable_ip_prefix",
                &json!(true),
                "takes 0 prefixes, but `enable_ip_prefix` is true",
            )
        }),
    ]
}

fn foreign_group(plan: &Plan) -> Result<()> {
    let keys = vec![("security_group", json!(plan.cloud.names().foreign_group))];
    let mut world = started(&Plan { pool: (0, 1), keys, ..plan.clone() })?;
    world.boot()?;
    let text = add_fails(&mut world)?;
    ensure!(text.contains("cloud-invalid") && text.contains("VpcMismatch"), "{text}");
    ensure!(world.cloud_enis()?.is_empty(), "an ENI leaked");
    Ok(())
}

/// Pods in the nodes' vSwitch, whose gateway is not where the cloud's rule says, reach what is behind it.
fn other_gateway(plan: &Plan) -> Result<()> {
    const GATEWAY: &str = "10.2.0.77";
    let names = plan.cloud.names();
    let keys = vec![("vswitches", json!({ names.zone: [names.nodes] }))];
    let mut world = booted(&Plan { gateway: Some(GATEWAY), keys, ..plan.clone() })?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    // Of another vSwitch: the way there leads over the gateway.
    icmp::ping(&pod.netns, names.gateways[0].parse()?, 56, LIMIT)?;
    let told = events(node, "GatewayDiffers")?;
    ensure!(told.len() == 1 && told[0].contains(GATEWAY) && told[0].contains(names.nodes), "{told:?}");
    pod.del()?;
    audit(&world)
}

/// The metadata service gives this answer to that question; the daemon does not become ready and says why.
fn nonsense(plan: &Plan, about: &'static str, answer: Option<&'static str>, expected: &str) -> Result<()> {
    let mut world = started(plan)?;
    let real = format!("{}:80", plan.cloud.names().metadata).parse()?;
    let service = imposter::stand_in(&world.nodes[0].netns, real, about, answer)?;
    world.nodes[0].metadata = Some(format!("http://{service}"));
    world.nodes[0].flags = vec!["--provider".to_owned(), plan.cloud.name().to_owned()];
    world.nodes[0].start()?;
    says(&world, expected)?;
    ensure!(world.cloud_enis()?.is_empty(), "an ENI was made by a node that does not know where it is");
    Ok(())
}
