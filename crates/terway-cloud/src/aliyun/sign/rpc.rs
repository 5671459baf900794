//! The RPC signature, version 1.0: HMAC-SHA1 over all parameters. See "Sign RPC APIs" in Alibaba Cloud's API
//! documentation. Deprecated by the vendor; some private regions know no other.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{FORM, Signed, Unsigned, canonical_query, encode};
use crate::credentials::AccessKey;
use crate::digest::hmac_sha1;

/// Signs a call: everything goes into the query, but for parameters that go in a form, and is signed as one.
pub(in crate::aliyun) fn sign(request: &Unsigned<'_>, key: &AccessKey, date: &str, nonce: &str) -> Signed {
    let common = [
        ("AccessKeyId", key.id()),
        ("Action", request.action),
        ("Format", "JSON"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", nonce),
        ("SignatureType", ""),
        ("SignatureVersion", "1.0"),
        ("Timestamp", date),
        ("Version", request.version),
    ];
    let token = key.token().map(|token| ("SecurityToken", token));
    let common = common.into_iter().chain(token);
    let common: Vec<_> = common.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let canonical = canonical_query(&[request.parameters, &common].concat());
    let signature = signature(&string_to_sign("POST", &canonical), key);
    let (query, body) = if request.in_form {
        (canonical_query(&common), canonical_query(request.parameters))
    } else {
        (canonical, String::new())
    };
    let query = format!("{query}&Signature={}", encode(&signature));
    let headers = vec![("content-type", FORM.to_owned()), ("host", request.host.to_owned())];
    Signed { query, headers, body }
}

pub(in crate::aliyun) fn string_to_sign(method: &str, canonical: &str) -> String {
    format!("{method}&{}&{}", encode("/"), encode(canonical))
}

/// The secret is used with an ampersand behind it.
fn signature(to_sign: &str, key: &AccessKey) -> String {
    BASE64_STANDARD.encode(hmac_sha1(format!("{}&", key.secret()).as_bytes(), to_sign.as_bytes()))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    /// The example of the vendor's documentation ("Sign RPC APIs": DescribeRegions, testid, testsecret).
    #[test]
    fn the_documented_example() {
        let key = AccessKey::new("testid", SecretString::from("testsecret"), None).unwrap();
        let pairs = [
            ("Timestamp", "2016-02-23T12:46:24Z"),
            ("Format", "XML"),
            ("AccessKeyId", "testid"),
            ("Action", "DescribeRegions"),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
            ("Version", "2014-05-26"),
            ("SignatureVersion", "1.0"),
        ];
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let to_sign = string_to_sign("GET", &canonical_query(&pairs));
        assert_eq!(
            to_sign,
            "GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26Format%3DXML%26SignatureMethod%3D\
             HMAC-SHA1%26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureVersion%3D1.0%26\
             Timestamp%3D2016-02-23T12%253A46%253A24Z%26Version%3D2014-05-26"
        );
        assert_eq!(signature(&to_sign, &key), "OLeaidS1JvxuMvnyHOwuJ+uX5qY=");
    }
}
