//! A thousand nodes: what each call costs is counted in ENIs looked at, so that the test means the same on
//! every machine. No call may cost more because others have ENIs too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use terway_types::Timestamp;

use super::actions;
use super::ecs::Call;
use super::parameters::{Parameters, all};
use crate::api::door::Errand;
use crate::config::Config;
use crate::model::{FabricAction, World};

const NODES: usize = 1000;
/// ENIs that each node adds to its own one.
const ENIS: usize = 3;

struct Cloud {
    world: World,
    now: Timestamp,
    /// The dearest call per action.
    dearest: BTreeMap<String, u64>,
}

impl Cloud {
    fn new() -> Self {
        let instances: Vec<Value> = (0..NODES)
            .map(|n| json!({"id": format!("i-{n}"), "type": "large", "vswitch": "vsw-nodes"}))
            .collect();
        let config = json!({
            "region": "r",
            "vpc": {"id": "vpc-1", "ipv4_cidr": "10.0.0.0/8"},
            "vswitches": [
                {"id": "vsw-nodes", "zone": "z", "ipv4": "10.0.0.0/20"},
                {"id": "vsw-pods", "zone": "z", "ipv4": "10.16.0.0/12"},
            ],
            "security_groups": ["sg-1"],
            "instance_types": [{"id": "large", "enis": 8, "ipv4_per_eni": 20}],
            "instances": instances,
            "credentials": [],
            "quota": {"enis": 100_000},
        });
        let now = Timestamp(1_000_000);
        let world = World::from_config(Config::parse(&config.to_string()).unwrap(), now).unwrap();
        Self { world, now, dearest: BTreeMap::new() }
    }

    /// One call, counted.
    fn call(&mut self, action: &str, query: &str) -> Value {
        self.now = self.now + Duration::from_millis(1);
        let before = self.world.looked_at();
        self.pass();
        let pairs = all(&format!("RegionId=r&{query}"), None);
        let parameters = Parameters::of(&pairs);
        let call = Call { action: action.to_owned(), version: "2014-05-26".to_owned(), parameters, pairs };
        let errand = Errand { request_id: "r".to_owned(), now: self.now, partial: None };
        let answer = actions::carry_out(&mut self.world, &call, &errand).unwrap();
        let cost = self.world.looked_at() - before;
        let dearest = self.dearest.entry(action.to_owned()).or_default();
        *dearest = cost.max(*dearest);
        answer
    }

    /// Lets happen what is due, with links that come and go at once.
    fn pass(&mut self) {
        self.world.advance(self.now);
        loop {
            let actions = self.world.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    FabricAction::Plug(nic) => self.world.plugged(&nic.eni, self.now),
                    FabricAction::Unplug(eni) => self.world.unplugged(&eni, self.now),
                    FabricAction::Guard(_) => {}
                }
            }
            self.world.advance(self.now);
        }
    }

    /// Lets everything happen that is under way.
    fn settle(&mut self) {
        while let Some(next) = self.world.next_deadline() {
            self.now = next;
            self.pass();
        }
    }
}

fn id(answer: &Value) -> &str {
    answer["NetworkInterfaceId"].as_str().unwrap()
}

#[test]
fn a_call_costs_the_same_among_a_thousand_nodes() {
    let mut cloud = Cloud::new();
    cloud.settle();
    let mut last = Vec::new();
    for round in 0..ENIS {
        let mut made = Vec::new();
        for node in 0..NODES {
            let wish = format!(
                "VSwitchId=vsw-pods&SecurityGroupId=sg-1&ClientToken=t{round}-{node}\
                 &Tag.1.Key=creator&Tag.1.Value=terway&Tag.2.Key=intent&Tag.2.Value=t{round}-{node}"
            );
            made.push(id(&cloud.call("CreateNetworkInterface", &wish)).to_owned());
        }
        cloud.settle();
        for (node, eni) in made.iter().enumerate() {
            let both = format!("NetworkInterfaceId={eni}&InstanceId=i-{node}");
            cloud.call("AttachNetworkInterface", &both);
        }
        cloud.settle();
        for (node, eni) in made.iter().enumerate() {
            let more = format!("NetworkInterfaceId={eni}&SecondaryPrivateIpAddressCount=10");
            cloud.call("AssignPrivateIpAddresses", &more);
            let mine =
                cloud.call("DescribeNetworkInterfaces", &format!("InstanceId=i-{node}&MaxResults=100"));
            assert_eq!(mine["TotalCount"], round + 2);
            let intent =
                format!("Tag.1.Key=creator&Tag.1.Value=terway&Tag.2.Key=intent&Tag.2.Value=t{round}-{node}");
            assert_eq!(cloud.call("DescribeNetworkInterfaces", &intent)["TotalCount"], 1);
        }
        last = made;
    }
    for (node, eni) in last.iter().enumerate() {
        cloud.call("DetachNetworkInterface", &format!("NetworkInterfaceId={eni}&InstanceId=i-{node}"));
    }
    cloud.settle();
    for eni in &last {
        cloud.call("DeleteNetworkInterface", &format!("NetworkInterfaceId={eni}"));
    }
    cloud.settle();
    assert_eq!(cloud.world.enis().count(), NODES * ENIS);
    // An instance has four ENIs at most, and each call may meet a few steps of others that are due.
    for (action, cost) in &cloud.dearest {
        assert!(*cost <= 24, "{action} looked at {cost} ENIs");
    }
    assert_eq!(cloud.dearest.len(), 6, "{:?}", cloud.dearest);
}
