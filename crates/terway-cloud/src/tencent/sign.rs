//! The signature `TC3-HMAC-SHA256`: a pure function of request, key and time. See "Signature v3" in Tencent
//! Cloud's API documentation.

use jiff::Timestamp;

use crate::credentials::AccessKey;
use crate::digest::{hex, hmac_sha256, sha256_hex};

/// As it is sent, so as it is signed.
const CONTENT_TYPE: &str = "application/json";
const SIGNED_HEADERS: &str = "content-type;host";

/// A call before it is signed: a POST to `/` with a JSON body.
pub(super) struct Unsigned<'a> {
    /// The `Host` header.
    pub(super) host: &'a str,
    /// The product's short name, which is part of the signature.
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) version: &'a str,
    pub(super) region: &'a str,
    pub(super) body: &'a str,
}

/// The headers to send, `Host` included.
pub(super) fn sign(request: &Unsigned<'_>, key: &AccessKey, now: Timestamp) -> Vec<(&'static str, String)> {
    let seconds = now.as_second().to_string();
    let canonical = canonical_request(request.host, CONTENT_TYPE, request.body);
    let authorization = authorization(&canonical, request.service, key, now);
    let mut headers = vec![
        ("authorization", authorization),
        ("content-type", CONTENT_TYPE.to_owned()),
        ("host", request.host.to_owned()),
        ("x-tc-action", request.action.to_owned()),
        ("x-tc-region", request.region.to_owned()),
        ("x-tc-timestamp", seconds),
        ("x-tc-version", request.version.to_owned()),
    ];
    if let Some(token) = key.token() {
        headers.push(("x-tc-token", token.to_owned()));
    }
    headers
}

pub(super) fn canonical_request(host: &str, content_type: &str, body: &str) -> String {
    let hash = sha256_hex(body.as_bytes());
    format!("POST\n/\n\ncontent-type:{content_type}\nhost:{host}\n\n{SIGNED_HEADERS}\n{hash}")
}

fn authorization(canonical: &str, service: &str, key: &AccessKey, now: Timestamp) -> String {
    let (seconds, date) = (now.as_second(), now.strftime("%Y-%m-%d").to_string());
    let scope = format!("{date}/{service}/tc3_request");
    let to_sign = format!("TC3-HMAC-SHA256\n{seconds}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let of_date = hmac_sha256(format!("TC3{}", key.secret()).as_bytes(), date.as_bytes());
    let of_service = hmac_sha256(&of_date, service.as_bytes());
    let of_request = hmac_sha256(&of_service, b"tc3_request");
    let signature = hex(&hmac_sha256(&of_request, to_sign.as_bytes()));
    format!(
        "TC3-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}",
        key.id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the vendor's documentation of Signature v3; the asterisks stand there as well.
    #[test]
    fn the_documented_example() {
        let id = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******";
        let key = AccessKey::new(id, "Gu5t9xGARNpq86cd98joQYCN3*******".into(), None).unwrap();
        let body =
            r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
        let canonical = canonical_request("cvm.tencentcloudapi.com", "application/json; charset=utf-8", body);
        assert_eq!(
            canonical,
            "POST\n/\n\ncontent-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\n\n\
             content-type;host\n35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
        );
        let now = Timestamp::from_second(1_551_113_065).unwrap();
        assert_eq!(
            authorization(&canonical, "cvm", &key, now),
            "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, \
             SignedHeaders=content-type;host, \
             Signature=2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c"
        );
    }
}
