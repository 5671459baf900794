//! A node that is told of places it is not in: vSwitches of another zone or VPC, security groups of another VPC; and
//! one that is told too little, or nonsense, of where and what it is itself.

use anyhow::{Result, ensure};
use serde_json::json;
use terway_rig::cloud::Cloud;
use terway_rig::imposter;
use terway_rig::world::Plan;

use crate::cloud_trouble::{add_fails, misconfigured, says};
use crate::support::{Scenario, both, only, started};

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
        // The other cloud's security groups belong to a region, not to a VPC.
        only(
            Cloud::Aliyun,
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
        only(Cloud::Aliyun, "place::an_unheard_of_instance_type_is_said", |plan| {
            nonsense(plan, "instance-type", Some("ecs.unheard-of"), "the type ecs.unheard-of of this node")
        }),
        // The other cloud has them.
        only(Cloud::Tencent, "place::prefixes_are_refused_where_the_cloud_has_none", |plan| {
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
