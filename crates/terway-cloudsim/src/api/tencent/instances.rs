//! `DescribeInstances` of CVM, the vendor's product for instances.

use serde::Deserialize;
use serde_json::{Value, json};
use terway_types::InstanceId;

use super::body::{self, Filter, Number};
use super::describe::{check_choice, page};
use super::error::Refused;
use crate::model::{Instance, InstanceState, World};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    instance_ids: Vec<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    offset: Option<Number>,
    #[serde(default)]
    limit: Option<Number>,
}

/// One unknown id refuses the whole call.
pub(super) fn describe(world: &World, body: &[u8]) -> Result<Value, Refused> {
    let given: Wanted = body::read(body)?;
    check_choice(given.instance_ids.len(), &given.filters)?;
    if let Some(filter) = given.filters.iter().find(|filter| filter.name != "instance-id") {
        return Err(Refused::new("InvalidFilter", format!("the filter {:?} is not known here", filter.name)));
    }
    for id in &given.instance_ids {
        if world.instance(&InstanceId(id.clone())).is_none() {
            return Err(Refused::new(
                "InvalidInstanceId.NotFound",
                format!("the instance {id} does not exist"),
            ));
        }
    }
    let asked = |id: &str| {
        (given.instance_ids.is_empty() || given.instance_ids.iter().any(|asked| asked == id))
            && given.filters.iter().all(|filter| filter.values.iter().any(|value| value == id))
    };
    let matching: Vec<&Instance> = world.instances().filter(|found| asked(found.id.as_str())).collect();
    let page = page(&matching, given.offset.as_ref(), given.limit.as_ref())?;
    let set: Vec<Value> = page.iter().map(|instance| show(world, instance)).collect();
    Ok(json!({ "InstanceSet": set, "TotalCount": matching.len() }))
}

fn show(world: &World, instance: &Instance) -> Value {
    json!({
        "InstanceId": instance.id.as_str(),
        "InstanceName": instance.id.as_str(),
        "InstanceType": instance.instance_type.id,
        "InstanceState": match instance.state {
            InstanceState::Running => "RUNNING",
            InstanceState::Stopped => "STOPPED",
            InstanceState::Starting => "STARTING",
            InstanceState::Stopping => "STOPPING",
        },
        "Placement": { "Zone": instance.zone, "ProjectId": 0 },
        "VirtualPrivateCloud": {
            "VpcId": world.config().vpc.id,
            "SubnetId": instance.vswitch.as_str(),
            "AsVpcGateway": false,
        },
        "RestrictState": "NORMAL",
        "Tags": [],
    })
}
