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

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const NONCE: &str = "0123456789abcdef0123456789abcdef";

    fn parameters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn header<'a>(signed: &'a Signed, name: &str) -> &'a str {
        &signed.headers.iter().find(|(found, _)| *found == name).unwrap().1
    }

    /// The example of the vendor's documentation of signature method V3.
    #[test]
    fn the_documented_example() {
        let key = AccessKey::new("YourAccessKeyId", SecretString::from("YourAccessKeySecret"), None).unwrap();
        let parameters = parameters(&[
            ("RegionId", "cn-shanghai"),
            ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"),
        ]);
        let request = Unsigned {
            host: "ecs.cn-shanghai.aliyuncs.com",
            action: "RunInstances",
            version: "2014-05-26",
            parameters: &parameters,
        };
        let signed = sign(&request, &key, "2023-10-26T10:22:32Z", "3156853299f313e23d1673dc12e1703d");
        assert_eq!(
            header(&signed, "authorization"),
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,\
             SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,\
             Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
    }

    /// Expected values computed by an independent program (Python's hashlib and hmac).
    #[test]
    fn a_temporary_key_and_characters_that_need_care() {
        let token = Some(SecretString::from("sts/token=="));
        let key = AccessKey::new("LTAI-test", SecretString::from("secret"), token).unwrap();
        let parameters = parameters(&[
            ("Tag.2.Key", "b"),
            ("Tag.10.Key", "a"),
            ("Tag.1.Value", "ter way*~/\u{fc}"),
            ("ClientToken", "it's-1"),
            ("Tag.1.Key", "creator"),
        ]);
        let request = Unsigned {
            host: "ecs-vpc.cn-hangzhou.aliyuncs.com",
            action: "CreateNetworkInterface",
            version: "2014-05-26",
            parameters: &parameters,
        };
        let signed = sign(&request, &key, "2026-11-21T08:00:00Z", NONCE);
        assert_eq!(
            signed.query,
            "ClientToken=it%27s-1&Tag.1.Key=creator&Tag.1.Value=ter%20way%2A~%2F%C3%BC&Tag.10.Key=a&Tag.2.Key=b"
        );
        assert_eq!(header(&signed, "x-acs-security-token"), "sts/token==");
        assert!(
            header(&signed, "authorization").ends_with(
                ";x-acs-security-token;x-acs-signature-nonce;x-acs-version,\
                 Signature=58cc34ce54f53776c4f9865a3444d61d3dc4314bc37291c6e2c63b59e9e465d0"
            ),
            "{}",
            header(&signed, "authorization")
        );
    }

    #[test]
    fn the_canonical_request_is_as_documented() {
        let headers = [("host", "h:1".to_owned()), ("x-acs-action", " A ".to_owned())];
        assert_eq!(
            canonical_request("a=1&b=", &headers, "host;x-acs-action", "00ff"),
            "POST\n/\na=1&b=\nhost:h:1\nx-acs-action:A\n\nhost;x-acs-action\n00ff"
        );
    }
}
