//! Health, readiness and metrics over HTTP, for probes and Prometheus. Read only.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::clock;
use crate::flags::Listen;
use crate::node::Node;
use crate::socket;

/// A pool thread that does not answer for this long hangs.
const HANGS: Duration = Duration::from_secs(10);

/// The three pages.
pub fn pages(node: Arc<Node>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(node)
}

/// Serves the pages until dropped.
pub async fn serve(listen: &Listen, node: Arc<Node>) -> anyhow::Result<()> {
    match listen {
        Listen::Unix(path) => axum::serve(socket::listen(path)?, pages(node)).await?,
        Listen::Tcp(address) => {
            axum::serve(tokio::net::TcpListener::bind(address).await?, pages(node)).await?;
        }
    }
    Ok(())
}

/// Healthy while starting, too: a restart would not mend a cloud that is away.
async fn healthz(State(node): State<Arc<Node>>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(HANGS, node.pool()).await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the pool's thread does not answer\n"),
    }
}

async fn readyz(State(node): State<Arc<Node>>) -> (StatusCode, String) {
    match node.pool().await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")),
    }
}

async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let pool = node.pool().await.ok();
    let text = node.metrics.scrape(pool.as_ref(), clock::system());
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
