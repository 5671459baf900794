//! Alibaba Cloud: the RPC API of ECS and VPC, and the instance metadata service.

mod actions;
mod addresses;
mod describe;
mod ecs;
mod eflo;
mod metadata;
mod parameters;
#[cfg(test)]
mod scale;
mod signature;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, put};

pub(crate) use metadata::MetadataTokens;
pub(crate) use signature::NonceBook;

use super::temper;
use crate::live::Live;

/// The vendor's API; every action lives at `/`.
pub(crate) fn cloud(live: Arc<Live>) -> Router {
    Router::new().route("/", any(ecs::answer)).with_state(live)
}

/// The instance metadata service.
pub(crate) fn metadata(live: Arc<Live>) -> Router {
    Router::new()
        .route("/latest/api/token", put(metadata::token))
        .route("/latest/meta-data/{*path}", get(metadata::read))
        .layer(from_fn_with_state(Arc::clone(&live), temper::try_patience))
        .with_state(live)
}
