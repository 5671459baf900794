//! GC: what goes, what stays, and who else may be at work there.

use std::time::Duration;

use serde_json::{Value, json};
use terway_datapath::attachment_lock;
use terway_rpc::wire::{Attachment, AttachmentView, CollectGarbageReply};
use terway_types::{Fault, FaultCode};

use crate::bench::is_empty;
use crate::{key, node_with_daemon};

#[test]
fn garbage_is_what_is_not_listed() {
    let (node, daemon) = node_with_daemon();
    node.call("GC").fails(7, &["gc-unbounded", "cni.dev/valid-attachments"]);
    assert_eq!(daemon.asked(), Vec::<String>::new());

    node.call("ADD").ok();
    node.sh("ip netns del a");
    daemon.script().garbage = CollectGarbageReply {
        released: vec![Attachment {
            network: "terway".to_owned(),
            container_id: "c0ffee".to_owned(),
            ifname: "eth0".to_owned(),
        }],
        faults: Vec::new(),
    };
    daemon.asked();
    let valid = json!([{"containerID": "other", "ifname": "eth0"}]);
    let gc = node.call("GC").key("cni.dev/valid-attachments", valid);
    let locks = node.dir.path().join("locks");
    let held = attachment_lock::acquire(&locks, &key(), Duration::ZERO).unwrap();
    gc.fails(11, &["attachment-busy", "terway/c0ffee/eth0"]);
    let left = node.sh("nft list ruleset");
    assert!(left.contains("10.0.1.5"), "whoever holds the lock is at work there: {left}");
    drop(held);
    daemon.asked();
    assert_eq!(gc.ok(), Value::Null);
    assert_eq!(daemon.asked(), ["gc terway keeps 1"]);
    assert!(is_empty(&locks), "no lock stays behind");
    let left = node.sh("ip -br link; nft list ruleset");
    assert!(!left.contains("cali") && !left.contains("10.0.1.5"), "{left}");

    daemon.script().garbage = CollectGarbageReply {
        faults: ["one", "two"].map(|what| (&Fault::new(FaultCode::StateFull, what)).into()).to_vec(),
        ..Default::default()
    };
    node.call("GC").key("cni.dev/attachments", Value::Null).fails(11, &["one", "two", "2 failures"]);
}

#[test]
fn an_empty_list_does_not_delete_what_is_alive() {
    let (node, daemon) = node_with_daemon();
    let view = |network: &str, container: &str, netns: &str| AttachmentView {
        attachment: Some(Attachment {
            network: network.to_owned(),
            container_id: container.to_owned(),
            ifname: "eth0".to_owned(),
        }),
        netns: netns.to_owned(),
        ..Default::default()
    };
    daemon.script().held = vec![
        view("terway", "alive", "/run/netns/a"),
        view("terway", "dead", "/run/netns/gone"),
        view("blue", "other", "/run/netns/a"),
    ];
    let gc = |list: Value| node.call("GC").key("cni.dev/valid-attachments", list);
    gc(Value::Null).fails(7, &["terway/alive/eth0"]);
    gc(json!([])).fails(7, &["terway/alive/eth0"]);
    assert_eq!(daemon.asked(), ["gc terway keeps 1", "gc terway keeps 1"], "the dead one is collected");
    node.sh("ip netns del a");
    gc(json!([])).ok();
    assert_eq!(daemon.asked(), ["gc terway keeps 0"]);
}
