//! The pool of ENIs as a pure state machine: `handle(now, event) -> effects`, `next_deadline()`. No
//! clock, no task, no socket inside; a driver outside executes effects in order and feeds events.

mod adoption;
mod books;
mod capacity;
mod cloud_work;
pub mod effect;
mod engine;
mod eni;
mod eni_life;
pub mod event;
mod failure;
#[cfg(test)]
mod histories;
mod holdings;
mod outbox;
mod progress;
mod quarantine;
mod reason;
mod requests;
pub mod settings;
mod supply;
mod tally;
#[cfg(test)]
mod testing;
pub mod view;
mod waiters;
mod watermark;

pub use effect::{Answer, Capacity, CloudAction, Effect, Note, OperationId, RequestId};
pub use engine::Pool;
pub use event::{CloudAnswer, CloudEni, Event};
pub use settings::PoolSettings;
pub use view::{EniView, PoolView, WaiterView};
