//! Further addresses and prefixes of an ENI on the wire: given by number or by choice, once per token,
//! within the limits, and taken away again.

use serde_json::{Value, json};

use crate::bench::Bench;

/// An ENI that is attached to `i-1`.
async fn attached(bench: &Bench) -> String {
    let eni = bench.create("t").await;
    bench.until(&eni, "Available").await;
    bench.ok("AttachNetworkInterface", &[("NetworkInterfaceId", &eni), ("InstanceId", "i-1")]).await;
    bench.until(&eni, "InUse").await;
    eni
}

async fn described(bench: &Bench, eni: &str) -> Value {
    let page = bench.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", eni)]).await;
    page["NetworkInterfaceSets"]["NetworkInterfaceSet"][0].clone()
}

/// The code of the error a call must earn.
async fn code(bench: &Bench, action: &str, parameters: &[(&str, &str)]) -> String {
    let (status, body) = bench.ecs(action, parameters).await;
    assert_ne!(status, 200, "{action} {parameters:?}: {body}");
    body["Code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn addresses_are_given_and_taken() {
    let bench = Bench::new().await;
    let eni = attached(&bench).await;
    let id = ("NetworkInterfaceId", eni.as_str());
    let two = bench.ok("AssignPrivateIpAddresses", &[id, ("SecondaryPrivateIpAddressCount", "2")]).await;
    let set = &two["AssignedPrivateIpAddressesSet"];
    let addresses = set["PrivateIpSet"]["PrivateIpAddress"].as_array().unwrap();
    assert_eq!((addresses.len(), &set["NetworkInterfaceId"]), (2, &json!(eni)));
    let sets = described(&bench, &eni).await["PrivateIpSets"]["PrivateIpSet"].clone();
    let primary: Vec<bool> = sets.as_array().unwrap().iter().map(|ip| ip["Primary"] == true).collect();
    assert_eq!((primary, &sets[1]["PrivateIpAddress"]), (vec![true, false, false], &addresses[0]));
    let v6 = bench.ok("AssignIpv6Addresses", &[id, ("Ipv6AddressCount", "3")]).await;
    assert_eq!(v6["Ipv6Sets"]["Ipv6Address"].as_array().unwrap().len(), 3);
    let off = [id, ("PrivateIpAddress.1", addresses[0].as_str().unwrap())];
    bench.ok("UnassignPrivateIpAddresses", &off).await;
    assert_eq!(code(&bench, "UnassignPrivateIpAddresses", &off).await, "InvalidIp.IpUnassigned");
    let chosen = bench.ok("AssignPrivateIpAddresses", &[id, ("PrivateIpAddress.1", "10.0.1.77")]).await;
    let set = &chosen["AssignedPrivateIpAddressesSet"]["PrivateIpSet"];
    assert_eq!(set["PrivateIpAddress"], json!(["10.0.1.77"]));
    let first = v6["Ipv6Sets"]["Ipv6Address"][0].as_str().unwrap();
    bench.ok("UnassignIpv6Addresses", &[id, ("Ipv6Address.1", first)]).await;
    assert_eq!(described(&bench, &eni).await["Ipv6Sets"]["Ipv6Set"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn prefixes_are_given_and_taken() {
    let bench = Bench::new().await;
    let eni = attached(&bench).await;
    let id = ("NetworkInterfaceId", eni.as_str());
    let free = || async { bench.state().await["vswitches"][0]["free_ipv4"].as_u64().unwrap() };
    let before = free().await;
    let v4 = bench.ok("AssignPrivateIpAddresses", &[id, ("Ipv4PrefixCount", "2")]).await;
    let v4 = v4["AssignedPrivateIpAddressesSet"]["Ipv4PrefixSet"]["Ipv4Prefixes"].clone();
    assert_eq!(v4, json!(["10.0.1.16/28", "10.0.1.32/28"]));
    assert_eq!(free().await, before - 32);
    let v6 = bench.ok("AssignIpv6Addresses", &[id, ("Ipv6PrefixCount", "1")]).await;
    let v6 = v6["Ipv6PrefixSets"]["Ipv6Prefix"][0].as_str().unwrap().to_owned();
    assert!(v6.ends_with("/80"), "{v6}");
    let seen = described(&bench, &eni).await;
    assert_eq!(seen["Ipv4PrefixSets"]["Ipv4PrefixSet"][1], json!({"Ipv4Prefix": "10.0.1.32/28"}));
    assert_eq!(seen["Ipv6PrefixSets"]["Ipv6PrefixSet"], json!([{"Ipv6Prefix": v6}]));
    bench.ok("UnassignIpv6Addresses", &[id, ("Ipv6Prefix.1", &v6)]).await;
    bench.ok("UnassignPrivateIpAddresses", &[id, ("Ipv4Prefix.1", "10.0.1.16/28")]).await;
    assert_eq!(free().await, before - 16);
    let chosen = bench.ok("AssignPrivateIpAddresses", &[id, ("Ipv4Prefix.1", "10.0.1.64/28")]).await;
    let set = &chosen["AssignedPrivateIpAddressesSet"]["Ipv4PrefixSet"]["Ipv4Prefixes"];
    assert_eq!(*set, json!(["10.0.1.64/28"]));
    let odd = [id, ("Ipv4Prefix.1", "10.0.1.64/27")];
    assert_eq!(code(&bench, "AssignPrivateIpAddresses", &odd).await, "InvalidParameter");
}

#[tokio::test]
async fn an_eni_is_born_with_what_it_asks_for() {
    let bench = Bench::new().await;
    let wish = [
        ("VSwitchId", "vsw-a"),
        ("SecurityGroupIds.1", "sg-1"),
        ("SecondaryPrivateIpAddressCount", "2"),
        ("Ipv6AddressCount", "2"),
        ("Ipv4PrefixCount", "1"),
        ("Ipv6PrefixCount", "1"),
        ("InstanceType", "Trunk"),
        ("NetworkInterfaceName", "one"),
    ];
    let eni = bench.ok("CreateNetworkInterface", &wish).await;
    assert_eq!((&eni["Type"], &eni["NetworkInterfaceName"]), (&json!("Trunk"), &json!("one")));
    let count = |path: &str| eni.pointer(path).and_then(Value::as_array).map_or(0, Vec::len);
    assert_eq!(count("/PrivateIpSets/PrivateIpSet"), 3);
    assert_eq!(count("/Ipv6Sets/Ipv6Set"), 2);
    assert_eq!(count("/Ipv4PrefixSets/Ipv4PrefixSet"), 1);
    assert_eq!(count("/Ipv6PrefixSets/Ipv6PrefixSet"), 1);
}

#[tokio::test]
async fn a_token_assigns_once() {
    let bench = Bench::new().await;
    let eni = attached(&bench).await;
    let id = ("NetworkInterfaceId", eni.as_str());
    let call = [id, ("SecondaryPrivateIpAddressCount", "2"), ("ClientToken", "a1")];
    let first = bench.ok("AssignPrivateIpAddresses", &call).await;
    let again = bench.ok("AssignPrivateIpAddresses", &call).await;
    assert_eq!(first["AssignedPrivateIpAddressesSet"], again["AssignedPrivateIpAddressesSet"]);
    assert_eq!(described(&bench, &eni).await["PrivateIpSets"]["PrivateIpSet"].as_array().unwrap().len(), 3);
    for other in [
        [id, ("SecondaryPrivateIpAddressCount", "1"), ("ClientToken", "a1")],
        [id, ("SecondaryPrivateIpAddressCount", "1"), ("ClientToken", "t")],
    ] {
        let code = code(&bench, "AssignPrivateIpAddresses", &other).await;
        assert_eq!(code, "IdempotentParameterMismatch");
    }
}

#[tokio::test]
async fn limits_and_states_are_respected() {
    let bench = Bench::new().await;
    let eni = attached(&bench).await;
    let id = ("NetworkInterfaceId", eni.as_str());
    // Type small: 6 of each family per ENI. A prefix counts as one.
    bench.ok("AssignPrivateIpAddresses", &[id, ("Ipv4PrefixCount", "3")]).await;
    let three = [id, ("SecondaryPrivateIpAddressCount", "3")];
    assert_eq!(code(&bench, "AssignPrivateIpAddresses", &three).await, "InvalidOperation.Ipv4CountExceeded");
    bench.ok("AssignPrivateIpAddresses", &[id, ("SecondaryPrivateIpAddressCount", "2")]).await;
    let seven = [id, ("Ipv6AddressCount", "7")];
    assert_eq!(code(&bench, "AssignIpv6Addresses", &seven).await, "InvalidOperation.Ipv6CountExceeded");
    let primary = described(&bench, &eni).await["PrivateIpAddress"].as_str().unwrap().to_owned();
    let off = [id, ("PrivateIpAddress.1", primary.as_str())];
    assert_eq!(code(&bench, "UnassignPrivateIpAddresses", &off).await, "InvalidIp.Address");
    bench.control(reqwest::Method::POST, "/v1/quota", json!({"private_ipv4": 10})).await;
    let tiny = [("VSwitchId", "vsw-tiny"), ("SecurityGroupIds.1", "sg-1")];
    assert_eq!(code(&bench, "CreateNetworkInterface", &tiny).await, "QuotaExceeded.PrivateIpAddress");
    bench.control(reqwest::Method::POST, "/v1/quota", json!({"private_ipv4": 1000})).await;
    let new = async |create: Value| {
        bench.control(reqwest::Method::POST, "/v1/latency", json!({ "create": create })).await;
        let eni = bench.ok("CreateNetworkInterface", &tiny).await["NetworkInterfaceId"].clone();
        eni.as_str().unwrap().to_owned()
    };
    let (unborn, other) = (new(json!("never")).await, new(json!(0)).await);
    let early = [("NetworkInterfaceId", unborn.as_str()), ("SecondaryPrivateIpAddressCount", "1")];
    assert_eq!(code(&bench, "AssignPrivateIpAddresses", &early).await, "InvalidOperation.InvalidEniState");
    bench.until(&other, "Available").await;
    let other = ("NetworkInterfaceId", other.as_str());
    let many = [other, ("SecondaryPrivateIpAddressCount", "3")];
    assert_eq!(code(&bench, "AssignPrivateIpAddresses", &many).await, "InvalidVSwitchId.IpNotEnough");
    let v6 = [other, ("Ipv6AddressCount", "1")];
    assert_eq!(code(&bench, "AssignIpv6Addresses", &v6).await, "InvalidOperation.VSwitchIpv6NotEnabled");
    let both = [id, ("SecondaryPrivateIpAddressCount", "1"), ("PrivateIpAddress.1", "10.0.1.99")];
    assert_eq!(code(&bench, "AssignPrivateIpAddresses", &both).await, "InvalidParameter.Conflict");
    assert_eq!(code(&bench, "AssignPrivateIpAddresses", &[id]).await, "MissingParameter");
    assert_eq!(code(&bench, "UnassignPrivateIpAddresses", &[id]).await, "MissingParameter");
}

#[tokio::test]
async fn security_groups_are_replaced() {
    let bench = Bench::new().await;
    let eni = attached(&bench).await;
    let id = ("NetworkInterfaceId", eni.as_str());
    bench
        .ok("ModifyNetworkInterfaceAttribute", &[id, ("SecurityGroupId.1", "sg-2"), ("Description", "d")])
        .await;
    let seen = described(&bench, &eni).await;
    assert_eq!(seen["SecurityGroupIds"]["SecurityGroupId"], json!(["sg-2"]));
    assert_eq!(seen["Description"], "d");
    let unknown = [id, ("SecurityGroupId.1", "sg-x")];
    assert_eq!(
        code(&bench, "ModifyNetworkInterfaceAttribute", &unknown).await,
        "InvalidSecurityGroupId.NotFound"
    );
    let nobody = [("NetworkInterfaceId", "eni-x"), ("Description", "d")];
    assert_eq!(code(&bench, "ModifyNetworkInterfaceAttribute", &nobody).await, "InvalidEniId.NotFound");
}

#[tokio::test]
async fn members_ride_on_a_trunk() {
    let bench = Bench::new().await;
    let trunk = [("VSwitchId", "vsw-a"), ("SecurityGroupIds.1", "sg-1"), ("InstanceType", "Trunk")];
    let trunk = bench.ok("CreateNetworkInterface", &trunk).await["NetworkInterfaceId"].clone();
    let trunk = trunk.as_str().unwrap();
    let member = bench.create("m").await;
    bench.until(&member, "Available").await;
    let node = ("InstanceId", "i-1");
    let onto = [("NetworkInterfaceId", member.as_str()), node, ("TrunkNetworkInstanceId", trunk)];
    let early = code(&bench, "AttachNetworkInterface", &onto).await;
    assert_eq!(early, "InvalidOperation.EniNotAttachedToInstance");
    bench.until(trunk, "Available").await;
    bench.ok("AttachNetworkInterface", &[("NetworkInterfaceId", trunk), node]).await;
    bench.until(trunk, "InUse").await;
    bench.ok("AttachNetworkInterface", &onto).await;
    bench.until(&member, "InUse").await;
    let seen = described(&bench, &member).await;
    assert_eq!((&seen["Type"], &seen["Attachment"]["DeviceIndex"]), (&json!("Member"), &json!(1)));
    assert_eq!(seen["Attachment"]["TrunkNetworkInterfaceId"], trunk);
    let (status, body) = bench.ecs("DetachNetworkInterface", &[("NetworkInterfaceId", trunk), node]).await;
    assert_eq!((status, &body["Code"]), (403, &json!("InvalidOperation.InvalidEniState")));
    let (_, body) = bench.ecs("DetachNetworkInterface", &[("NetworkInterfaceId", &member), node]).await;
    assert_eq!(body["Code"], "InvalidOperation.EniNotAttachedToInstance", "its trunk must be named");
    bench.ok("DetachNetworkInterface", &onto).await;
    bench.until(&member, "Available").await;
    assert_eq!(described(&bench, &member).await["Type"], "Secondary");
    let wish = [("VSwitchId", "vsw-a"), ("SecurityGroupIds.1", "sg-1"), ("InstanceType", "Trunk")];
    let other = bench.ok("CreateNetworkInterface", &wish).await["NetworkInterfaceId"].clone();
    let other = other.as_str().unwrap();
    bench.until(other, "Available").await;
    let onto = [("NetworkInterfaceId", other), node, ("TrunkNetworkInstanceId", trunk)];
    let (_, body) = bench.ecs("AttachNetworkInterface", &onto).await;
    assert_eq!(body["Code"], "InvalidOperation.InvalidEniType", "a trunk rides on no trunk");
}
