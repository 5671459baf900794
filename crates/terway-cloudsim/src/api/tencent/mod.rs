//! Tencent Cloud: the VPC API in version 3 of the vendor's protocol, and the instance metadata service.

mod addresses;
mod body;
mod describe;
mod enis;
mod error;
mod gateway;
mod instances;
mod metadata;
mod shape;
mod signature;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};

use super::temper;
use crate::live::Live;

/// The vendor's API; every action lives at `/`.
pub(crate) fn cloud(live: Arc<Live>) -> Router {
    Router::new().route("/", any(gateway::answer)).with_state(live)
}

/// The instance metadata service.
pub(crate) fn metadata(live: Arc<Live>) -> Router {
    Router::new()
        .route("/latest/meta-data/", get(metadata::root))
        .route("/latest/meta-data/{*path}", get(metadata::read))
        .layer(from_fn_with_state(Arc::clone(&live), temper::try_patience))
        .with_state(live)
}
