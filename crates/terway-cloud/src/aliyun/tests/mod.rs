//! The provider against a server on loopback.

mod answers;
mod failures;
pub(super) mod golden;
mod journal;
mod keys;
mod metadata;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use secrecy::SecretString;

use super::{Aliyun, AliyunConfig};
use crate::budget::Budget;
use crate::credentials::StaticKey;
use crate::exchange::Stamps;
use crate::loopback::{Answer, Seen, Server};
use crate::transport::Timeouts;

impl Server {
    fn cloud(&self) -> Aliyun {
        cloud(config(&self.host))
    }
}

fn config(host: &str) -> AliyunConfig {
    let token = Some(SecretString::from("sts-token"));
    let key = StaticKey::new("LTAI-test", SecretString::from("secret"), token).unwrap();
    let url = format!("http://{host}");
    AliyunConfig {
        ecs_endpoint: Some(url.clone()),
        vpc_endpoint: Some(url),
        proxies: false,
        ..AliyunConfig::new("cn-hangzhou", Arc::new(key), Arc::new(Budget::default()))
    }
}

/// A provider whose calls are all signed at the same time with the same nonce.
fn cloud(config: AliyunConfig) -> Aliyun {
    let stamps = Stamps {
        now: || "2026-11-21T08:00:00.5Z".parse().unwrap(),
        nonce: || "0123456789abcdef0123456789abcdef".to_owned(),
    };
    Aliyun::with_stamps(config, stamps).unwrap()
}

/// Long enough to connect: what ends before is in no doubt.
fn hasty(host: &str) -> Aliyun {
    let timeouts = Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(2) };
    cloud(AliyunConfig { timeouts, ..config(host) })
}

/// One ENI as the API writes it.
fn eni(id: &str, status: &str, instance: &str) -> String {
    format!(
        r#"{{"NetworkInterfaceId":"{id}","Status":"{status}","Type":"Secondary","MacAddress":"00:16:3e:00:00:07",
        "VSwitchId":"vsw-1","ZoneId":"cn-hangzhou-h","VpcId":"vpc-1","PrivateIpAddress":"10.0.0.7",
        "PrivateIpSets":{{"PrivateIpSet":[{{"PrivateIpAddress":"10.0.0.7","Primary":true}}]}},
        "Ipv6Sets":{{"Ipv6Set":[{{"Ipv6Address":"fd00::7"}}]}},
        "SecurityGroupIds":{{"SecurityGroupId":["sg-1","sg-2"]}},
        "Tags":{{"Tag":[{{"TagKey":"creator","TagValue":"terway"}}]}},
        "InstanceId":"{instance}","RequestId":"R-1","Unknown":[1,2]}}"#
    )
}

fn page(enis: &[String], next: &str) -> Answer {
    Answer::ok(format!(
        r#"{{"RequestId":"R-1","TotalCount":9,"NextToken":"{next}","NetworkInterfaceSets":{{"NetworkInterfaceSet":[{}]}}}}"#,
        enis.join(",")
    ))
}

fn accepted() -> Answer {
    Answer::ok(r#"{"RequestId":"R-1"}"#)
}
