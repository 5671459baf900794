//! The ENI actions on the wire: life, parameters, filters, pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::bench::{Bench, Call};

fn set(page: &Value) -> &Vec<Value> {
    page["NetworkInterfaceSets"]["NetworkInterfaceSet"].as_array().unwrap()
}

#[tokio::test]
async fn an_eni_goes_through_its_life() {
    let bench = Bench::new().await;
    let wish = [
        ("VSwitchId", "vsw-a"),
        ("SecurityGroupIds.1", "sg-1"),
        ("Ipv6AddressCount", "1"),
        ("ClientToken", "t"),
        ("Tag.1.Key", "creator"),
        ("Tag.1.Value", "terway"),
    ];
    let eni = bench.ok("CreateNetworkInterface", &wish).await;
    let id = eni["NetworkInterfaceId"].as_str().unwrap();
    assert_eq!(eni["Type"], "Secondary");
    assert_eq!(eni["Tags"], json!({"Tag": [{"TagKey": "creator", "TagValue": "terway"}]}));
    assert_eq!(eni["PrivateIpSets"]["PrivateIpSet"][0]["Primary"], true);
    assert_eq!(eni["Ipv6Sets"]["Ipv6Set"].as_array().unwrap().len(), 1);
    assert_eq!(eni["SecurityGroupIds"]["SecurityGroupId"], json!(["sg-1"]));
    bench.until(id, "Available").await;
    let both = [("NetworkInterfaceId", id), ("InstanceId", "i-1")];
    bench.ok("AttachNetworkInterface", &both).await;
    let (status, again) = bench.ecs("AttachNetworkInterface", &both).await;
    assert_eq!((status, &again["Code"]), (403, &json!("InvalidOperation.InvalidEniState")));
    bench.until(id, "InUse").await;
    let page = bench.ok("DescribeNetworkInterfaces", &[("InstanceId", "i-1"), ("Type", "Secondary")]).await;
    assert_eq!(set(&page)[0]["Attachment"]["InstanceId"], "i-1");
    assert_eq!(set(&page)[0]["InstanceId"], "i-1");
    bench.ok("DetachNetworkInterface", &both).await;
    bench.until(id, "Available").await;
    bench.ok("DeleteNetworkInterface", &[("NetworkInterfaceId", id)]).await;
    bench.until(id, "gone").await;
    let (status, gone) = bench.ecs("DeleteNetworkInterface", &[("NetworkInterfaceId", id)]).await;
    assert_eq!((status, &gone["Code"]), (404, &json!("InvalidEniId.NotFound")));
}

/// Action, parameters, the code they must earn.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let bench = Bench::new().await;
    let cases: &[Case<'_>] = &[
        ("CreateNetworkInterface", &[("SecurityGroupId", "sg-1")], "MissingParameter"),
        ("CreateNetworkInterface", &[("VSwitchId", "vsw-a")], "MissingParameter"),
        (
            "CreateNetworkInterface",
            &[("VSwitchId", "vsw-x"), ("SecurityGroupId", "sg-1")],
            "InvalidVSwitchId.NotFound",
        ),
        (
            "CreateNetworkInterface",
            &[("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-x")],
            "InvalidSecurityGroupId.NotFound",
        ),
        (
            "CreateNetworkInterface",
            &[("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1"), ("Ipv6AddressCount", "0")],
            "InvalidParameter",
        ),
        (
            "CreateNetworkInterface",
            &[("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1"), ("SecurityGroupIds.1", "sg-1")],
            "InvalidParameter.Conflict",
        ),
        (
            "CreateNetworkInterface",
            &[
                ("VSwitchId", "vsw-a"),
                ("SecurityGroupId", "sg-1"),
                ("Ipv4PrefixCount", "1"),
                ("Ipv4Prefix.1", "10.0.1.16/28"),
            ],
            "InvalidParameter.Conflict",
        ),
        (
            "CreateNetworkInterface",
            &[("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1"), ("Ipv6Address.1", "fd00:10:0:1::9")],
            "InvalidParameter",
        ),
        ("AttachNetworkInterface", &[("NetworkInterfaceId", "eni-x")], "MissingParameter"),
        (
            "AttachNetworkInterface",
            &[("NetworkInterfaceId", "eni-x"), ("InstanceId", "i-1")],
            "InvalidEniId.NotFound",
        ),
        ("DetachNetworkInterface", &[("InstanceId", "i-1")], "MissingParameter"),
        ("DescribeNetworkInterfaces", &[("NextToken", "bogus")], "InvalidParameter"),
        ("DescribeNetworkInterfaces", &[("MaxResults", "many")], "InvalidParameter"),
    ];
    for (action, parameters, code) in cases {
        let (_, body) = bench.ecs(action, parameters).await;
        assert_eq!(body["Code"], *code, "{action} {parameters:?}: {body}");
    }
    let homeless = Call::new("DescribeNetworkInterfaces", &[]);
    assert_eq!(homeless.refusal(&bench).await, (400, "MissingParameter".into()));
    let elsewhere = Call::new("DescribeNetworkInterfaces", &[("RegionId", "mars-1")]);
    assert_eq!(elsewhere.refusal(&bench).await, (404, "InvalidRegionId.NotFound".into()));
}

