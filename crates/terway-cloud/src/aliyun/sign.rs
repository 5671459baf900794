//! The signature `ACS3-HMAC-SHA256` of RPC calls: a pure function of request, key, date and nonce.
//! See "Request syntax and signature method V3" in Alibaba Cloud's SDK documentation.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::credentials::AccessKey;

/// RFC 3986: everything but the unreserved characters is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A call before it is signed: a POST to `/` without a body, all parameters in the query.
pub(super) struct Unsigned<'a> {
    /// The `Host` header.
    pub(super) host: &'a str,
    pub(super) action: &'a str,
    pub(super) version: &'a str,
    pub(super) parameters: &'a [(String, String)],
}

/// What to send.
pub(super) struct Signed {
    /// The query, encoded exactly as it was signed.
    pub(super) query: String,
    /// The headers, `Host` included.
    pub(super) headers: Vec<(&'static str, String)>,
}

/// Signs a call. `date` is UTC like `2026-11-21T08:00:00Z`; `nonce` must never have been used before.
pub(super) fn sign(request: &Unsigned<'_>, key: &AccessKey, date: &str, nonce: &str) -> Signed {
    let query = canonical_query(request.parameters);
    let body_hash = hex(&Sha256::digest(b""));
    let mut headers = vec![
        ("host", request.host.to_owned()),
        ("x-acs-action", request.action.to_owned()),
        ("x-acs-content-sha256", body_hash.clone()),
        ("x-acs-date", date.to_owned()),
        ("x-acs-signature-nonce", nonce.to_owned()),
        ("x-acs-version", request.version.to_owned()),
    ];
    if let Some(token) = key.token() {
        headers.push(("x-acs-security-token", token.to_owned()));
    }
    headers.sort_unstable_by_key(|(name, _)| *name);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = canonical_request(&query, &headers, &names, &body_hash);
    let to_sign = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let signature = hex(&hmac_sha256(key.secret().as_bytes(), to_sign.as_bytes()));
    let authorization =
        format!("ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}", key.id());
    headers.push(("authorization", authorization));
    Signed { query, headers }
}

/// Parameters in byte order of their names.
fn canonical_query(parameters: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    let encode = |text| utf8_percent_encode(text, RESERVED);
    let pairs: Vec<_> =
        sorted.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

fn canonical_request(query: &str, headers: &[(&str, String)], names: &str, body_hash: &str) -> String {
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}:{}", value.trim())).collect();
    format!("POST\n/\n{query}\n{}\n\n{names}\n{body_hash}", lines.join("\n"))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}
