//! The pool of ENIs as a pure state machine: `handle(now, event) -> effects`, `next_deadline()`. No
//! clock, no task, no socket inside; a driver outside executes effects in order and feeds events.

pub mod effect;
mod engine;
pub mod event;
pub mod settings;
pub mod view;

pub use effect::{Answer, Capacity, CloudAction, Effect, Note, OperationId, RequestId};
pub use engine::Pool;
pub use event::{CloudAnswer, CloudEni, Event};
pub use settings::PoolSettings;
pub use view::{EniView, PoolView, WaiterView};
