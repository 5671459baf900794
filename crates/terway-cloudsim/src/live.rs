//! The world under a clock: one lock around the model and its records, one hand that passes the model's
//! actions to the fabric, one task that wakes when something is due.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use terway_types::Timestamp;
use tokio::sync::Notify;

use crate::api::{MetadataTokens, NonceBook};
use crate::calls::Calls;
use crate::fabric::Order;
use crate::faults::Faults;
use crate::model::{FabricAction, World};
use crate::throttle::Throttle;

/// Where a clock's time comes from.
pub type Clock = fn() -> Timestamp;

/// The machine's own clock.
pub fn system_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) world: World,
    pub(crate) calls: Calls,
    pub(crate) faults: Faults,
    pub(crate) throttle: Throttle,
    pub(crate) nonces: NonceBook,
    pub(crate) tokens: MetadataTokens,
}

/// A world that lives.
#[derive(Debug)]
pub struct Live {
    records: Mutex<Records>,
    clock: Clock,
    /// `None`: there is no fabric, links exist by saying so.
    fabric: Option<Sender<Order>>,
    changed: Notify,
}

impl Live {
    pub(crate) fn new(world: World, clock: Clock, fabric: Option<Sender<Order>>) -> Arc<Self> {
        let mut faults = Faults::default();
        faults.set(world.config().faults.clone());
        let records = Records {
            world,
            calls: Calls::default(),
            faults,
            throttle: Throttle::default(),
            nonces: NonceBook::default(),
            tokens: MetadataTokens::default(),
        };
        Arc::new(Self { records: Mutex::new(records), clock, fabric, changed: Notify::new() })
    }

    /// The time of this world.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Looks at, or acts on, the world at this moment.
    pub fn with<T>(&self, act: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        self.with_records(|records, now| act(&mut records.world, now))
    }

    /// As [`Live::with`], with the records around the world.
    pub(crate) fn with_records<T>(&self, act: impl FnOnce(&mut Records, Timestamp) -> T) -> T {
        let mut records = self.lock();
        let now = self.now();
        records.world.advance(now);
        let outcome = act(&mut records, now);
        self.settle(&mut records.world, now);
        self.changed.notify_one();
        outcome
    }

    /// Waits until the fabric has done everything it was asked to do before.
    pub(crate) async fn caught_up(&self) {
        let Some(fabric) = &self.fabric else { return };
        let (done, told) = tokio::sync::oneshot::channel();
        if fabric.send(Order::Mark(done)).is_ok() {
            // A fabric that ends meanwhile will not say so.
            let _ = told.await;
        }
    }

    /// Wakes whenever something in the world is due. Never returns.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let pause = {
                let mut records = self.lock();
                let now = self.now();
                self.settle(&mut records.world, now);
                records.world.next_deadline().map(|next| next.since(now))
            };
            match pause {
                None => self.changed.notified().await,
                Some(pause) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.changed.notified() => {}
                    }
                }
            }
        }
    }

    /// Lets everything happen that is due, and passes on what the fabric must do.
    fn settle(&self, world: &mut World, now: Timestamp) {
        world.advance(now);
        loop {
            let actions = world.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match (&self.fabric, action) {
                    // A fabric that has ended takes no more orders: the world is being torn down.
                    (Some(fabric), action) => drop(fabric.send(Order::Act(action))),
                    (None, FabricAction::Plug(nic)) => world.plugged(&nic.eni, now),
                    (None, FabricAction::Unplug(eni)) => world.unplugged(&eni, now),
                    (None, FabricAction::Guard(_)) => {}
                }
            }
            world.advance(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // The model keeps its promises between statements; a panic elsewhere does not spoil it.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
