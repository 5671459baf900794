//! `status`: whether the node can serve pods now, and how its pool stands.

use serde::Serialize;
use terway_rpc::DaemonClient;
use terway_rpc::wire::{StatusReply, StatusRequest};
use terway_types::{Fault, Timestamp};

use crate::Verdict;
use crate::age::age;
use crate::inventory::Inventory;
use crate::pool::{self, FaultView, Pool};
use crate::screen::Screen;
use crate::table::{Table, properties};

#[derive(Serialize)]
struct Status {
    ready: bool,
    fault: Option<FaultView>,
    version: String,
    started_unix_ms: u64,
    provider: String,
    instance_id: String,
    instance_type: String,
    zone: String,
    mode: String,
    wanted_mode: String,
    notices: Vec<String>,
    inventory: Option<Inventory>,
    pool: Pool,
}

/// Asks and prints; the verdict says whether the node is ready.
pub(crate) async fn run(
    client: &DaemonClient,
    screen: &mut Screen,
    now: Timestamp,
) -> Result<Verdict, Fault> {
    let status = view(&client.status(StatusRequest {}).await?);
    screen.show(&status, |status| text(status, now))?;
    Ok(if status.ready { Verdict::Fine } else { Verdict::NotReady })
}

fn view(reply: &StatusReply) -> Status {
    Status {
        ready: reply.ready,
        fault: reply.fault.as_ref().map(FaultView::from),
        version: reply.version.clone(),
        started_unix_ms: reply.started_unix_ms,
        provider: reply.provider.clone(),
        instance_id: reply.instance_id.clone(),
        instance_type: reply.instance_type.clone(),
        zone: reply.zone.clone(),
        mode: reply.mode.clone(),
        wanted_mode: reply.wanted_mode.clone(),
        notices: reply.notices.clone(),
        inventory: reply.inventory.as_ref().map(Inventory::from),
        pool: Pool::from(&reply.pool.clone().unwrap_or_default()),
    }
}

fn text(status: &Status, now: Timestamp) -> String {
    let pool = &status.pool;
    let ready = match &status.fault {
        _ if status.ready => "yes".to_owned(),
        Some(fault) => format!("no: {}", fault.line()),
        None => "no".to_owned(),
    };
    let mut text = properties([
        ("ready", ready),
        ("version", format!("{}, up {}", status.version, age(Timestamp(status.started_unix_ms), now))),
        (
            "node",
            format!(
                "{} ({}) in {}, {}",
                status.instance_id, status.instance_type, status.zone, status.provider
            ),
        ),
        ("mode", mode(status)),
        (if pool.mode == "exclusive" { "enis" } else { "addresses" }, numbers(pool)),
        ("room", format!("{} at once, {} in all", pool.capacity_now, pool.capacity_later)),
        ("cloud", cloud(status, now)),
    ]);
    for notice in &status.notices {
        text.push_str("\n\nnotice: ");
        text.push_str(notice);
    }
    if !pool.waiters.is_empty() {
        text.push_str("\n\n");
        text.push_str(&waiters(&pool.waiters, now));
    }
    text
}

fn numbers(pool: &Pool) -> String {
    let Pool { in_use, idle, min_idle, max_idle, max_enis, .. } = pool;
    match pool.mode.as_str() {
        // They are there or not: nothing is made or given back.
        "vpc-route" => format!("{in_use} in use, {idle} idle"),
        _ => {
            format!("{in_use} in use, {idle} idle (target {min_idle} to {max_idle}), {max_enis} ENIs at most")
        }
    }
}

fn mode(status: &Status) -> String {
    if status.mode == status.wanted_mode {
        status.mode.clone()
    } else {
        format!("{} ({} was asked for)", status.mode, status.wanted_mode)
    }
}

/// What goes on there, and what was last seen.
fn cloud(status: &Status, now: Timestamp) -> String {
    if status.mode == "vpc-route" {
        return "not asked: the addresses are the node's own".to_owned();
    }
    let operations = status.pool.operations;
    let seen =
        status.inventory.as_ref().map_or_else(|| "not looked at yet".to_owned(), |seen| seen.line(now));
    let aside = status.pool.set_aside.iter().map(|aside| {
        format!("; {} set aside for {}", aside.vswitch, age(now, Timestamp(aside.until_unix_ms)))
    });
    format!("{operations} operations under way; {seen}{}", aside.collect::<String>())
}

fn waiters(waiters: &[pool::Waiter], now: Timestamp) -> String {
    let mut table = Table::new(&["PLACE", "WAITING", "FOR", "REASON"]);
    for waiter in waiters {
        table.row([
            waiter.place.to_string(),
            waiter.attachment.as_ref().map(pool::Attachment::short).unwrap_or_default(),
            age(Timestamp(waiter.since_unix_ms), now),
            waiter.waits_for.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use terway_rpc::wire::InspectReply;
    use terway_types::FaultCode;

    use super::*;
    use crate::pool::samples;

    fn reply() -> StatusReply {
        StatusReply {
            ready: true,
            fault: None,
            pool: Some(samples::pool()),
            version: "0.1.0".into(),
            started_unix_ms: samples::NOW - 18_120_000,
            provider: "aliyun".into(),
            instance_id: "i-1".into(),
            instance_type: "ecs.g7.large".into(),
            zone: "cn-hangzhou-h".into(),
            mode: "exclusive".into(),
            wanted_mode: "exclusive".into(),
            notices: Vec::new(),
            inventory: Some(InspectReply {
                began_unix_ms: samples::NOW - 30_000,
                enis: 3,
                ..Default::default()
            }),
        }
    }

    #[test]
    fn what_is_not_as_asked_is_said() {
        let reply = StatusReply {
            wanted_mode: "shared".into(),
            notices: vec!["a change to shared was refused".into()],
            ..reply()
        };
        let text = text(&view(&reply), Timestamp(samples::NOW));
        assert!(text.contains("mode     exclusive (shared was asked for)\n"), "{text}");
        assert!(text.contains("\n\nnotice: a change to shared was refused"), "{text}");
    }

    #[test]
    fn a_ready_node() {
        assert_snapshot!(text(&view(&reply()), Timestamp(samples::NOW)), @r"
        ready    yes
        version  0.1.0, up 5h2m
        node     i-1 (ecs.g7.large) in cn-hangzhou-h, aliyun
        mode     exclusive
        enis     1 in use, 1 idle (target 1 to 2), 3 ENIs at most
        room     1 at once, 2 in all
        cloud    1 operations under way; 3 ENIs seen 30s ago, 0 of others, 0 unknown to the ledger, 0 not shown; vsw-b set aside for 1m30s

        PLACE  WAITING     FOR  REASON
        1      early/eth0  2s   an ENI being created
        2      late/eth0   1s   the instance's limit of 3 ENIs
        ");
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let fault = Fault::new(FaultCode::DaemonStarting, "the inventory is not complete");
        let reply = StatusReply { ready: false, fault: Some((&fault).into()), pool: None, ..reply() };
        let text = text(&view(&reply), Timestamp(samples::NOW));
        assert_snapshot!(text.lines().next().unwrap_or_default(), @"ready      no: daemon-starting: the inventory is not complete (remedy: wait; see the daemon's log if it lasts)");
    }

    #[test]
    fn json_has_the_numbers() {
        let json = serde_json::to_value(view(&reply())).unwrap();
        assert_eq!(json["ready"], true);
        assert_eq!(json["pool"]["max_enis"], 3);
        assert_eq!(json["pool"]["waiters"][0]["attachment"]["container_id"], "early");
    }
}
