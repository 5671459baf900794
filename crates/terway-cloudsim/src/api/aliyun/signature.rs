//! Verifies ACS3-HMAC-SHA256 signatures (the vendor's "V3 request structure and signature"), the
//! request's time and its nonce. Written from the specification, apart from any client.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use terway_types::Timestamp;

use super::parameters::pairs;
use crate::api::error::ApiError;
use crate::api::hex::{hex, unhex};
use crate::config::CredentialConfig;
use crate::credentials::Verdict;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
/// How far the caller's clock may be off, and how long nonces are remembered.
const WINDOW: Duration = Duration::from_mins(15);
/// RFC 3986 unreserved characters stay as they are.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Headers that every signature must cover.
const ALWAYS_SIGNED: [&str; 6] =
    ["host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Nonces of the last quarter of an hour.
#[derive(Debug, Default)]
pub(crate) struct NonceBook(BTreeMap<String, Timestamp>);

impl NonceBook {
    /// Notes a nonce; says whether it is new.
    fn note(&mut self, nonce: &str, now: Timestamp) -> bool {
        // Requests are accepted from one window before to one window after their time.
        self.0.retain(|_, seen| now.since(*seen) <= 2 * WINDOW);
        self.0.insert(nonce.to_owned(), now).is_none()
    }
}

/// Checks that a request was signed by one of the keys, recently, and not seen before.
pub(super) fn verify(
    request: Incoming<'_>,
    keys: &[CredentialConfig],
    nonces: &mut NonceBook,
    now: Timestamp,
) -> Result<(), ApiError> {
    let claim = Claim::parse(header(request.headers, "authorization").unwrap_or_default())?;
    let key = keys
        .iter()
        .find(|key| key.access_key_id == claim.key_id)
        .ok_or_else(|| ApiError::new("InvalidAccessKeyId.NotFound", "Specified access key is not found."))?;
    check_key(key, header(request.headers, "x-acs-security-token"), now)?;
    check_time(header(request.headers, "x-acs-date").ok_or_else(|| ApiError::missing("x-acs-date"))?, now)?;
    let nonce = header(request.headers, "x-acs-signature-nonce")
        .ok_or_else(|| ApiError::missing("x-acs-signature-nonce"))?;
    check_signature(request, &claim, &key.access_key_secret)?;
    if !nonces.note(nonce, now) {
        return Err(ApiError::new("SignatureNonceUsed", "Specified signature nonce was used already."));
    }
    Ok(())
}

fn check_key(key: &CredentialConfig, token: Option<&str>, now: Timestamp) -> Result<(), ApiError> {
    let (code, message) = match key.judge(token, now) {
        Verdict::Valid => return Ok(()),
        Verdict::Inactive => ("InvalidAccessKeyId.Inactive", "Specified access key is disabled."),
        Verdict::Expired => ("InvalidSecurityToken.Expired", "Specified SecurityToken is expired."),
        Verdict::Mismatch => (
            "InvalidSecurityToken.MismatchWithAccessKey",
            "Specified SecurityToken does not match the access key.",
        ),
    };
    Err(ApiError::new(code, message))
}

/// The access key a request claims to be signed with.
pub(super) fn key_id(headers: &HeaderMap) -> Option<String> {
    let claim = Claim::parse(header(headers, "authorization")?).ok()?;
    Some(claim.key_id.to_owned())
}

fn check_time(date: &str, now: Timestamp) -> Result<(), ApiError> {
    let wrong = |code| ApiError::new(code, format!("Specified time stamp {date:?} is expired or malformed."));
    let sent: jiff::Timestamp = date.parse().map_err(|_| wrong("InvalidTimeStamp.Format"))?;
    let sent = Timestamp(u64::try_from(sent.as_millisecond()).unwrap_or_default());
    let distance = now.since(sent).max(sent.since(now));
    if distance > WINDOW { Err(wrong("InvalidTimeStamp.Expired")) } else { Ok(()) }
}

fn check_signature(request: Incoming<'_>, claim: &Claim<'_>, secret: &str) -> Result<(), ApiError> {
    let mismatch = |what: String| ApiError::new("SignatureDoesNotMatch", what);
    let body_hash = hex(&Sha256::digest(request.body));
    if header(request.headers, "x-acs-content-sha256") != Some(&body_hash) {
        return Err(mismatch(format!("x-acs-content-sha256 is not the hash of the body, {body_hash}")));
    }
    let canonical = canonical_request(request, &claim.signed_headers, &body_hash)?;
    let to_sign = format!("{ALGORITHM}\n{}", hex(&Sha256::digest(&canonical)));
    // HMAC takes keys of any length; the error cannot happen.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|e| mismatch(e.to_string()))?;
    mac.update(to_sign.as_bytes());
    let given =
        unhex(claim.signature).ok_or_else(|| mismatch("the signature is not hexadecimal".to_owned()))?;
    mac.verify_slice(&given).map_err(|_| {
        mismatch(format!(
            "Specified signature is not matched with our calculation. server string to sign is:{canonical:?}"
        ))
    })
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
    let mut query: Vec<(String, String)> =
        pairs(request.query).into_iter().map(|(key, value)| (encode(&key), encode(&value))).collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let headers: Vec<String> = (signed_headers.iter())
        .map(|name| format!("{name}:{}", header(request.headers, name).unwrap_or_default().trim()))
        .collect();
    let Incoming { method, path, .. } = request;
    let (query, headers, names) = (query.join("&"), headers.join("\n"), signed_headers.join(";"));
    Ok(format!("{method}\n{path}\n{query}\n{headers}\n\n{names}\n{body_hash}"))
}

/// What the Authorization header says.
#[derive(Debug)]
struct Claim<'a> {
    key_id: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(authorization: &'a str) -> Result<Self, ApiError> {
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

fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}
