//! The metadata service on a bad day, whatever the vendor: gone, failing or silent.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::line::Caller;
use crate::live::Live;
use crate::manners::MetadataManners;

/// Lets a request through on a good day.
pub(super) async fn try_patience(
    State(live): State<Arc<Live>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    match live.with(|world, _| world.config().manners.metadata) {
        MetadataManners::Up => next.run(request).await,
        MetadataManners::Down => {
            caller.cut();
            Response::default()
        }
        MetadataManners::Failing => (StatusCode::SERVICE_UNAVAILABLE, "try again later\n").into_response(),
        MetadataManners::Silent => std::future::pending().await,
    }
}
