//! Bad days, whatever the vendor: a metadata service that is gone, failing or silent, and answers that are none.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::line::Caller;
use crate::faults::Garble;
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
        MetadataManners::Portal => portal(),
    }
}

/// More than a client should read.
const ENDLESS: usize = 9 << 20;

/// The answer, or the nonsense that was ordered in its place.
pub(super) async fn garble(answer: Response, garble: Option<Garble>) -> Response {
    let Some(garble) = garble else { return answer };
    let (mut head, body) = answer.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    let whole = to_bytes(body, ENDLESS).await.unwrap_or_default();
    let body = match garble {
        Garble::Html => return portal(),
        Garble::Truncated => Body::from(whole.slice(..whole.len() / 2)),
        Garble::Empty => Body::empty(),
        Garble::Endless => Body::from(vec![b' '; ENDLESS]),
    };
    Response::from_parts(head, body)
}

fn portal() -> Response {
    let page = "<!doctype html><html><body>Please accept the terms of this network.</body></html>\n";
    ([(CONTENT_TYPE, "text/html")], page).into_response()
}
