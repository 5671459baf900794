//! A morning in a cluster of a thousand nodes: they boot within minutes of each other, pods rush in, come and go, and
//! everything leaves in the end. A thousand engines with their real budgets, watches and cloud operations work
//! against one simulated account that throttles, loses answers and never forgets an ENI. The time is virtual, so the
//! morning takes seconds; the table says what it cost.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod account;
mod door;
mod node;
mod pods;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use terway_cloudsim::model::EniKind;
use tokio::time::{Instant, sleep, sleep_until};

use account::Account;
use node::Node;
use pods::Pods;
use tally::Chapter;

const NODES: u32 = 1_000;
/// Pods of a node in the rush, more than its warm ENIs.
const PODS: u32 = 5;
const BOOT: Duration = Duration::from_mins(5);
const RUSH: Duration = Duration::from_mins(10);
/// How often every pod of the cluster is replaced in the time of churn, and how long that takes each time.
const ROUNDS: u32 = 4;
const ROUND: Duration = Duration::from_mins(10);
/// Of a hundred nodes, so many have a daemon that dies in the rush, and how often it does: often enough that some die
/// while an ENI is being made.
const FRAIL: u32 = 10;
const DEATHS: u32 = 20;

#[tokio::test(start_paused = true)]
async fn a_thousand_nodes_live_through_a_morning_and_leave_nothing() {
    let account = Account::new(NODES);
    tokio::spawn(Arc::clone(&account).keep_time());
    let mut nodes = Vec::new();

    let chapter = Chapter::begin("1,000 nodes boot", &account);
    for number in 0..NODES {
        sleep(BOOT / NODES).await;
        nodes.push(Node::boot(&account, number));
    }
    until("every pool is warm", || nodes.iter().all(|node| node.look().idle >= node::WARM)).await;
    let boot = chapter.end(&account, NODES);

    let chapter = Chapter::begin("5,000 pods rush in, 2,000 daemons die", &account);
    for node in nodes.iter().filter(|node| node.number % 100 < FRAIL) {
        (1..=DEATHS)
            .for_each(|death| node.die_after(RUSH * death / DEATHS + Duration::from_millis(7) * node.number));
    }
    let mut pods = Pods::arrive(&account, &nodes, PODS, RUSH).await;
    let rush = chapter.end(&account, NODES * PODS);
    books_agree(&account, &nodes).await;

    let chapter = Chapter::begin("20,000 pods take the place of others", &account);
    for _ in 0..ROUNDS {
        pods = pods.replaced(ROUND).await;
    }
    let churn = chapter.end(&account, NODES * PODS * ROUNDS);

    let chapter = Chapter::begin("all pods and nodes go", &account);
    pods.leave().await;
    nodes.iter().for_each(Node::retire);
    until("every ENI has left", || account.with(|world, _| further(world).is_empty())).await;
    let end = chapter.end(&account, 0);

    let chapters = [boot, rush, churn, end];
    println!("\n{}", tally::table(&chapters));
    println!("ENIs leaked: 0 of {}; addresses given twice: 0", account.made());
    let [boot, rush, churn, _] = chapters;
    assert!(
        boot.throttled + rush.throttled > 0,
        "the account was never asked too much: the morning was no test"
    );
    assert!(boot.calls_per_piece() < 40.0, "{}", boot.calls_per_piece());
    assert!(rush.calls_per_piece() < 20.0, "{}", rush.calls_per_piece());
    assert!(rush.wait(100) < Duration::from_mins(15), "{:?}", rush.wait(100));
    assert_eq!(
        (churn.changes, churn.throttled),
        (0, 0),
        "pods that come and go cost no call that changes anything"
    );
    assert!(churn.wait(100) < Duration::from_mins(1), "{:?}", churn.wait(100));
}

/// Waits for something that must come about within hours of the cluster's time.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_hours(6);
    let mut next = Instant::now();
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: still not so");
        next += Duration::from_secs(1);
        sleep_until(next).await;
    }
}

/// The ENIs that are nobody's primary one, with the instance each is on.
fn further(world: &terway_cloudsim::World) -> BTreeMap<String, Option<String>> {
    let enis = world.enis().filter(|eni| eni.kind != EniKind::Primary);
    enis.map(|eni| (eni.id.to_string(), eni.instance().map(ToString::to_string))).collect()
}

/// Once nothing is under way, every ENI of the account is in exactly one pool, on that pool's node.
async fn books_agree(account: &Account, nodes: &[Node]) {
    until("nothing is under way", || nodes.iter().all(|node| node.look().operations == 0)).await;
    let cloud = account.with(|world, _| further(world));
    let mut known = BTreeMap::new();
    for node in nodes {
        for eni in node.look().enis {
            let id = eni.record.id.expect("an ENI at rest has an id").to_string();
            assert_eq!(
                cloud.get(&id),
                Some(&Some(node.instance.to_string())),
                "{id} of node {}",
                node.number
            );
            assert!(known.insert(id.clone(), node.number).is_none(), "{id} is in two pools");
        }
    }
    let leaked: Vec<_> = cloud.keys().filter(|id| !known.contains_key(*id)).collect();
    assert!(leaked.is_empty(), "in the cloud and in no pool: {leaked:?}");
}
