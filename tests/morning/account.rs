//! The account all nodes share: the pure cloud under the test's clock, with the rates its vendor grants, answers that
//! get lost, and a count of everything asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use terway_cloud::budget::Bucket;
use terway_cloudsim::model::FabricAction;
use terway_cloudsim::spread::Dice;
use terway_cloudsim::{Config, World};
use terway_types::{EniId, InstanceId, MacAddr, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use crate::node::Message;
use crate::tally::Count;

/// When the morning begins.
const MORNING: Timestamp = Timestamp(1_800_000_000_000);
/// Calls of one action per minute that the account may make, all nodes together.
const PER_MINUTE: u32 = 3_000;
/// One answer of so many to calls that change something is lost.
const LOST: f64 = 200.0;

/// The account and its cloud.
#[derive(Debug)]
pub(crate) struct Account {
    start: Instant,
    changed: Notify,
    made: AtomicU32,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    world: World,
    rates: BTreeMap<&'static str, Bucket>,
    count: Count,
    waits: Vec<Duration>,
    dice: Dice,
    nodes: BTreeMap<InstanceId, mpsc::UnboundedSender<Message>>,
    /// Where each link is, so that its node hears when it goes.
    plugged: BTreeMap<EniId, (InstanceId, MacAddr)>,
}

/// What became of a call at the account's door.
pub(crate) enum Fate {
    /// It is carried out.
    Admitted,
    /// It is refused: too many calls.
    Throttled,
    /// It is carried out, and nobody hears of it.
    Lost,
}

impl Account {
    /// An account with so many instances, none of which has anything but its primary ENI.
    pub(crate) fn new(instances: u32) -> Arc<Self> {
        let world = World::from_config(config(instances), MORNING).expect("a sound description");
        let inside = Inside {
            world,
            rates: BTreeMap::new(),
            count: Count::default(),
            waits: Vec::new(),
            dice: Dice::new(7),
            nodes: BTreeMap::new(),
            plugged: BTreeMap::new(),
        };
        Arc::new(Self {
            start: Instant::now(),
            changed: Notify::new(),
            made: AtomicU32::new(0),
            inside: Mutex::new(inside),
        })
    }

    /// The time of this morning.
    pub(crate) fn now(&self) -> Timestamp {
        MORNING + self.start.elapsed()
    }

    /// Tells a node of its links from now on.
    pub(crate) fn register(&self, instance: InstanceId, node: mpsc::UnboundedSender<Message>) {
        self.lock().nodes.insert(instance, node);
    }

    /// Looks at the cloud or changes it, at this moment.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let (mut inside, now) = (self.lock(), self.now());
        inside.world.advance(now);
        let outcome = act(&mut inside.world, now);
        inside.settle(now);
        self.changed.notify_one();
        outcome
    }

    /// Lets a call in, or not. Reads are never lost here: who reads reads again.
    pub(crate) fn admit(&self, action: &'static str, changes: bool) -> Fate {
        let mut inside = self.lock();
        let bucket = inside.rates.entry(action).or_insert_with(|| Bucket::new(PER_MINUTE));
        let throttled = bucket.take(self.start.elapsed()).is_err();
        inside.count.add(changes, throttled);
        let lost = changes && inside.dice.roll() * LOST < 1.0;
        match (throttled, lost) {
            (true, _) => Fate::Throttled,
            (false, true) => Fate::Lost,
            (false, false) => Fate::Admitted,
        }
    }

    /// How long an answer takes this time.
    pub(crate) fn answer_time(&self) -> Duration {
        Duration::from_millis(40).mul_f64(1.0 + 5.0 * self.lock().dice.roll())
    }

    /// Notes how long a pod waited.
    pub(crate) fn note_ready(&self, wait: Duration) {
        self.lock().waits.push(wait);
    }

    /// How long pods waited since this was asked last.
    pub(crate) fn take_waits(&self) -> Vec<Duration> {
        std::mem::take(&mut self.lock().waits)
    }

    /// How long the morning has lasted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Everything asked so far.
    pub(crate) fn count(&self) -> Count {
        self.lock().count
    }

    /// Notes that an ENI was made.
    pub(crate) fn note_made(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// How many ENIs were made.
    pub(crate) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// Wakes whenever something in the cloud is due. Never returns.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let pause = {
                let (mut inside, now) = (self.lock(), self.now());
                inside.settle(now);
                inside.world.next_deadline().map_or(Duration::from_hours(1), |next| next.since(now))
            };
            tokio::select! {
                () = sleep(pause.max(Duration::from_millis(1))) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Links come and go as the cloud says, and their nodes hear of it.
    fn settle(&mut self, now: Timestamp) {
        self.world.advance(now);
        loop {
            let actions = self.world.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    FabricAction::Plug(nic) => {
                        self.world.plugged(&nic.eni, now);
                        if !nic.primary {
                            self.tell(&nic.instance, nic.mac, true);
                            self.plugged.insert(nic.eni, (nic.instance, nic.mac));
                        }
                    }
                    FabricAction::Unplug(eni) => {
                        self.world.unplugged(&eni, now);
                        if let Some((instance, mac)) = self.plugged.remove(&eni) {
                            self.tell(&instance, mac, false);
                        }
                    }
                    FabricAction::Guard(_) => {}
                }
            }
            self.world.advance(now);
        }
    }

    fn tell(&self, instance: &InstanceId, mac: MacAddr, present: bool) {
        if let Some(node) = self.nodes.get(instance) {
            // A node that has ended needs no news.
            let _ = node.send(Message::Link { mac, present });
        }
    }
}

fn config(instances: u32) -> Config {
    let nodes: Vec<_> = (0..instances)
        .map(|number| json!({ "id": format!("i-{number:04}"), "type": "large", "vswitch": "vsw-nodes" }))
        .collect();
    let description = json!({
        "region": "cn-sim",
        "vpc": { "id": "vpc-sim", "ipv4_cidr": "10.0.0.0/8" },
        "vswitches": [
            { "id": "vsw-pods", "zone": "cn-sim-a", "ipv4": "10.16.0.0/16" },
            { "id": "vsw-nodes", "zone": "cn-sim-a", "ipv4": "10.1.0.0/16" },
        ],
        "security_groups": ["sg-sim"],
        "instance_types": [{ "id": "large", "enis": 10, "ipv4_per_eni": 10 }],
        "instances": nodes,
        "credentials": [],
        "latency_ms": {
            "create": { "long_tail": [500, 10_000] },
            "attach": { "long_tail": [2_000, 30_000] },
            "detach": { "long_tail": [1_000, 20_000] },
            "delete": { "long_tail": [500, 10_000] },
            "link": 500,
        },
        "quota": { "enis": 20_000 },
    });
    Config::parse(&description.to_string()).expect("a sound description")
}