#[tokio::test]
async fn pages_give_every_eni_once() {
    let bench = Bench::new().await;
    let mut made = BTreeSet::new();
    for n in 0..25 {
        made.insert(bench.create(&format!("t{n}")).await);
    }
    let (mut seen, mut token) = (BTreeSet::new(), String::new());
    loop {
        let page = [("Type", "Secondary"), ("MaxResults", "10"), ("NextToken", token.as_str())];
        let page = bench.ok("DescribeNetworkInterfaces", &page[..if token.is_empty() { 2 } else { 3 }]).await;
        for eni in set(&page) {
            assert!(seen.insert(eni["NetworkInterfaceId"].as_str().unwrap().to_owned()), "{eni} twice");
        }
        token = page["NextToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, made);
    let third = bench.ok("DescribeNetworkInterfaces", &[("PageNumber", "3"), ("PageSize", "10")]).await;
    assert_eq!((set(&third).len(), &third["TotalCount"]), (7, &json!(27)));
}

#[tokio::test]
async fn filters_all_must_match() {
    let bench = Bench::new().await;
    let wish =
        [("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1"), ("Tag.1.Key", "node"), ("Tag.1.Value", "n1")];
    bench.ok("CreateNetworkInterface", &wish).await;
    bench.create("plain").await;
    let count =
        async |filter: &[(&str, &str)]| set(&bench.ok("DescribeNetworkInterfaces", filter).await).len();
    assert_eq!(count(&[("Tag.1.Key", "node")]).await, 1);
    assert_eq!(count(&[("Tag.1.Key", "node"), ("Tag.1.Value", "n1")]).await, 1);
    assert_eq!(count(&[("Tag.1.Key", "node"), ("Tag.1.Value", "n2")]).await, 0);
    assert_eq!(count(&[("VSwitchId", "vsw-a"), ("Type", "Secondary")]).await, 2);
    assert_eq!(count(&[("VpcId", "vpc-2")]).await, 0);
    assert_eq!(count(&[("NetworkInterfaceId.1", "eni-unknown")]).await, 0);
}

#[tokio::test]
async fn limits_and_vswitches_can_be_read() {
    let bench = Bench::new().await;
    let types = bench.ok("DescribeInstanceTypes", &[("InstanceTypes.1", "small")]).await;
    let small = &types["InstanceTypes"]["InstanceType"][0];
    assert_eq!((&small["EniQuantity"], &small["EniTotalQuantity"]), (&json!(3), &json!(13)));
    assert_eq!(small["EniTrunkSupported"], true);
    let mut call = Call::new("DescribeVSwitches", &[("RegionId", "sim-region-1"), ("VSwitchId", "vsw-a")]);
    call.version = "2016-04-28".to_owned();
    let (_, body) = call.send(&bench).await.unwrap();
    let vswitch = &body["VSwitches"]["VSwitch"][0];
    assert_eq!(vswitch["CidrBlock"], "10.0.1.0/24");
    assert_eq!(vswitch["Ipv6CidrBlock"], "fd00:10:0:1::/64");
    // 256 less network, gateway, two more and broadcast, less two primary ENIs.
    assert_eq!(vswitch["AvailableIpAddressCount"], 250);
}
