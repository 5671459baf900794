//! What was: holdings and cloud calls, asked for over the socket.

use terway_rpc::wire;
use terway_rpc::wire::history_entry::Entry;
use terway_types::CloudFailureKind;

use crate::support::{Life, Site};

const CONFIG: &str =
    r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1, "eni_quarantine": "0s"}"#;

fn ask(life: &Life, request: wire::HistoryRequest) -> wire::HistoryReply {
    life.run(async { life.client().await.unwrap().history(request).await.unwrap() })
}

fn calls(reply: &wire::HistoryReply) -> Vec<&wire::PastCall> {
    let entries = reply.entries.iter().filter_map(|entry| match entry.entry.as_ref()? {
        Entry::Called(call) => Some(call),
        Entry::Held(_) => None,
    });
    entries.collect()
}

#[test]
fn every_call_that_changes_something_is_remembered_with_its_intent() {
    let site = Site::new(CONFIG);
    site.cloud.refuse("attach", Some(CloudFailureKind::Throttled));
    let life = site.serve();
    life.until("the refusal is remembered", async |life| {
        let reply = life.client().await.ok()?.history(wire::HistoryRequest::default()).await.ok()?;
        calls(&reply).iter().any(|call| call.action == "attach").then_some(())
    });
    site.cloud.refuse("attach", None);
    let ready = life.until_phases(&[("Ready", 1)]);
    let token = ready[0].token.clone();
    life.until("the attachment is remembered", async |life| {
        let request = wire::HistoryRequest { intent: token.clone(), ..Default::default() };
        let reply = life.client().await.ok()?.history(request).await.ok()?;
        let calls = calls(&reply);
        let told = |action: &str, ok: bool| {
            calls.iter().any(|call| {
                call.action == action && call.failure.is_empty() == ok && call.request_id == "req-1"
            })
        };
        (told("create", true) && told("attach", false) && told("attach", true)).then_some(())
    });
    life.stop();
    // What was remembered last survives as well.
    let life = site.serve();
    let reply = ask(&life, wire::HistoryRequest { intent: token, ..Default::default() });
    assert!(calls(&reply).iter().any(|call| call.action == "attach" && call.failure.is_empty()));
    life.stop();
}

#[test]
fn who_holds_an_address_and_who_held_it() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    let eni = life.run(life.allocate("a")).unwrap();
    let address = site.cloud.with(|cloud| cloud.enis[&eni.as_str().into()].addresses.v4.unwrap().to_string());
    let by_address = || wire::HistoryRequest { address: address.clone(), ..Default::default() };
    let reply = ask(&life, by_address());
    assert_eq!(reply.holding[0].eni, eni);
    assert_eq!((reply.holding[0].pod_name.as_str(), reply.holding[0].to_unix_ms), ("pod-a", 0));
    let other = ask(&life, wire::HistoryRequest { address: "10.0.0.99".to_owned(), ..Default::default() });
    assert!(other.holding.is_empty());
    let sandbox = wire::HistoryRequest { container_id: "a".to_owned(), ..Default::default() };
    assert_eq!(ask(&life, sandbox).holding.len(), 1);
    life.run(life.release("a")).unwrap();
    let reply = ask(&life, by_address());
    assert!(reply.holding.is_empty());
    let held = reply.entries.iter().find_map(|entry| match entry.entry.as_ref()? {
        Entry::Held(held) => Some(held),
        Entry::Called(_) => None,
    });
    let held = held.expect("a release is remembered");
    assert_eq!((held.pod_name.as_str(), held.eni.as_str()), ("pod-a", eni.as_str()));
    assert!(held.to_unix_ms >= held.from_unix_ms);
    let wrong = wire::HistoryRequest { address: "10.0.0".to_owned(), ..Default::default() };
    assert!(life.run(async { life.client().await.unwrap().history(wrong).await }).is_err());
    life.stop();
}
