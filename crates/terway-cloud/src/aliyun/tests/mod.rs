//! The provider against a server on loopback that answers what it is told to, and keeps what it was
//! asked.

mod answers;
mod failures;
mod golden;
mod journal;
mod keys;
mod metadata;
mod requests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::call::Stamps;
use super::{Aliyun, AliyunConfig};
use crate::budget::Budget;
use crate::credentials::StaticKey;
use crate::transport::Timeouts;

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn action(&self) -> &str {
        self.header("x-acs-action")
    }

    /// The query's parameters, decoded, in the order they were sent.
    fn parameters(&self) -> Vec<(String, String)> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (decode(name), decode(value)));
        self.query.split('&').filter_map(pair).collect()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }
}

/// An answer to give.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    date: Option<&'static str>,
    body: String,
}

impl Answer {
    fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, date: None, body: body.into() }
    }

    fn ok(body: impl Into<String>) -> Self {
        Self::new(200, body)
    }

    /// A refusal in the API's form.
    fn refusal(status: u16, code: &str, message: &str) -> Self {
        Self::new(
            status,
            format!(
                r#"{{"RequestId":"R-1","HostId":"h","Code":"{code}","Message":"{message}","Recommend":"r"}}"#
            ),
        )
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap();
        let mut response = (status, self.body).into_response();
        if let Some(date) = self.date {
            response.headers_mut().insert(header::DATE, date.parse().unwrap());
        }
        response
    }
}

/// A server that runs as long as the test.
struct Server {
    host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let answer = Arc::new(answer);
        let app = Router::new().fallback(async move |request: Request| {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let request = Request::from_parts(head, ());
            let seen = Seen {
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
                query: request.uri().query().unwrap_or_default().to_owned(),
                headers: request.headers().clone(),
                body: String::from_utf8(body.to_vec()).unwrap(),
            };
            kept.lock().unwrap().push(seen.clone());
            answer(&seen)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { host, seen }
    }

    /// A server that gives these answers, one after the other.
    async fn giving(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect::<Vec<_>>().into_iter());
        let missing = || Answer::new(500, "more requests than expected");
        Self::start(move |_| answers.lock().unwrap().next().unwrap_or_else(missing)).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn actions(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.action().to_owned()).collect()
    }

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

fn hasty(host: &str) -> Aliyun {
    let timeouts = Timeouts { connect: Duration::from_millis(200), total: Duration::from_millis(200) };
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
