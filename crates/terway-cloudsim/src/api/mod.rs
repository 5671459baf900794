//! The cloud's faces: the vendor's RPC API, the instance metadata service, and the control socket.

mod aliyun;
mod control;
mod door;
mod error;
mod line;
mod speaker;
mod temper;

pub(crate) use aliyun::{MetadataTokens, NonceBook, cloud, metadata};
pub(crate) use control::router as control;
pub(crate) use line::{Caller, Lines};
