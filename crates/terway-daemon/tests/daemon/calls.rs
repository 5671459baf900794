//! What the plugin and the CLI call, over the socket.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use terway_rpc::{InterfaceParts, wire};
use terway_types::{FaultCode, MacAddr};

use crate::support::{Site, container};

const TWO: &str = r#"{"security_groups": ["sg-1"], "min_pool_size": 2, "max_pool_size": 2, "eni_quarantine": "20ms",
                      "eni_release_interval": "10ms", "service_cidr": "172.21.0.0/20"}"#;
const NONE: &str = r#"{"security_groups": ["sg-1"], "max_eni": 1, "eni_quarantine": "0s"}"#;

#[test]
fn an_attachment_gets_an_eni_keeps_it_over_a_restart_and_gives_it_back() {
    let site = Site::new(TWO);
    let life = site.serve();
    let reply = life.run(async { life.client().await.unwrap().alloc_ip(container("a")).await.unwrap() });
    assert!(reply.success && reply.ipv4 && !reply.ipv6);
    assert_eq!(reply.r#type(), wire::AttachmentType::TypeVpceni);
    let parts = InterfaceParts::try_from(&reply.interfaces[0]).unwrap();
    assert_eq!(parts.gateways.v4, "10.0.0.253".parse().ok());
    assert_eq!(parts.service_cidrs, ["172.21.0.0/20".parse().unwrap()]);
    assert_eq!(parts.nic_kinds, ["veth"]);
    assert!(parts.default_route);
    let eni = parts.eni.unwrap().0;
    site.cloud.nic(parts.mac, false);
    life.stop();

    let life = site.serve();
    assert_eq!(life.run(life.info("a")).unwrap(), Some(eni.clone()));
    assert_eq!(life.run(life.allocate("a")).unwrap(), eni, "a repeated ADD answers the same");
    site.cloud.nic(parts.mac, true);
    life.run(life.release("a")).unwrap();
    life.run(life.release("a")).unwrap();
    assert_eq!(life.run(life.info("a")).unwrap(), None);
    life.until_phases(&[("Ready", 2)]);
    life.stop();
}

#[test]
fn how_long_an_answer_takes_from_connecting_is_learned() {
    let site = Site::new(TWO);
    let life = site.serve();
    life.until_phases(&[("Ready", 2)]);
    let known = life.node.grace.to_the_answer();
    // One on a busy machine may take longer than counts.
    life.until("an answer was quick", async |life| {
        life.allocate("a").await.unwrap();
        (life.node.grace.to_the_answer() != known).then_some(())
    });
    life.stop();
}

#[test]
fn the_go_plugin_may_leave_out_network_and_ifname() {
    let site = Site::new(TWO);
    let life = site.serve();
    life.run(async {
        let client = life.client().await.unwrap();
        client.alloc_ip(wire::AllocateRequest { ifname: String::new(), ..container("a") }).await.unwrap();
        let request = wire::ExplainRequest { container_id: "a".to_owned(), ..Default::default() };
        let told = client.explain(request).await.unwrap().attachments;
        let wanted = wire::Attachment {
            network: "terway".to_owned(),
            container_id: "a".to_owned(),
            ifname: "eth0".to_owned(),
        };
        assert_eq!(told[0].attachment, Some(wanted));
        assert_eq!(told[0].pod_name, "pod-a");
        let by_pod = wire::ExplainRequest {
            pod_name: "pod-a".to_owned(),
            pod_namespace: "default".to_owned(),
            ..Default::default()
        };
        assert_eq!(client.explain(by_pod).await.unwrap().attachments, told);
    });
    life.stop();
}

#[test]
fn nobody_waits_longer_than_they_said_and_the_reason_arrives() {
    let site = Site::new(NONE);
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    // A twentieth of the time is for the way back. Where a machine that stalls eats it, the next has ten times as much.
    let told = [400, 4_000, 40_000].map(Duration::from_millis).into_iter().find_map(|deadline| {
        life.run(async {
            let client = life.client_for(deadline).await.unwrap();
            let start = Instant::now();
            let fault = client.alloc_ip(container("b")).await.unwrap_err();
            (start.elapsed() < deadline).then_some(fault)
        })
    });
    let fault = told.expect("a reason in time");
    assert_eq!(fault.code, FaultCode::PoolExhausted, "{fault}");
    life.stop();
}

#[test]
fn a_caller_that_goes_away_leaves_the_queue() {
    let site = Site::new(NONE);
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    life.run(async {
        let client = life.client().await.unwrap();
        let waiting = tokio::spawn(async move { client.alloc_ip(container("b")).await });
        life.watch_waiters(1).await;
        waiting.abort();
        let _ = waiting.await;
        life.watch_waiters(0).await;
        life.release("a").await.unwrap();
        life.allocate("c").await.unwrap();
    });
    life.stop();
}

#[test]
fn waiting_callers_are_answered_when_the_daemon_goes_away() {
    let site = Site::new(NONE);
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    let handle = life.handle();
    let client = life.run(life.client()).unwrap();
    // Waited for on another thread: the answer must arrive before the runtime of this life is dropped.
    let fault = std::thread::scope(|scope| {
        let answer = scope.spawn(move || handle.block_on(client.alloc_ip(container("b"))).unwrap_err());
        life.run(life.watch_waiters(1));
        life.stop_then(|| answer.join().unwrap())
    });
    assert_eq!(fault.code, FaultCode::DaemonUnreachable);
    assert!(fault.what.contains("shutting down"), "{fault}");
}

#[test]
fn many_at_once_get_different_enis() {
    let site = Site::new(r#"{"security_groups": ["sg-1"], "max_pool_size": 4}"#);
    let life = site.serve();
    let names = ["a", "b", "c", "d"];
    let enis: BTreeSet<String> = life.run(async {
        let [a, b, c, d] = names.map(|name| life.allocate(name));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        [a, b, c, d].into_iter().map(Result::unwrap).collect()
    });
    assert_eq!(enis.len(), 4);
    life.stop();
}

#[test]
fn only_what_is_not_valid_is_collected() {
    let site = Site::new(TWO);
    let life = site.serve();
    life.run(async {
        life.allocate("a").await.unwrap();
        let kept = life.allocate("b").await.unwrap();
        let client = life.client().await.unwrap();
        let attachment = |container: &str| wire::Attachment {
            network: "terway".to_owned(),
            container_id: container.to_owned(),
            ifname: "eth0".to_owned(),
        };
        let broken =
            wire::CollectGarbageRequest { network: "terway".to_owned(), valid: vec![attachment("/")] };
        assert!(client.collect_garbage(broken).await.is_err());
        let other = wire::CollectGarbageRequest { network: "blue".to_owned(), valid: Vec::new() };
        assert_eq!(client.collect_garbage(other).await.unwrap().released, []);
        let request =
            wire::CollectGarbageRequest { network: "terway".to_owned(), valid: vec![attachment("b")] };
        assert_eq!(client.collect_garbage(request).await.unwrap().released, [attachment("a")]);
        assert_eq!(life.info("b").await.unwrap(), Some(kept));
        assert_eq!(life.info("a").await.unwrap(), None);
    });
    life.stop();
}

#[test]
fn a_nic_in_a_pod_is_not_given_to_the_next() {
    let site = Site::new(
        r#"{"security_groups": ["sg-1"], "max_eni": 1, "max_pool_size": 1, "eni_quarantine": "0s"}"#,
    );
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    let mac = MacAddr([2, 0, 0, 0, 1, 1]);
    site.cloud.nic(mac, false);
    life.until("the pool noticed", async |life| {
        (!life.status().await.ok()?.pool?.enis[0].link_present).then_some(())
    });
    life.run(life.release("a")).unwrap();
    life.run(async {
        let client = life.client_for(Duration::from_millis(100)).await.unwrap();
        client.alloc_ip(container("b")).await.unwrap_err();
    });
    site.cloud.nic(mac, true);
    life.run(life.allocate("b")).unwrap();
    life.stop();
}

#[test]
fn the_existing_cli_looks_inside() {
    let site = Site::new(TWO);
    let life = site.serve();
    life.run(async {
        let eni = life.allocate("a").await.unwrap();
        let client = life.client().await.unwrap();
        let types = client.get_resource_types(wire::Placeholder {}).await.unwrap().names;
        assert_eq!(types, ["network_service", "resource_pool", "factory"]);
        for name in types {
            let names =
                client.get_resources(wire::ResourceTypeRequest { name: name.clone() }).await.unwrap().names;
            assert_eq!(names, ["default"]);
            let request = wire::ResourceTypeNameRequest { r#type: name, name: "default".to_owned() };
            assert!(!client.get_resource_config(request.clone()).await.unwrap().config.is_empty());
            client.get_resource_trace(request).await.unwrap();
        }
        let mapping = client.get_resource_mapping(wire::Placeholder {}).await.unwrap();
        assert!(mapping.info.iter().any(|row| row.eni_id == eni && row.info[0].contains("default/pod-a")));
        assert_eq!(mapping.records[0].eni_id, eni);
        let unknown = wire::ResourceTypeNameRequest { r#type: "x".to_owned(), name: "default".to_owned() };
        assert!(client.get_resource_config(unknown).await.is_err());
        let execute = wire::ResourceExecuteRequest {
            r#type: "network_service".to_owned(),
            name: "default".to_owned(),
            command: "mapping".to_owned(),
            args: Vec::new(),
        };
        let mut lines = client.resource_execute(execute).await.unwrap();
        assert!(lines.message().await.unwrap().is_some());
    });
    life.stop();
}
