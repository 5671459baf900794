//! What both signatures of the API have in common: the call before it is signed and after, and the canonical
//! form of its parameters. Both are pure functions of request, key, date and nonce.

pub(super) mod acs3;
pub(super) mod rpc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// RFC 3986: everything but the unreserved characters is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A call before it is signed: a POST to `/`.
pub(super) struct Unsigned<'a> {
    /// The `Host` header.
    pub(super) host: &'a str,
    pub(super) action: &'a str,
    pub(super) version: &'a str,
    pub(super) parameters: &'a [(String, String)],
    /// Whether they go in the form of the body instead of the query.
    pub(super) in_form: bool,
}

/// What to send.
pub(super) struct Signed {
    /// The query, encoded exactly as it was signed.
    pub(super) query: String,
    /// The headers, `Host` included.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The form, encoded exactly as it was signed; empty where there is none.
    pub(super) body: String,
}

/// What the body is, where there is one.
const FORM: &str = "application/x-www-form-urlencoded";

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Parameters in byte order of their names.
fn canonical_query(parameters: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    let pairs: Vec<_> =
        sorted.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}
