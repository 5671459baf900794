//! HTTP as the providers use it: how a client is made, how much of an answer is read, and what a broken
//! exchange means.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use rustls::crypto::ring;
use terway_types::CloudFailureKind;
use terway_types::fault::chain;

/// How long an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To reach the server, TLS included.
    pub connect: Duration,
    /// From the start to the last byte of the answer.
    pub total: Duration,
}

/// Whose certificates a server may show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the system's certificate authorities.
    #[default]
    System,
    /// Those of the authorities in this PEM text, and no others.
    Given(Vec<u8>),
}

impl Trust {
    /// The authorities of a PEM text, which must hold at least one.
    pub fn given(pem: Vec<u8>) -> Result<Self, ClientError> {
        certificates(&pem)?;
        Ok(Self::Given(pem))
    }
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text of the given authorities holds nothing of the kind.
    #[error("there is no PEM certificate in the given CA file")]
    NoCertificate,
    /// The certificates are not usable, or the system has none.
    #[error("the certificates cannot be used")]
    Build(#[source] reqwest::Error),
}

/// What a client has to be able to do.
#[derive(Clone, Debug)]
pub(crate) struct ClientOptions {
    pub(crate) timeouts: Timeouts,
    /// Whether it will speak HTTPS, which needs the system's CA certificates. A client that only speaks
    /// HTTP starts without any.
    pub(crate) tls: bool,
    /// Whom it believes.
    pub(crate) trust: Trust,
    /// Whether proxies named by the environment are used.
    pub(crate) proxies: bool,
}

/// Makes a client. Redirects are answers like others: a signed request is for one host only.
pub(crate) fn client(options: &ClientOptions) -> Result<Client, ClientError> {
    // reqwest takes the process's default provider and panics without one. Somebody may have installed
    // it before us, which serves as well.
    let _ = ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("terway/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(options.timeouts.connect)
        .timeout(options.timeouts.total);
    builder = match &options.trust {
        _ if !options.tls => builder.tls_certs_only([]),
        Trust::System => builder,
        Trust::Given(pem) => builder.tls_certs_only(certificates(pem)?),
    };
    if !options.proxies {
        builder = builder.no_proxy();
    }
    builder.build().map_err(ClientError::Build)
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, ClientError> {
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(ClientError::NoCertificate),
        Err(error) => Err(ClientError::Build(error)),
    }
}

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
    #[error("the answer is longer than {limit} bytes")]
    TooLong { limit: usize },
}

/// Reads a body up to a limit, so that a confused server cannot take all memory.
pub(crate) async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| ReadError::Broken(e.without_url()))? {
        if body.len() + chunk.len() > limit {
            return Err(ReadError::TooLong { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Sends a request that asks for a key, and reads the whole answer. The texts of failures hold neither query
/// nor body.
pub(crate) async fn ask(request: RequestBuilder, limit: usize) -> Result<(StatusCode, Vec<u8>), String> {
    let response = request.send().await.map_err(|error| chain(&error.without_url()))?;
    let status = response.status();
    let body = read_body(response, limit).await.map_err(|error| chain(&error))?;
    Ok((status, body))
}

/// What an exchange without an answer means. A connection that never came about carried no request;
/// after that only the server knows, which matters if the call changes something.
pub(crate) fn broken(error: &reqwest::Error, changes_something: bool) -> CloudFailureKind {
    if changes_something && !error.is_connect() && !error.is_builder() {
        CloudFailureKind::Ambiguous
    } else {
        CloudFailureKind::Transient
    }
}

/// The start of a text that came from outside, in one line, for messages.
pub(crate) fn excerpt(body: &[u8], longest: usize) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(longest)]);
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if body.len() > longest {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests;
