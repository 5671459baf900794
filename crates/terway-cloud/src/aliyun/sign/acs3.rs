//! The signature `ACS3-HMAC-SHA256`. See "Request syntax and signature method V3" in Alibaba Cloud's SDK
//! documentation.

use super::{FORM, Signed, Unsigned, canonical_query};
use crate::credentials::AccessKey;
use crate::digest::{hex, hmac_sha256, sha256_hex};

/// A call in the form that is signed.
pub(in crate::aliyun) struct Canonical {
    query: String,
    body: String,
    headers: Vec<(&'static str, String)>,
    names: String,
    /// The canonical request.
    pub(in crate::aliyun) text: String,
}

pub(in crate::aliyun) fn canonical(
    request: &Unsigned<'_>,
    key: &AccessKey,
    date: &str,
    nonce: &str,
) -> Canonical {
    let (query, body) = match canonical_query(request.parameters) {
        parameters if request.in_form => (String::new(), parameters),
        parameters => (parameters, String::new()),
    };
    let body_hash = sha256_hex(body.as_bytes());
    let mut headers = vec![
        ("host", request.host.to_owned()),
        ("x-acs-action", request.action.to_owned()),
        ("x-acs-content-sha256", body_hash.clone()),
        ("x-acs-date", date.to_owned()),
        ("x-acs-signature-nonce", nonce.to_owned()),
        ("x-acs-version", request.version.to_owned()),
    ];
    if !body.is_empty() {
        headers.push(("content-type", FORM.to_owned()));
    }
    if let Some(token) = key.token() {
        headers.push(("x-acs-security-token", token.to_owned()));
    }
    headers.sort_unstable_by_key(|(name, _)| *name);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let text = canonical_request(&query, &headers, &names, &body_hash);
    Canonical { query, body, headers, names, text }
}

/// Signs a call. `date` is UTC like `2026-11-21T08:00:00Z`; `nonce` must never have been used before.
pub(in crate::aliyun) fn sign(request: &Unsigned<'_>, key: &AccessKey, date: &str, nonce: &str) -> Signed {
    let Canonical { query, body, mut headers, names, text } = canonical(request, key, date, nonce);
    let to_sign = format!("ACS3-HMAC-SHA256\n{}", sha256_hex(text.as_bytes()));
    let signature = hex(&hmac_sha256(key.secret().as_bytes(), to_sign.as_bytes()));
    let authorization =
        format!("ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}", key.id());
    headers.push(("authorization", authorization));
    Signed { query, headers, body }
}

fn canonical_request(query: &str, headers: &[(&str, String)], names: &str, body_hash: &str) -> String {
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}:{}", value.trim())).collect();
    format!("POST\n/\n{query}\n{}\n\n{names}\n{body_hash}", lines.join("\n"))
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
            in_form: false,
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
            in_form: false,
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
