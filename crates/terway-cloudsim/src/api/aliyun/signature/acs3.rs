//! The signature ACS3-HMAC-SHA256 (the vendor's "V3 request structure and signature"): in headers, over
//! headers, query and body. Written from the specification, apart from any client.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::super::parameters::pairs;
use super::{Claim, Incoming, canonical_query, mismatch};
use crate::api::error::ApiError;
use crate::api::hex::{hex, unhex};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
/// Headers that every signature must cover.
const ALWAYS_SIGNED: [&str; 6] =
    ["host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];

/// What the request says of its signature.
pub(super) fn claim(request: Incoming<'_>) -> Result<Claim, ApiError> {
    let authorization = Authorization::of(request.headers)?;
    let required =
        |name: &str| header(request.headers, name).map(str::to_owned).ok_or_else(|| ApiError::missing(name));
    Ok(Claim {
        key_id: authorization.key_id.to_owned(),
        token: header(request.headers, "x-acs-security-token").map(str::to_owned),
        date: required("x-acs-date")?,
        nonce: required("x-acs-signature-nonce")?,
    })
}

/// The access key a request claims to be signed with.
pub(super) fn key_id(headers: &HeaderMap) -> Option<String> {
    Some(Authorization::of(headers).ok()?.key_id.to_owned())
}

/// Checks the signature itself.
pub(super) fn check(request: Incoming<'_>, secret: &str) -> Result<(), ApiError> {
    let authorization = Authorization::of(request.headers)?;
    let body_hash = hex(&Sha256::digest(request.body));
    if header(request.headers, "x-acs-content-sha256") != Some(&body_hash) {
        let message = format!("x-acs-content-sha256 is not the hash of the body, {body_hash}");
        return Err(ApiError::new("SignatureDoesNotMatch", message));
    }
    let canonical = canonical_request(request, &authorization.signed_headers, &body_hash)?;
    let to_sign = format!("{ALGORITHM}\n{}", hex(&Sha256::digest(&canonical)));
    // HMAC takes keys of any length; the error cannot happen.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| mismatch(&to_sign))?;
    mac.update(to_sign.as_bytes());
    let given = unhex(authorization.signature).ok_or_else(|| mismatch(&to_sign))?;
    mac.verify_slice(&given).map_err(|_| mismatch(&format!("{canonical:?}")))
}

fn canonical_request(
    request: Incoming<'_>,
    signed_headers: &[&str],
    body_hash: &str,
) -> Result<String, ApiError> {
    let must = ALWAYS_SIGNED.iter().copied().chain(
        ["content-type", "x-acs-security-token"]
            .into_iter()
            .filter(|name| request.headers.contains_key(*name)),
    );
    for name in must {
        if !signed_headers.contains(&name) {
            return Err(ApiError::new("IncompleteSignature", format!("the header {name} is not signed")));
        }
    }
    if !signed_headers.is_sorted() {
        return Err(ApiError::new("IncompleteSignature", "the signed headers are not sorted"));
    }
    let query = canonical_query(&pairs(request.query));
    let headers: Vec<String> = (signed_headers.iter())
        .map(|name| format!("{name}:{}", header(request.headers, name).unwrap_or_default().trim()))
        .collect();
    let Incoming { method, path, .. } = request;
    let (headers, names) = (headers.join("\n"), signed_headers.join(";"));
    Ok(format!("{method}\n{path}\n{query}\n{headers}\n\n{names}\n{body_hash}"))
}

/// What the Authorization header says.
#[derive(Debug)]
struct Authorization<'a> {
    key_id: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let authorization = header(headers, "authorization").unwrap_or_default();
        let incomplete =
            || ApiError::new("IncompleteSignature", format!("the request is not signed with {ALGORITHM}"));
        let fields = authorization.strip_prefix(ALGORITHM).ok_or_else(incomplete)?;
        let fields: BTreeMap<&str, &str> =
            fields.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let field = |name: &str| fields.get(name).copied().ok_or_else(incomplete);
        Ok(Self {
            key_id: field("Credential")?,
            signed_headers: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
