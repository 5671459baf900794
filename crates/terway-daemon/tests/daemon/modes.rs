//! The node's mode: decided once, kept, and what each mode gives to pods.

use terway_rpc::{InterfaceParts, wire};
use terway_types::{FaultCode, NodeMode};

use crate::support::{Site, container};

const SHARED: &str = r#"{"security_groups": ["sg-1"], "max_pool_size": 3, "min_pool_size": 1, "max_ip_per_eni": 4,
                         "eni_quarantine": "0s"}"#;

#[test]
fn a_mode_is_kept_and_a_change_is_refused_and_told() {
    let mut site = Site::new(r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1}"#);
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    life.stop();
    site.mode = NodeMode::Shared;
    let life = site.serve();
    let message = life.until_event("ModeChangeRefused");
    assert!(message.contains("in exclusive mode") && message.contains("a change to shared"), "{message}");
    let status = life.run(life.status()).unwrap();
    assert_eq!((status.mode.as_str(), status.wanted_mode.as_str()), ("exclusive", "shared"));
    assert_eq!(status.notices, [message]);
    assert_eq!(status.pool.unwrap().mode, "exclusive");
    let reply = life.run(async { life.client().await.unwrap().alloc_ip(container("b")).await.unwrap() });
    assert_eq!(reply.r#type(), wire::AttachmentType::TypeVpceni, "it goes on as it was");
    life.stop();
}

#[test]
fn an_instance_with_few_enis_does_not_begin_to_give_whole_ones() {
    let config = |least: u32| {
        format!(r#"{{"security_groups": ["sg-1"], "exclusive_min_enis": {least}, "max_pool_size": 1}}"#)
    };
    let site = Site::new(&config(9));
    let life = site.start();
    let fault = life.until("the reason is told", async |life| {
        life.status().await.unwrap().fault.filter(|fault| fault.code == FaultCode::ConfigInvalid.name())
    });
    assert_eq!(
        fault.what,
        "instance type ecs.test carries 8 ENIs with its primary one; to give pods whole ENIs it needs 9"
    );
    life.stop();
    site.configure(&config(8));
    site.serve().stop();
    site.configure(&config(9));
    // It is one already, and has pods.
    site.serve().stop();
}

#[test]
fn unless_told_otherwise_whole_enis_take_more_than_six() {
    let site = Site::new(r#"{"security_groups": ["sg-1"], "max_pool_size": 1}"#);
    site.cloud.with(|cloud| cloud.carries = Some(6));
    let life = site.start();
    let fault = life.until("the reason is told", async |life| {
        life.status().await.unwrap().fault.filter(|fault| fault.code == FaultCode::ConfigInvalid.name())
    });
    assert_eq!(
        fault.what,
        "instance type ecs.test carries 6 ENIs with its primary one; to give pods whole ENIs it needs 7"
    );
    life.stop();
    site.cloud.with(|cloud| cloud.carries = Some(7));
    site.serve().stop();
}

#[test]
fn pods_share_an_eni() {
    let mut site = Site::new(SHARED);
    site.mode = NodeMode::Shared;
    let life = site.serve();
    let parts = |name: &str| {
        let reply = life.run(async { life.client().await.unwrap().alloc_ip(container(name)).await.unwrap() });
        assert_eq!(reply.r#type(), wire::AttachmentType::TypeEniMultiIp);
        let gateway = reply.interfaces[0].eni.clone().unwrap().gateway.unwrap();
        assert_eq!(gateway.ipv4, "10.0.0.253");
        InterfaceParts::try_from(&reply.interfaces[0]).unwrap()
    };
    let (a, b) = (parts("a"), parts("b"));
    assert_eq!(a.mac, b.mac, "one ENI");
    assert_ne!(a.addresses, b.addresses);
    assert_eq!(parts("a"), a, "a repeated ADD answers the same");
    life.stop();

    let life = site.serve();
    let info = life.run(async {
        let request = wire::InfoRequest { container_id: "b".to_owned(), ..Default::default() };
        life.client().await.unwrap().get_ip_info(request).await.unwrap()
    });
    assert_eq!(InterfaceParts::try_from(&info.interfaces[0]).unwrap(), b, "also after a restart");
    let pool = life.run(life.status()).unwrap().pool.unwrap();
    assert_eq!((pool.mode.as_str(), pool.in_use), ("shared", 2));
    let held = |pool: &wire::PoolView| {
        let addresses = pool.enis.iter().flat_map(|eni| &eni.shared_addresses);
        let held =
            addresses.filter(|address| address.phase == "InUse").map(|address| address.pod_name.clone());
        let mut held: Vec<_> = held.collect();
        held.sort();
        held
    };
    assert_eq!(held(&pool), ["pod-a", "pod-b"]);
    life.run(life.release("a")).unwrap();
    let pool = life.run(life.status()).unwrap().pool.unwrap();
    assert_eq!(held(&pool), ["pod-b"]);
    life.stop();
}
