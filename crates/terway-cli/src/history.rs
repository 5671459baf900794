//! `history`: who held what from when to when, and what was asked of the cloud.

use serde::Serialize;
use terway_rpc::DaemonClient;
use terway_rpc::wire::history_entry::Entry;
use terway_rpc::wire::{HistoryReply, HistoryRequest, PastCall, PastHolding};
use terway_types::{Fault, Timestamp};

use crate::age::age;
use crate::arguments::HistoryQuery;
use crate::pool::{self, Addresses, Attachment, Pod};
use crate::screen::Screen;
use crate::table::Table;

#[derive(Serialize)]
struct History {
    holdings: Vec<Holding>,
    calls: Vec<Call>,
}

#[derive(Serialize)]
struct Holding {
    eni: Option<String>,
    token: String,
    addresses: Addresses,
    pod: Option<Pod>,
    attachment: Option<Attachment>,
    from_unix_ms: u64,
    /// Absent while it lasts.
    to_unix_ms: Option<u64>,
}

#[derive(Serialize)]
struct Call {
    action: String,
    object: String,
    intent: Option<String>,
    request_id: Option<String>,
    failure: Option<String>,
    at_unix_ms: u64,
    took_ms: u64,
}

/// Asks and prints.
pub(crate) async fn run(
    client: &DaemonClient,
    screen: &mut Screen,
    query: &HistoryQuery,
    now: Timestamp,
) -> Result<(), Fault> {
    let history = view(&client.history(request(query, now)).await?);
    screen.show(&history, |history| text(history, now))
}

fn request(query: &HistoryQuery, now: Timestamp) -> HistoryRequest {
    let (pod_namespace, pod_name) = query.pod.clone().unwrap_or_default();
    let since = query.minutes.map(|minutes| now.0.saturating_sub(u64::from(minutes) * 60_000));
    HistoryRequest {
        address: query.address.map(|address| address.to_string()).unwrap_or_default(),
        eni: query.eni.clone().unwrap_or_default(),
        pod_name,
        pod_namespace,
        container_id: query.container.clone().unwrap_or_default(),
        intent: query.intent.clone().unwrap_or_default(),
        since_unix_ms: since.unwrap_or_default(),
        until_unix_ms: 0,
        limit: query.limit,
    }
}

fn view(reply: &HistoryReply) -> History {
    let mut history = History { holdings: reply.holding.iter().map(holding).collect(), calls: Vec::new() };
    for entry in reply.entries.iter().filter_map(|entry| entry.entry.as_ref()) {
        match entry {
            Entry::Held(held) => history.holdings.push(holding(held)),
            Entry::Called(called) => history.calls.push(call(called)),
        }
    }
    history
}

fn holding(past: &PastHolding) -> Holding {
    Holding {
        eni: pool::some(&past.eni),
        token: past.token.clone(),
        addresses: Addresses::from(past.addresses.as_ref()),
        pod: pool::pod(&past.pod_namespace, &past.pod_name),
        attachment: past.attachment.as_ref().map(Attachment::from),
        from_unix_ms: past.from_unix_ms,
        to_unix_ms: (past.to_unix_ms > 0).then_some(past.to_unix_ms),
    }
}

fn call(past: &PastCall) -> Call {
    Call {
        action: past.action.clone(),
        object: past.object.clone(),
        intent: pool::some(&past.intent),
        request_id: pool::some(&past.request_id),
        failure: pool::some(&past.failure),
        at_unix_ms: past.at_unix_ms,
        took_ms: past.took_ms,
    }
}

fn text(history: &History, now: Timestamp) -> String {
    let mut holdings = Table::new(&["ENI", "IPV4", "IPV6", "POD", "ATTACHMENT", "SINCE", "UNTIL"]);
    for holding in &history.holdings {
        let ago = |at: u64| format!("{} ago", age(Timestamp(at), now));
        holdings.row([
            holding.eni.clone().unwrap_or_else(|| holding.token.clone()),
            holding.addresses.ipv4.clone().unwrap_or_default(),
            holding.addresses.ipv6.clone().unwrap_or_default(),
            holding.pod.as_ref().map(Pod::full_name).unwrap_or_default(),
            holding.attachment.as_ref().map(Attachment::short).unwrap_or_default(),
            ago(holding.from_unix_ms),
            holding.to_unix_ms.map_or_else(|| "now".to_owned(), ago),
        ]);
    }
    let mut calls = Table::new(&["CALL", "ABOUT", "AGO", "TOOK", "REQUEST", "OUTCOME"]);
    for call in &history.calls {
        calls.row([
            call.action.clone(),
            call.object.clone(),
            age(Timestamp(call.at_unix_ms), now),
            format!("{}ms", call.took_ms),
            call.request_id.clone().unwrap_or_default(),
            call.failure.clone().unwrap_or_else(|| "ok".to_owned()),
        ]);
    }
    format!("{}\n\n{}", holdings.render(), calls.render())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use terway_rpc::wire::{AddressPair, HistoryEntry};

    use super::*;
    use crate::pool::samples::{self, NOW};

    fn reply() -> HistoryReply {
        let lasting = PastHolding {
            attachment: Some(samples::attachment("c0ffeec0ffeec0ffee")),
            pod_name: "web".into(),
            pod_namespace: "default".into(),
            eni: "eni-a".into(),
            token: "t-1".into(),
            addresses: Some(AddressPair { ipv4: "10.0.0.7".into(), ipv6: String::new() }),
            from_unix_ms: NOW - 42_000,
            ..Default::default()
        };
        let past = PastHolding {
            pod_name: "old".into(),
            from_unix_ms: NOW - 3_600_000,
            to_unix_ms: NOW - 90_000,
            ..lasting.clone()
        };
        let call = PastCall {
            action: "AttachNetworkInterface".into(),
            object: "eni-a,i-1".into(),
            intent: "t-1".into(),
            request_id: "R-1".into(),
            failure: "AttachNetworkInterface failed (throttled): slow down".into(),
            at_unix_ms: NOW - 5_000,
            took_ms: 120,
        };
        HistoryReply {
            holding: vec![lasting],
            entries: vec![
                HistoryEntry { number: 8, entry: Some(Entry::Called(call)) },
                HistoryEntry { number: 7, entry: Some(Entry::Held(past)) },
            ],
        }
    }

    #[test]
    fn holders_and_calls() {
        assert_snapshot!(text(&view(&reply()), Timestamp(NOW)), @r"
        ENI    IPV4      IPV6  POD          ATTACHMENT         SINCE    UNTIL
        eni-a  10.0.0.7  -     default/web  c0ffeec0ffee/eth0  42s ago  now
        eni-a  10.0.0.7  -     default/old  c0ffeec0ffee/eth0  1h ago   1m30s ago

        CALL                    ABOUT      AGO  TOOK   REQUEST  OUTCOME
        AttachNetworkInterface  eni-a,i-1  5s   120ms  R-1      AttachNetworkInterface failed (throttled): slow down
        ");
    }

    #[test]
    fn json_tells_what_lasts_from_what_was() {
        let json = serde_json::to_value(view(&reply())).unwrap();
        assert!(json["holdings"][0]["to_unix_ms"].is_null());
        assert_eq!(json["holdings"][1]["to_unix_ms"], NOW - 90_000);
        assert_eq!(json["calls"][0]["request_id"], "R-1");
    }
}
