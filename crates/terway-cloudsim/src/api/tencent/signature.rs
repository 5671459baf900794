//! Verifies TC3-HMAC-SHA256 signatures ("Signature v3" of the vendor's documents) and the request's time.
//! Written from the specification, apart from any client.

use std::time::Duration;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use terway_types::Timestamp;

use crate::api::error::ApiError;
use crate::api::hex::{hex, unhex};
use crate::config::CredentialConfig;
use crate::credentials::Verdict;

const ALGORITHM: &str = "TC3-HMAC-SHA256";
/// How far the caller's clock may be off.
const WINDOW: Duration = Duration::from_mins(5);

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Checks that a request to `service` was signed by one of the keys, and recently.
pub(super) fn verify(
    request: Incoming<'_>,
    service: &str,
    keys: &[CredentialConfig],
    now: Timestamp,
) -> Result<(), ApiError> {
    let claim = Claim::parse(header(request.headers, "authorization").unwrap_or_default())?;
    let missing = || ApiError::new("MissingParameter", "The request is missing the header X-TC-Timestamp.");
    let timestamp = header(request.headers, "x-tc-timestamp").ok_or_else(missing)?;
    let date = check_time(timestamp, now)?;
    let unknown = || ApiError::new("AuthFailure.SecretIdNotFound", "The SecretId is not found.");
    let key = keys.iter().find(|key| key.access_key_id == claim.key_id).ok_or_else(unknown)?;
    match key.judge(header(request.headers, "x-tc-token"), now) {
        Verdict::Valid => {}
        Verdict::Inactive => return Err(unknown()),
        Verdict::Expired | Verdict::Mismatch => {
            return Err(ApiError::new(
                "AuthFailure.TokenFailure",
                "The provided credentials could not be validated because of an incorrect token.",
            ));
        }
    }
    let scope = format!("{date}/{service}/tc3_request");
    if claim.scope != scope {
        return Err(failure(&format!("the scope is {:?}, not {scope:?}", claim.scope)));
    }
    let canonical = canonical_request(request, &claim)?;
    let to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{}", hex(&Sha256::digest(&canonical)));
    let mut signing_key = format!("TC3{}", key.access_key_secret).into_bytes();
    for part in [date.as_str(), service, "tc3_request"] {
        signing_key = sign(&signing_key, part)?;
    }
    let expected = sign(&signing_key, &to_sign)?;
    if unhex(claim.signature).is_some_and(|given| given == expected) {
        Ok(())
    } else {
        Err(failure(&format!("the string to sign is {to_sign:?}, of the request {canonical:?}")))
    }
}

/// The access key a request claims to be signed with.
pub(super) fn key_id(headers: &HeaderMap) -> Option<String> {
    let claim = Claim::parse(header(headers, "authorization")?).ok()?;
    Some(claim.key_id.to_owned())
}

fn failure(why: &str) -> ApiError {
    ApiError::new(
        "AuthFailure.SignatureFailure",
        format!("The provided credentials could not be validated: {why}"),
    )
}

/// The UTC date of a recent time stamp, in seconds.
fn check_time(text: &str, now: Timestamp) -> Result<String, ApiError> {
    let expired = || {
        let message = format!("The time stamp {text:?} is more than five minutes off or malformed.");
        ApiError::new("AuthFailure.SignatureExpire", message)
    };
    let seconds: i64 = text.parse().map_err(|_| expired())?;
    let sent = Timestamp(u64::try_from(seconds).unwrap_or_default().saturating_mul(1000));
    let time = jiff::Timestamp::from_second(seconds).map_err(|_| expired())?;
    if now.since(sent).max(sent.since(now)) > WINDOW {
        return Err(expired());
    }
    Ok(time.strftime("%Y-%m-%d").to_string())
}

fn canonical_request(request: Incoming<'_>, claim: &Claim<'_>) -> Result<String, ApiError> {
    for name in ["content-type", "host"] {
        if !claim.signed_headers.contains(&name) {
            return Err(failure(&format!("the header {name} is not signed")));
        }
    }
    let headers: String = (claim.signed_headers.iter())
        .map(|name| {
            let value = header(request.headers, name).unwrap_or_default().trim().to_ascii_lowercase();
            format!("{name}:{value}\n")
        })
        .collect::<Vec<_>>()
        .concat();
    let Incoming { method, path, query, body, .. } = request;
    let (names, body) = (claim.signed_headers.join(";"), hex(&Sha256::digest(body)));
    Ok(format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{body}"))
}

fn sign(key: &[u8], text: &str) -> Result<Vec<u8>, ApiError> {
    // HMAC takes keys of any length; the error cannot happen.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| failure(&error.to_string()))?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What the Authorization header says.
#[derive(Debug)]
struct Claim<'a> {
    key_id: &'a str,
    scope: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(authorization: &'a str) -> Result<Self, ApiError> {
        let malformed =
            || ApiError::new("AuthFailure.InvalidAuthorization", "The Authorization header is malformed.");
        let fields = authorization.strip_prefix(ALGORITHM).ok_or_else(malformed)?;
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(malformed)
        };
        let (key_id, scope) = field("Credential")?.split_once('/').ok_or_else(malformed)?;
        let signed_headers = field("SignedHeaders")?.split(';').collect();
        Ok(Self { key_id, scope, signed_headers, signature: field("Signature")? })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;
    use crate::config::KeyState;

    /// The example of the vendor's document "Signature v3": a call of another product with its key.
    #[test]
    fn the_documents_example_is_accepted_and_a_changed_body_is_not() {
        let key = CredentialConfig {
            access_key_id: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******".into(),
            access_key_secret: "Gu5t9xGARNpq86cd98joQYCN3*******".into(),
            security_token: None,
            role: None,
            life_ms: None,
            state: KeyState::Active,
            rotations: 0,
        };
        let authorization = "TC3-HMAC-SHA256 \
            Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, \
            SignedHeaders=content-type;host, \
            Signature=2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c";
        let headers: HeaderMap = [
            ("authorization", authorization),
            ("content-type", "application/json; charset=utf-8"),
            ("host", "cvm.tencentcloudapi.com"),
            ("x-tc-timestamp", "1551113065"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
        let body =
            br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
        let request = Incoming { method: "POST", path: "/", query: "", headers: &headers, body };
        let at =
            |ms: u64| verify(request, "cvm", std::slice::from_ref(&key), Timestamp(1_551_113_065_000 + ms));
        assert_eq!(at(0), Ok(()));
        assert_eq!(at(300_001).unwrap_err().code, "AuthFailure.SignatureExpire");
        let changed = Incoming { body: b"{}", ..request };
        let outcome = verify(changed, "cvm", std::slice::from_ref(&key), Timestamp(1_551_113_065_000));
        assert_eq!(outcome.unwrap_err().code, "AuthFailure.SignatureFailure");
    }
}
