//! The cloud's faces: the vendors' APIs and instance metadata services, and the control socket.

mod aliyun;
mod control;
mod door;
mod error;
mod hex;
mod line;
mod speaker;
mod temper;
mod tencent;

pub(crate) use aliyun::{MetadataTokens, NonceBook};
pub(crate) use control::router as control;
pub(crate) use line::{Caller, Lines};

use std::sync::Arc;

use axum::Router;

use crate::config::Vendor;
use crate::live::Live;

/// The vendor's API.
pub(crate) fn cloud(vendor: Vendor, live: Arc<Live>) -> Router {
    match vendor {
        Vendor::Aliyun => aliyun::cloud(live),
        Vendor::Tencent => tencent::cloud(live),
    }
}

/// The vendor's instance metadata service.
pub(crate) fn metadata(vendor: Vendor, live: Arc<Live>) -> Router {
    match vendor {
        Vendor::Aliyun => aliyun::metadata(live),
        Vendor::Tencent => tencent::metadata(live),
    }
}
