//! Tencent Cloud's protocol: signed JSON calls, errors inside HTTP 200, tasks, states, filters, metadata.
//! The signer is the tests' own.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bench::{Bench, hex};

/// One call, with everything a test may want to spoil.
struct Call {
    action: &'static str,
    body: Value,
    version: &'static str,
    region: &'static str,
    key: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
    /// Seconds the caller's clock is ahead.
    ahead: i64,
}

impl Call {
    fn new(action: &'static str, body: Value) -> Self {
        Self {
            action,
            body,
            version: "2017-03-12",
            region: "sim-region-1",
            key: "key",
            secret: "secret",
            token: None,
            ahead: 0,
        }
    }

    /// The part below `Response`.
    async fn send(&self, bench: &Bench) -> Value {
        let body = self.body.to_string();
        let host = bench.url().strip_prefix("http://").unwrap();
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(self.ahead);
        let (seconds, date) = (time.as_second(), time.strftime("%Y-%m-%d").to_string());
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/json\nhost:{host}\n\ncontent-type;host\n{}",
            hex(&Sha256::digest(&body))
        );
        let scope = format!("{date}/vpc/tc3_request");
        let to_sign = format!("TC3-HMAC-SHA256\n{seconds}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let key = ["vpc", "tc3_request"]
            .iter()
            .fold(sign(format!("TC3{}", self.secret).as_bytes(), &date), |key, part| sign(&key, part));
        let authorization = format!(
            "TC3-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=content-type;host, Signature={}",
            self.key,
            hex(&sign(&key, &to_sign))
        );
        let request = bench.http.post(bench.url()).body(body);
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("x-tc-action", self.action.to_owned()),
            ("x-tc-version", self.version.to_owned()),
            ("x-tc-region", self.region.to_owned()),
            ("x-tc-timestamp", seconds.to_string()),
            ("authorization", authorization),
        ];
        let token = self.token.map(|token| ("x-tc-token", token.to_owned()));
        let request = headers
            .into_iter()
            .chain(token)
            .fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let mut body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["Response"]["RequestId"].as_str().unwrap().len(), 36, "{body}");
        body["Response"].take()
    }

    async fn code(&self, bench: &Bench) -> String {
        let answer = self.send(bench).await;
        answer["Error"]["Code"].as_str().unwrap_or("ok").to_owned()
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

async fn call(bench: &Bench, action: &'static str, body: Value) -> Value {
    let answer = Call::new(action, body).send(bench).await;
    assert_eq!(answer["Error"], Value::Null, "{action}: {answer}");
    answer
}

async fn code(bench: &Bench, action: &'static str, body: Value) -> String {
    Call::new(action, body).code(bench).await
}

fn wish(token: &str) -> Value {
    json!({
        "VpcId": "vpc-1", "SubnetId": "vsw-a", "NetworkInterfaceName": "one", "SecurityGroupIds": ["sg-1"],
        "ClientToken": token, "Tags": [{"Key": "owner", "Value": token}],
    })
}

async fn create(bench: &Bench, token: &str) -> String {
    let answer = call(bench, "CreateNetworkInterface", wish(token)).await;
    answer["NetworkInterface"]["NetworkInterfaceId"].as_str().unwrap().to_owned()
}

async fn described(bench: &Bench, eni: &str) -> Value {
    let page = call(bench, "DescribeNetworkInterfaces", json!({"NetworkInterfaceIds": [eni]})).await;
    page["NetworkInterfaceSet"].get(0).cloned().unwrap_or_default()
}

/// Waits for the end of a task.
async fn ended(bench: &Bench, answer: &Value) -> String {
    let look = async {
        loop {
            let task = call(bench, "DescribeVpcTaskResult", json!({"TaskId": answer["RequestId"]})).await;
            if task["Status"] != "RUNNING" {
                return task["Status"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), look).await.unwrap()
}

#[tokio::test]
async fn an_eni_goes_through_its_life() {
    let bench = Bench::tencent().await;
    bench.control(Method::POST, "/v1/latency", json!({"attach": 60})).await;
    let made = call(&bench, "CreateNetworkInterface", wish("t")).await;
    let eni = &made["NetworkInterface"];
    let id = eni["NetworkInterfaceId"].as_str().unwrap();
    assert_eq!((id.len(), &eni["State"], &eni["Attachment"]), (12, &json!("PENDING"), &Value::Null));
    assert_eq!((&eni["EniType"], &eni["Primary"]), (&json!(0), &json!(false)));
    assert_eq!(eni["TagSet"], json!([{"Key": "owner", "Value": "t"}]));
    assert_eq!(eni["PrivateIpAddressSet"][0]["Primary"], true);
    assert_eq!(ended(&bench, &made).await, "SUCCESS");
    let both = json!({"NetworkInterfaceId": id, "InstanceId": "i-1"});
    let attached = call(&bench, "AttachNetworkInterface", both.clone()).await;
    assert_eq!(described(&bench, id).await["State"], "ATTACHING");
    assert_eq!(
        code(&bench, "AttachNetworkInterface", both.clone()).await,
        "UnsupportedOperation.AttachmentAlreadyExists"
    );
    assert_eq!(ended(&bench, &attached).await, "SUCCESS");
    let seen = described(&bench, id).await;
    assert_eq!((&seen["State"], &seen["NetworkInterfaceState"]), (&json!("AVAILABLE"), &json!("INUSE")));
    assert_eq!(seen["Attachment"]["InstanceId"], "i-1");
    let own = json!({"NetworkInterfaceId": id});
    assert_eq!(code(&bench, "DeleteNetworkInterface", own.clone()).await, "ResourceInUse");
    let detached = call(&bench, "DetachNetworkInterface", both.clone()).await;
    assert_eq!(code(&bench, "DetachNetworkInterface", both).await, "UnsupportedOperation.InvalidState");
    assert_eq!(ended(&bench, &detached).await, "SUCCESS");
    let deleted = call(&bench, "DeleteNetworkInterface", own.clone()).await;
    assert_eq!(ended(&bench, &deleted).await, "SUCCESS");
    assert_eq!(ended(&bench, &attached).await, "SUCCESS");
    assert_eq!(code(&bench, "DeleteNetworkInterface", own).await, "ResourceNotFound");
    assert_eq!(described(&bench, id).await, Value::Null);
}

#[tokio::test]
async fn who_may_not_call_is_told_why() {
    let bench = Bench::tencent().await;
    let describe = || Call::new("DescribeNetworkInterfaces", json!({}));
    assert_eq!(describe().code(&bench).await, "ok");
    let cases = [
        (Call { secret: "wrong", ..describe() }, "AuthFailure.SignatureFailure"),
        (Call { key: "stranger", ..describe() }, "AuthFailure.SecretIdNotFound"),
        (Call { ahead: 301, ..describe() }, "AuthFailure.SignatureExpire"),
        (Call { ahead: -301, ..describe() }, "AuthFailure.SignatureExpire"),
        (Call { token: Some("t"), ..describe() }, "AuthFailure.TokenFailure"),
        (Call { version: "2016-01-01", ..describe() }, "NoSuchVersion"),
        (Call { region: "mars", ..describe() }, "UnsupportedRegion"),
        (Call { action: "RunInstances", ..describe() }, "InvalidAction"),
    ];
    for (call, code) in cases {
        assert_eq!(call.code(&bench).await, code);
    }
    let manners = json!({"throttle": {"*": {"per_minute": 0}}});
    bench.control(Method::POST, "/v1/manners", manners).await;
    assert_eq!(describe().code(&bench).await, "RequestLimitExceeded");
    bench.control(Method::POST, "/v1/manners", json!({"denied": ["*"]})).await;
    assert_eq!(describe().code(&bench).await, "UnauthorizedOperation");
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let bench = Bench::tencent().await;
    let with = |key: &str, value: Value| {
        let mut wish = wish("w");
        wish[key] = value;
        wish
    };
    let cases = [
        ("CreateNetworkInterface", json!({"VpcId": "vpc-1"}), "MissingParameter"),
        ("CreateNetworkInterface", with("Colour", json!("red")), "UnknownParameter"),
        (
            "CreateNetworkInterface",
            with("SecondaryPrivateIpAddressCount", json!("2")),
            "InvalidParameterValue",
        ),
        ("CreateNetworkInterface", with("SubnetId", json!("subnet-x")), "ResourceNotFound"),
        ("CreateNetworkInterface", with("VpcId", json!("vpc-x")), "ResourceNotFound"),
        ("CreateNetworkInterface", with("SecurityGroupIds", json!(["sg-x"])), "ResourceNotFound"),
        (
            "CreateNetworkInterface",
            with("NetworkInterfaceName", json!("x".repeat(61))),
            "InvalidParameterValue.TooLong",
        ),
        ("AttachNetworkInterface", json!({"NetworkInterfaceId": "eni-x"}), "MissingParameter"),
        (
            "DescribeNetworkInterfaces",
            json!({"NetworkInterfaceIds": ["eni-x"], "Filters": [{"Name": "vpc-id", "Values": ["v"]}]}),
            "InvalidParameter.Coexist",
        ),
        (
            "DescribeNetworkInterfaces",
            json!({"Filters": [{"Name": "colour", "Values": ["red"]}]}),
            "InvalidParameter.FilterInvalidKey",
        ),
        ("DescribeNetworkInterfaces", json!({"Limit": 101}), "InvalidParameterValue.Range"),
        ("DescribeVpcTaskResult", json!({"TaskId": "no"}), "ResourceNotFound"),
        ("DescribeSubnets", json!({"SubnetIds": ["subnet-x"]}), "ResourceNotFound"),
    ];
    for (action, body, expected) in cases {
        assert_eq!(code(&bench, action, body.clone()).await, expected, "{action} {body}");
    }
}

#[tokio::test]
async fn addresses_come_and_go_one_task_at_a_time() {
    let bench = Bench::tencent().await;
    bench.control(Method::POST, "/v1/latency", json!({"create": 600_000})).await;
    let unborn = create(&bench, "unborn").await;
    let early = json!({"NetworkInterfaceId": unborn, "SecondaryPrivateIpAddressCount": 1});
    let refusal = code(&bench, "AssignPrivateIpAddresses", early).await;
    assert_eq!(refusal, "UnsupportedOperation.InvalidState");
    bench.control(Method::POST, "/v1/latency", json!({"create": 5, "assign": 30})).await;
    let eni = create(&bench, "t").await;
    let own = |more: Value| {
        let mut body = json!({"NetworkInterfaceId": eni});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let settle = async |answer: &Value| assert_eq!(ended(&bench, answer).await, "SUCCESS");
    let born = async {
        while described(&bench, &eni).await["PrivateIpAddressSet"][0]["State"] != "AVAILABLE" {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), born).await.unwrap();
    let before = described(&bench, &eni).await["PrivateIpAddressSet"].as_array().unwrap().len();
    let two = own(json!({"SecondaryPrivateIpAddressCount": 2, "ClientToken": "a"}));
    let given = call(&bench, "AssignPrivateIpAddresses", two.clone()).await;
    assert_eq!(given["PrivateIpAddressSet"][0]["State"], "PENDING");
    let v6 = own(json!({"Ipv6AddressCount": 1}));
    let busy = code(&bench, "AssignIpv6Addresses", v6.clone()).await;
    assert_eq!(busy, "UnsupportedOperation.MutexOperationTaskRunning");
    settle(&given).await;
    let again = call(&bench, "AssignPrivateIpAddresses", two).await;
    assert_eq!(
        again["PrivateIpAddressSet"][1]["PrivateIpAddress"],
        given["PrivateIpAddressSet"][1]["PrivateIpAddress"]
    );
    let given_v6 = call(&bench, "AssignIpv6Addresses", v6).await;
    settle(&given_v6).await;
    let address = given_v6["Ipv6AddressSet"][0]["Address"].clone();
    let off =
        call(&bench, "UnassignIpv6Addresses", own(json!({"Ipv6Addresses": [{"Address": address}]}))).await;
    settle(&off).await;
    let one = &given["PrivateIpAddressSet"][0]["PrivateIpAddress"];
    let off = own(json!({"PrivateIpAddresses": [{"PrivateIpAddress": one}]}));
    settle(&call(&bench, "UnassignPrivateIpAddresses", off.clone()).await).await;
    let twice = code(&bench, "UnassignPrivateIpAddresses", off).await;
    assert_eq!(twice, "UnsupportedOperation.AttachmentNotFound");
    let seen = described(&bench, &eni).await;
    assert_eq!(seen["PrivateIpAddressSet"].as_array().unwrap().len(), before + 1);
    assert_eq!(seen["Ipv6AddressSet"], json!([]));
    let many = own(json!({"SecondaryPrivateIpAddressCount": 11}));
    assert_eq!(code(&bench, "AssignPrivateIpAddresses", many).await, "InvalidParameterValue.LimitExceeded");
    let other = own(json!({"SecondaryPrivateIpAddressCount": 3, "ClientToken": "a"}));
    let reused = code(&bench, "AssignPrivateIpAddresses", other).await;
    assert_eq!(reused, "UnsupportedOperation.IdempotentParameterMismatch");
}

#[tokio::test]
async fn tokens_limits_and_groups_are_the_vendors() {
    let bench = Bench::tencent().await;
    bench.control(Method::POST, "/v1/latency", json!({"create": 40})).await;
    let made = call(&bench, "CreateNetworkInterface", wish("t")).await;
    let id = made["NetworkInterface"]["NetworkInterfaceId"].as_str().unwrap();
    assert_eq!(ended(&bench, &made).await, "SUCCESS");
    let again = call(&bench, "CreateNetworkInterface", wish("t")).await;
    assert_eq!(again["NetworkInterface"]["NetworkInterfaceId"], *id);
    let mut other = wish("t");
    other["NetworkInterfaceName"] = json!("two");
    let reused = code(&bench, "CreateNetworkInterface", other).await;
    assert_eq!(reused, "UnsupportedOperation.IdempotentParameterMismatch");
    let groups =
        json!({"NetworkInterfaceId": id, "SecurityGroupIds": ["sg-2"], "NetworkInterfaceName": "three"});
    call(&bench, "ModifyNetworkInterfaceAttribute", groups).await;
    let seen = described(&bench, id).await;
    assert_eq!((&seen["GroupSet"], &seen["NetworkInterfaceName"]), (&json!(["sg-2"]), &json!("three")));
    let limits = call(&bench, "DescribeNetworkInterfaceLimit", json!({"InstanceId": "i-1"})).await;
    assert_eq!((&limits["EniQuantity"], &limits["EniPrivateIpAddressQuantity"]), (&json!(3), &json!(6)));
    bench.control(Method::POST, "/v1/quota", json!({"enis": 1})).await;
    let full = code(&bench, "CreateNetworkInterface", wish("q")).await;
    assert_eq!(full, "LimitExceeded.NetworkInterfaceLimitExceeded");
    bench.control(Method::POST, "/v1/quota", json!({"enis": 99})).await;
    bench.control(Method::POST, "/v1/vswitches/vsw-a", json!({"free": 0})).await;
    assert_eq!(code(&bench, "CreateNetworkInterface", wish("d")).await, "ResourceInsufficient.Subnet");
}

#[tokio::test]
async fn filters_and_pages_find_each_eni_once() {
    let bench = Bench::tencent().await;
    let mut made = Vec::new();
    for n in 0..25 {
        made.push(create(&bench, &format!("t{n}")).await);
    }
    let find = async |filters: Value, offset: usize| {
        let body = json!({"Filters": filters, "Offset": offset, "Limit": 20});
        call(&bench, "DescribeNetworkInterfaces", body).await
    };
    let secondary =
        json!([{"Name": "is-primary", "Values": ["false"]}, {"Name": "vpc-id", "Values": ["vpc-1"]}]);
    let (first, second) = (find(secondary.clone(), 0).await, find(secondary, 20).await);
    assert_eq!(first["TotalCount"], 25);
    let ids = |page: &Value| -> Vec<String> {
        let set = page["NetworkInterfaceSet"].as_array().unwrap();
        set.iter().map(|eni| eni["NetworkInterfaceId"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = [ids(&first), ids(&second)].concat();
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
    let one = find(json!([{"Name": "tag:owner", "Values": ["t7"]}]), 0).await;
    assert_eq!(one["TotalCount"], 1);
    let two = find(
        json!([{"Name": "tag:owner", "Values": ["t7", "t8"]}, {"Name": "tag-key", "Values": ["owner"]}]),
        0,
    )
    .await;
    assert_eq!(two["TotalCount"], 2);
    assert_eq!(
        find(json!([{"Name": "attachment.instance-id", "Values": ["i-2"]}]), 0).await["TotalCount"],
        1
    );
    let subnets =
        call(&bench, "DescribeSubnets", json!({"SubnetIds": ["vsw-a", "vsw-tiny"], "Limit": "10"})).await;
    assert_eq!(
        (subnets["TotalCount"].as_u64(), subnets["SubnetSet"].as_array().map(Vec::len)),
        (Some(2), Some(2))
    );
    assert_eq!(subnets["SubnetSet"][1]["AvailableIpAddressCount"], 5);
}

#[tokio::test]
async fn the_metadata_service_needs_no_token() {
    let bench = Bench::tencent().await;
    let read = async |path: &str| {
        let url = format!("{}/latest/meta-data/{path}", bench.running.endpoints().metadata);
        let answer = bench.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(read("instance-id").await, (200, "i-1".to_owned()));
    assert_eq!(read("placement/zone").await.1, "zone-a");
    let (_, mac) = read("mac").await;
    assert_eq!(mac, mac.to_uppercase());
    assert_eq!(read("network/interfaces/macs/").await.1, format!("{mac}/"));
    let leaf = async |leaf: &str| read(&format!("network/interfaces/macs/{mac}/{leaf}")).await.1;
    let ip = leaf("primary-local-ipv4").await;
    assert_eq!(leaf("local-ipv4s/").await, format!("{ip}/"));
    assert_eq!(leaf(&format!("local-ipv4s/{ip}/gateway")).await, "10.0.1.1");
    assert_eq!(leaf(&format!("local-ipv4s/{ip}/subnet-mask")).await, "255.255.255.0");
    assert_eq!(leaf("subnet-id").await, "vsw-a");
    assert_eq!(read("network/interfaces/macs/00:00/mac").await.0, 404);
    let (_, role) = read("cam/security-credentials/").await;
    let key: Value =
        serde_json::from_str(&read(&format!("cam/security-credentials/{role}")).await.1).unwrap();
    assert_eq!((&key["TmpSecretId"], &key["Token"]), (&json!("sts"), &json!("t0k3n")));
    assert!(read("").await.1.contains("instance-id"));
}
