//! Health, readiness and metrics, over the read-only socket.

use terway_types::CloudFailureKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{Life, Site};

fn get(site: &Site, life: &Life, page: &str) -> String {
    let request = format!("GET {page} HTTP/1.1\r\nHost: terwayd\r\nConnection: close\r\n\r\n");
    life.until("the page is served", async |_| {
        let mut stream = UnixStream::connect(site.path("run/debug.socket")).await.ok()?;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        Some(answer)
    })
}

#[test]
fn readiness_tells_the_reason_and_metrics_the_pool() {
    let site =
        Site::new(r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1, "max_eni": 1}"#);
    site.cloud.refuse("identity", Some(CloudFailureKind::Denied));
    let life = site.start();
    life.until("the reason is told", async |_| {
        life.status().await.ok()?.fault.filter(|fault| fault.code == "cloud-denied")
    });
    assert!(get(&site, &life, "/healthz").starts_with("HTTP/1.1 200 "), "a restart would not help");
    let page = get(&site, &life, "/readyz");
    assert!(page.starts_with("HTTP/1.1 503 ") && page.contains("cloud-denied: "), "{page}");
    site.cloud.refuse("identity", None);
    life.until_phases(&[("Ready", 1)]);
    life.run(life.allocate("a")).unwrap();
    assert!(get(&site, &life, "/readyz").starts_with("HTTP/1.1 200 "));
    let page = get(&site, &life, "/metrics");
    for line in [
        "terway_pool_enis{phase=\"InUse\"} 1",
        "terway_rpc_latency_count{rpc_api=\"AllocIP\",error=\"false\"} 1",
        "terway_cloud_calls_total{action=\"AttachNetworkInterface\",outcome=\"ok\"} 1",
        "terway_orphan_enis 0",
    ] {
        assert!(page.contains(line), "{line} is missing in {page}");
    }
    life.stop();
}
