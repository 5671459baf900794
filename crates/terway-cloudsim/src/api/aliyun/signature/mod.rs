//! Who calls: the key, the time and the nonce that a signature vouches for, whichever of the vendor's two
//! signatures it is.

mod acs3;
mod rpc;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use axum::http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use terway_types::Timestamp;

use crate::api::error::ApiError;
use crate::config::CredentialConfig;
use crate::credentials::Verdict;

/// How far the caller's clock may be off.
const WINDOW: Duration = Duration::from_mins(15);
/// RFC 3986 unreserved characters stay as they are.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// Query and form together.
    pub(super) pairs: &'a [(String, String)],
}

/// What a signature vouches for.
#[derive(Debug)]
struct Claim {
    key_id: String,
    token: Option<String>,
    date: String,
    nonce: String,
}

/// Nonces of the last half hour: requests are accepted from one window before to one after their time.
#[derive(Debug, Default)]
pub(crate) struct NonceBook {
    seen: BTreeSet<String>,
    by_age: VecDeque<(Timestamp, String)>,
}

impl NonceBook {
    /// Notes a nonce; says whether it is new.
    fn note(&mut self, nonce: &str, now: Timestamp) -> bool {
        while self.by_age.front().is_some_and(|(at, _)| now.since(*at) > 2 * WINDOW) {
            if let Some((_, old)) = self.by_age.pop_front() {
                self.seen.remove(&old);
            }
        }
        let is_new = self.seen.insert(nonce.to_owned());
        if is_new {
            self.by_age.push_back((now, nonce.to_owned()));
        }
        is_new
    }
}

/// Checks that a request was signed by one of the keys, recently, and not seen before.
pub(super) fn verify(
    request: Incoming<'_>,
    keys: &[CredentialConfig],
    nonces: &mut NonceBook,
    now: Timestamp,
) -> Result<(), ApiError> {
    let by_parameters = rpc::is_meant(request.pairs);
    let claim = if by_parameters { rpc::claim(request) } else { acs3::claim(request) }?;
    let key = keys
        .iter()
        .find(|key| key.access_key_id == claim.key_id)
        .ok_or_else(|| ApiError::new("InvalidAccessKeyId.NotFound", "Specified access key is not found."))?;
    check_key(key, claim.token.as_deref(), now)?;
    check_time(&claim.date, now)?;
    let check = if by_parameters { rpc::check } else { acs3::check };
    check(request, &key.access_key_secret)?;
    if !nonces.note(&claim.nonce, now) {
        return Err(ApiError::new("SignatureNonceUsed", "Specified signature nonce was used already."));
    }
    Ok(())
}

/// The access key a request claims to be signed with.
pub(super) fn key_id(headers: &HeaderMap, pairs: &[(String, String)]) -> Option<String> {
    let by_parameter = pairs.iter().find(|(name, _)| name == "AccessKeyId").map(|(_, id)| id.clone());
    acs3::key_id(headers).or(by_parameter)
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

fn check_time(date: &str, now: Timestamp) -> Result<(), ApiError> {
    let wrong = |code| ApiError::new(code, format!("Specified time stamp {date:?} is expired or malformed."));
    let sent: jiff::Timestamp = date.parse().map_err(|_| wrong("InvalidTimeStamp.Format"))?;
    let sent = Timestamp(u64::try_from(sent.as_millisecond()).unwrap_or_default());
    let distance = now.since(sent).max(sent.since(now));
    if distance > WINDOW { Err(wrong("InvalidTimeStamp.Expired")) } else { Ok(()) }
}

fn mismatch(to_sign: &str) -> ApiError {
    let message = "Specified signature is not matched with our calculation.";
    ApiError::new("SignatureDoesNotMatch", format!("{message} server string to sign is:{to_sign}"))
}

/// Sorted, encoded and joined, as both signatures want parameters.
fn canonical_query<'a>(pairs: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let mut pairs: Vec<(String, String)> =
        pairs.into_iter().map(|(key, value)| (encode(key), encode(value))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join("&")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}
