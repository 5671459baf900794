//! Between wire messages and the vocabulary of `terway-types`. Messages never travel further inward
//! than this: prost makes every enum a number and every message an option.

mod attachment;
mod fault;
mod interface;
mod status;

pub use attachment::{DEFAULT_IFNAME, DEFAULT_NETWORK, attachment_key};
pub use interface::{InterfaceError, InterfaceParts, datapath};
#[cfg(feature = "blocking")]
pub(crate) use status::{broken, fault_of_parts};
pub use status::{fault_of, status_of};
