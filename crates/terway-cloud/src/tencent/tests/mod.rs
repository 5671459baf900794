//! The provider against a server on loopback.

mod answers;
mod failures;
mod golden;
mod keys;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Tencent, TencentConfig};
use crate::budget::Budget;
use crate::credentials::StaticKey;
use crate::exchange::Stamps;
use crate::loopback::{Answer, Seen, Server};

fn config(host: &str) -> TencentConfig {
    let token = Some(SecretString::from("sts-token"));
    let key = StaticKey::new("AKID-test", SecretString::from("secret"), token).unwrap();
    TencentConfig {
        vpc_endpoint: Some(format!("http://{host}")),
        proxies: false,
        task_patience: Duration::from_secs(20),
        ..TencentConfig::new(
            "ap-guangzhou",
            "vpc-1",
            "ins-1".into(),
            Arc::new(key),
            Arc::new(Budget::default()),
        )
    }
}

fn cloud(server: &Server) -> Tencent {
    let stamps = Stamps { now: || "2026-11-21T08:00:00.5Z".parse().unwrap(), nonce: String::new };
    Tencent::with_stamps(config(&server.host), stamps).unwrap()
}

/// An answer in the API's form.
fn said(mut content: Value) -> Answer {
    content["RequestId"] = "R-1".into();
    Answer::ok(json!({ "Response": content }).to_string())
}

fn refused(code: &str, message: &str) -> Answer {
    said(json!({"Error": {"Code": code, "Message": message}}))
}

fn accepted() -> Answer {
    said(json!({}))
}

fn task(status: &str) -> Answer {
    said(json!({"Status": status, "Output": "of the task", "Result": []}))
}

/// One ENI as the API writes it.
fn eni(id: &str, state: &str, instance: &str) -> Value {
    let attachment = match instance {
        "" => Value::Null,
        instance => json!({"InstanceId": instance, "DeviceIndex": 1, "InstanceAccountId": "1"}),
    };
    json!({
        "NetworkInterfaceId": id, "NetworkInterfaceName": "n", "NetworkInterfaceDescription": "of a pod",
        "SubnetId": "subnet-1", "VpcId": "vpc-1", "GroupSet": ["sg-1", "sg-2"], "Primary": false,
        "MacAddress": "20:90:6F:00:00:07", "State": state, "Zone": "ap-guangzhou-3", "EniType": 0,
        "PrivateIpAddressSet": [
            {"PrivateIpAddress": "10.0.0.9", "Primary": true, "State": "AVAILABLE"},
            {"PrivateIpAddress": "10.0.0.8", "Primary": false, "State": "AVAILABLE"},
        ],
        "Ipv6AddressSet": [{"Address": "fd00::7", "Primary": false, "State": "AVAILABLE"}],
        "Attachment": attachment,
        "TagSet": [{"Key": "creator", "Value": "terway"}], "CreatedTime": "2026-11-21 08:00:00", "Unknown": 7,
    })
}

fn page(enis: &[Value], total: usize) -> Answer {
    said(json!({"NetworkInterfaceSet": enis, "TotalCount": total}))
}

/// A request's body.
fn body(seen: &Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap()
}
