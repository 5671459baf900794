//! `events`: what the node's operator should have heard of lately.

use serde::Serialize;
use terway_rpc::DaemonClient;
use terway_rpc::wire::{EventsReply, EventsRequest};
use terway_types::{Fault, Timestamp};

use crate::age::age;
use crate::screen::Screen;
use crate::table::Table;

#[derive(Serialize)]
struct Event {
    at_unix_ms: u64,
    reason: String,
    message: String,
}

/// Asks and prints, the latest last.
pub(crate) async fn run(client: &DaemonClient, screen: &mut Screen, now: Timestamp) -> Result<(), Fault> {
    let events = view(&client.events(EventsRequest {}).await?);
    screen.show(&events, |events| text(events, now))
}

fn view(reply: &EventsReply) -> Vec<Event> {
    let event = |event: &terway_rpc::wire::NodeEvent| Event {
        at_unix_ms: event.at_unix_ms,
        reason: event.reason.clone(),
        message: event.message.clone(),
    };
    reply.events.iter().map(event).collect()
}

fn text(events: &[Event], now: Timestamp) -> String {
    let mut table = Table::new(&["AGO", "REASON", "MESSAGE"]);
    for event in events {
        let message = event.message.replace('\n', "; ");
        table.row([age(Timestamp(event.at_unix_ms), now), event.reason.clone(), message]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use terway_rpc::wire::NodeEvent;

    use super::*;
    use crate::pool::samples::NOW;

    #[test]
    fn events_in_lines() {
        let event = |reason: &str, message: &str, ago: u64| NodeEvent {
            at_unix_ms: NOW - ago,
            reason: reason.into(),
            message: message.into(),
        };
        let reply = EventsReply {
            events: vec![
                event("EniVanished", "eni-a is gone", 90_000),
                event("ConfigRefused", "2 problems\nmax_eni: 1\nmin_eni: 2", 1_000),
            ],
        };
        assert_snapshot!(text(&view(&reply), Timestamp(NOW)), @r"
        AGO    REASON         MESSAGE
        1m30s  EniVanished    eni-a is gone
        1s     ConfigRefused  2 problems; max_eni: 1; min_eni: 2
        ");
    }
}
