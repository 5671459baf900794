//! The instance metadata service. Over loopback, 127.0.0.N is the N-th instance.

use reqwest::Client;

use crate::bench::Bench;

const TTL: &str = "X-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aliyun-ecs-metadata-token";

/// An instance's own view.
struct Node<'a> {
    bench: &'a Bench,
    http: Client,
}

impl<'a> Node<'a> {
    fn new(bench: &'a Bench, address: &str) -> Self {
        let http = Client::builder().no_proxy().local_address(address.parse().ok()).build().unwrap();
        Self { bench, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/latest/{path}", self.bench.running.endpoints().metadata)
    }

    async fn token(&self) -> String {
        let answer = self.http.put(self.url("api/token")).header(TTL, "60").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        answer.text().await.unwrap()
    }

    async fn read(&self, path: &str, token: &str) -> (u16, String) {
        let answer = self.http.get(self.url(&format!("meta-data/{path}"))).header(TOKEN, token).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn every_node_sees_itself() {
    let bench = Bench::new().await;
    for (address, id) in [("127.0.0.1", "i-1"), ("127.0.0.2", "i-2")] {
        let node = Node::new(&bench, address);
        let token = node.token().await;
        assert_eq!(node.read("instance-id", &token).await, (200, id.to_owned()));
        assert_eq!(node.read("zone-id", &token).await, (200, "zone-a".to_owned()));
        let (_, mac) = node.read("mac", &token).await;
        let (_, macs) = node.read("network/interfaces/macs/", &token).await;
        assert_eq!(macs.trim(), format!("{mac}/"));
        let leaf =
            async |leaf: &str| node.read(&format!("network/interfaces/macs/{mac}/{leaf}"), &token).await;
        assert_eq!(leaf("gateway").await.1, "10.0.1.253");
        assert_eq!(leaf("ipv6-gateway").await.1, "fd00:10:0:1:ffff:ffff:ffff:fffd");
        assert_eq!(leaf("vswitch-cidr-block").await.1, "10.0.1.0/24");
        let (_, ip) = leaf("primary-ip-address").await;
        assert_eq!(leaf("private-ipv4s").await.1, format!("[\"{ip}\"]"));
        assert_eq!(leaf("bogus").await.0, 404);
    }
}

#[tokio::test]
async fn nothing_is_read_without_a_token_of_ones_own() {
    let bench = Bench::new().await;
    let node = Node::new(&bench, "127.0.0.1");
    let bare = node.http.get(node.url("meta-data/instance-id")).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 401);
    assert_eq!(node.read("instance-id", "forged").await.0, 401);
    let token = node.token().await;
    assert_eq!(Node::new(&bench, "127.0.0.2").read("instance-id", &token).await.0, 401);
    for ttl in [None, Some("0"), Some("21601"), Some("x")] {
        let request = node.http.put(node.url("api/token"));
        let request = ttl.into_iter().fold(request, |request, ttl| request.header(TTL, ttl));
        assert_eq!(request.send().await.unwrap().status().as_u16(), 400, "{ttl:?}");
    }
    let stranger = Node::new(&bench, "127.0.0.9");
    let answer = stranger.http.put(stranger.url("api/token")).header(TTL, "60").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 403);
}

#[tokio::test]
async fn attached_enis_are_listed_and_the_role_has_a_key() {
    let bench = Bench::new().await;
    let node = Node::new(&bench, "127.0.0.1");
    let token = node.token().await;
    let eni = bench.create("t").await;
    bench.until(&eni, "Available").await;
    bench.ok("AttachNetworkInterface", &[("NetworkInterfaceId", &eni), ("InstanceId", "i-1")]).await;
    bench.until(&eni, "InUse").await;
    assert_eq!(node.read("network/interfaces/macs/", &token).await.1.lines().count(), 2);
    assert_eq!(node.read("ram/security-credentials/", &token).await.1, "worker");
    let (_, key) = node.read("ram/security-credentials/worker", &token).await;
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    assert_eq!((key["AccessKeyId"].as_str(), key["SecurityToken"].as_str()), (Some("sts"), Some("t0k3n")));
}
