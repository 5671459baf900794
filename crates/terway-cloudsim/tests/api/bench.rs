//! A small world on a free port, and a caller with a signer of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use terway_cloudsim::config::Vendor;
use terway_cloudsim::live::{Clock, system_clock};
use terway_cloudsim::{Config, Options, Place, Running, World, serve};

pub(crate) const WORLD: &str = r#"{
    "region": "sim-region-1",
    "vpc": {"id": "vpc-1", "ipv4_cidr": "10.0.0.0/8", "ipv6_cidr": "fd00:10::/32"},
    "vswitches": [
        {"id": "vsw-a", "zone": "zone-a", "ipv4": "10.0.1.0/24", "ipv6": "fd00:10:0:1::/64"},
        {"id": "vsw-tiny", "zone": "zone-a", "ipv4": "10.0.2.0/29"}
    ],
    "security_groups": ["sg-1", "sg-2"],
    "instance_types": [{"id": "small", "enis": 3, "ipv4_per_eni": 6, "ipv6_per_eni": 6, "members": 10}],
    "instances": [
        {"id": "i-1", "type": "small", "vswitch": "vsw-a"},
        {"id": "i-2", "type": "small", "vswitch": "vsw-a"}
    ],
    "credentials": [
        {"access_key_id": "key", "access_key_secret": "secret"},
        {"access_key_id": "sts", "access_key_secret": "other", "security_token": "t0k3n", "role": "worker"}
    ],
    "latency_ms": {"create": 5, "attach": 20, "detach": 20, "delete": 5, "link": 10}
}"#;

/// A living world and a way to call it.
pub(crate) struct Bench {
    pub(crate) running: Running,
    pub(crate) http: Client,
    folder: TempDir,
}

/// An answer: HTTP status and body.
pub(crate) type Answer = (u16, Value);

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::of(Config::parse(WORLD).unwrap()).await
    }

    /// The same world in another vendor's hands.
    pub(crate) async fn tencent() -> Self {
        Self::of(Config { cloud: Vendor::Tencent, ..Config::parse(WORLD).unwrap() }).await
    }

    pub(crate) async fn of(config: Config) -> Self {
        Self::at(config, system_clock).await
    }

    /// A world with a clock of its own.
    pub(crate) async fn at(config: Config, clock: Clock) -> Self {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let world = World::from_config(config, clock()).unwrap();
        let place = Place::Loopback("127.0.0.1:0".parse().unwrap());
        let control = Some(folder.path().join("control.sock"));
        let running = serve(world, Options { control, clock, ..Options::new(place) }).await.unwrap();
        Self { running, http: Client::builder().no_proxy().build().unwrap(), folder }
    }

    pub(crate) fn url(&self) -> &str {
        &self.running.endpoints().ecs
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// A well-signed ECS call.
    pub(crate) async fn ecs(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut parameters = parameters.to_vec();
        parameters.push(("RegionId", "sim-region-1"));
        Call::new(action, &parameters).send(self).await.unwrap()
    }

    /// A well-signed ECS call that must succeed.
    pub(crate) async fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        let (status, body) = self.ecs(action, parameters).await;
        assert_eq!(status, 200, "{action}: {body}");
        body
    }

    /// A new ENI's id.
    pub(crate) async fn create(&self, token: &str) -> String {
        let wish = [("VSwitchId", "vsw-a"), ("SecurityGroupIds.1", "sg-1"), ("ClientToken", token)];
        let body = self.ok("CreateNetworkInterface", &wish).await;
        body["NetworkInterfaceId"].as_str().unwrap().to_owned()
    }

    /// Waits until an ENI is in a state.
    pub(crate) async fn until(&self, eni: &str, status: &str) {
        let look = async {
            loop {
                let page = self.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", eni)]).await;
                let set = page["NetworkInterfaceSets"]["NetworkInterfaceSet"].clone();
                let now = set.get(0).map_or("gone", |eni| eni["Status"].as_str().unwrap());
                if now == status {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let timely = tokio::time::timeout(Duration::from_secs(10), look).await;
        assert!(timely.is_ok(), "{eni} does not become {status}");
    }

    /// A call of the control socket.
    pub(crate) async fn control(&self, method: Method, path: &str, body: Value) -> Answer {
        let client = Client::builder().unix_socket(self.socket()).build().unwrap();
        let request = client.request(method, format!("http://control{path}")).body(body.to_string());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    pub(crate) async fn state(&self) -> Value {
        self.control(Method::GET, "/v1/state", json!(null)).await.1
    }

    pub(crate) async fn order(&self, faults: Value) {
        let (status, body) = self.control(Method::POST, "/v1/faults", faults).await;
        assert_eq!(status, 200, "{body}");
    }
}

/// The HTTP client asks for a provider of cryptography even where it needs none.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// One call, with everything a test may want to spoil.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) action: String,
    pub(crate) version: String,
    /// In the query, and signed.
    pub(crate) query: Vec<(String, String)>,
    /// In a form body.
    pub(crate) form: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) security_token: Option<String>,
    pub(crate) date: String,
    pub(crate) nonce: String,
    /// Appended to the query after signing.
    pub(crate) smuggled: String,
}

impl Call {
    pub(crate) fn new(action: &str, parameters: &[(&str, &str)]) -> Self {
        Self {
            method: Method::POST,
            action: action.to_owned(),
            version: "2014-05-26".to_owned(),
            query: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            form: String::new(),
            key: "key".to_owned(),
            secret: "secret".to_owned(),
            security_token: None,
            date: date(0),
            nonce: nonce(),
            smuggled: String::new(),
        }
    }

    pub(crate) async fn send(&self, bench: &Bench) -> reqwest::Result<Answer> {
        let response = self.request(bench).send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap()))
    }

    /// The code of the error this call must earn, with its status.
    pub(crate) async fn refusal(&self, bench: &Bench) -> (u16, String) {
        let (status, body) = self.send(bench).await.unwrap();
        (status, body["Code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn request(&self, bench: &Bench) -> reqwest::RequestBuilder {
        let mut pairs: Vec<String> =
            self.query.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
        pairs.sort();
        let query = pairs.join("&");
        let headers = self.headers(bench.url().strip_prefix("http://").unwrap(), &query);
        let url = format!("{}/?{query}{}", bench.url(), self.smuggled);
        let request = bench.http.request(self.method.clone(), url).body(self.form.clone());
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    fn headers(&self, host: &str, query: &str) -> BTreeMap<String, String> {
        let body_hash = hex(&Sha256::digest(&self.form));
        let mut headers: BTreeMap<String, String> = [
            ("host", host),
            ("x-acs-action", &self.action),
            ("x-acs-version", &self.version),
            ("x-acs-date", &self.date),
            ("x-acs-signature-nonce", &self.nonce),
            ("x-acs-content-sha256", &body_hash),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        if !self.form.is_empty() {
            headers.insert("content-type".into(), "application/x-www-form-urlencoded".into());
        }
        if let Some(token) = &self.security_token {
            headers.insert("x-acs-security-token".into(), token.clone());
        }
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let lines = lines.join("\n");
        let canonical = format!("{}\n/\n{query}\n{lines}\n\n{names}\n{body_hash}", self.method);
        let to_sign = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical)));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let authorization =
            format!("ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}", self.key);
        headers.insert("authorization".into(), authorization);
        headers
    }
}

/// Now, or so many seconds later, as the API wants it.
pub(crate) fn date(seconds: i64) -> String {
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn nonce() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn encode(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
