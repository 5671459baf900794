//! The CNI specification as Rust values: environment and standard input become a typed request, results
//! and errors become JSON in the shape of the version asked for. Nothing here knows what a plugin does,
//! reads the process's environment or touches a file: all of it enters through parameters.

mod args;
mod dispatch;
mod environment;
mod error;
mod garbage;
mod netconf;
mod prev_result;
mod request;
mod result;
mod text;
mod trace;
mod version;

pub use args::Args;
pub use dispatch::{Handler, Outcome, dispatch};
pub use environment::Environment;
pub use error::{CniError, code};
pub use garbage::ValidAttachments;
pub use netconf::NetConf;
pub use prev_result::PrevResult;
pub use request::{
    AddRequest, Attachment, CheckRequest, Context, DelRequest, GcRequest, Request, StatusRequest,
};
pub use result::{CniResult, Dns, Interface, IpConfig, Route};
pub use trace::TraceContext;
pub use version::{Verb, Version};
