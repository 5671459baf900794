//! The daemon is away, or had better not be kept on the line.

use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use terway_datapath::attachment_lock;

use crate::bench::{ENI_MAC, Node, Outcome};
use crate::{key, node_with_daemon};

/// Generous, but shorter than an ADD waits for the lock or for a netdev.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_daemon_that_is_away_is_told_apart_by_how() {
    let node = Node::new();
    let socket = node.dir.path().join("eni.socket");
    let add = || node.call("ADD").key("allocate_timeout", json!(1));
    add().fails(11, &["daemon-unreachable", "eni.socket", "there is no socket"]);
    node.call("CHECK").key("prevResult", json!({})).fails(11, &["daemon-unreachable"]);
    node.call("STATUS").fails(50, &["not-ready", "eni.socket"]);
    node.call("GC").key("cni.dev/valid-attachments", json!([])).fails(11, &["daemon-unreachable"]);
    drop(UnixListener::bind(&socket).unwrap());
    add().fails(11, &["nobody listens"]);
    add().env("CNI_NETNS", "/run/netns/gone").fails(8, &["netns-invalid"]);
    assert_eq!(node.spooled(), Vec::<Value>::new(), "nothing was allocated, so nothing is to be released");
}

#[test]
fn a_del_without_daemon_leaves_the_release_in_the_spool() {
    let (node, daemon) = node_with_daemon();
    let result = node.call("ADD").ok();
    std::fs::remove_file(&daemon.socket).unwrap();
    let outcome = node.call("DEL").key("prevResult", result).run();
    assert!(outcome.ok && outcome.log.contains("spool"), "{outcome:?}");
    let spooled = node.spooled();
    assert_eq!(spooled.len(), 1);
    assert_eq!((&spooled[0]["container_id"], &spooled[0]["mac"]), (&json!("c0ffee"), &json!(ENI_MAC)));
    assert!(node.sh("ip -br link").contains("eni00163e000001"), "the ENI is home");

    node.call("DEL").env("CNI_NETNS", "").ok();
    assert_eq!(node.spooled().len(), 1, "a repetition is the same release");
}

#[test]
fn a_new_attachment_of_the_same_name_withdraws_the_old_release() {
    let (node, daemon) = node_with_daemon();
    let away = node.dir.path().join("away");
    std::fs::rename(&daemon.socket, &away).unwrap();
    node.call("DEL").ok();
    assert_eq!(node.spooled().len(), 1);
    std::fs::rename(&away, &daemon.socket).unwrap();
    node.call("ADD").ok();
    assert_eq!(node.spooled().len(), 0);
}

#[test]
fn nobody_is_on_the_line_who_has_told_the_daemon_something_and_waits_for_a_netdev() {
    let (node, daemon) = node_with_daemon();
    {
        let mut script = daemon.script();
        let eni = script.interfaces[0].eni.as_mut().unwrap();
        (eni.mac, eni.erdma) = ("00:16:3e:00:00:99".to_owned(), true);
    }
    let mut adding = node.call("ADD").start();
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let end = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < end, "not in time: {what}");
            thread::yield_now();
        }
    };
    until("it is told", &|| daemon.script().asked.len() == 2);
    until("it hangs up", &|| node.connections_to(&daemon.socket) == 0);
    assert_eq!(adding.try_wait().unwrap(), None, "it still waits for the netdev");
    assert_eq!(daemon.asked()[1], "event ErdmaUnheeded of web");
    adding.kill().unwrap();
    adding.wait().unwrap();
}

#[test]
fn an_add_that_waits_for_an_older_call_is_not_on_the_line() {
    let node = Node::new();
    let listener = UnixListener::bind(node.dir.path().join("eni.socket")).unwrap();
    let held = attachment_lock::acquire(&node.dir.path().join("locks"), &key(), Duration::ZERO).unwrap();
    let waiting = node.call("ADD").start();
    let (mut early, _) = listener.accept().unwrap();
    early.set_read_timeout(Some(LIMIT)).unwrap();
    early.read_to_end(&mut Vec::new()).expect("the ADD hangs up and waits for the lock");
    drop(held);
    // Now it asks, and is not answered.
    drop((listener.accept().unwrap(), listener));
    let outcome = Outcome::of(&waiting.wait_with_output().unwrap());
    assert_eq!(outcome.output["code"], 11, "{outcome:?}");
}
