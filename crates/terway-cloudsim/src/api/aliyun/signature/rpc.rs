//! The RPC signature, version 1.0: HMAC-SHA1 over all parameters, as a parameter itself (the vendor's
//! "Request signatures" of the RPC style). Written from the specification, apart from any client.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::{Claim, Incoming, canonical_query, encode, mismatch};
use crate::api::error::ApiError;

/// Whether a request is signed this way.
pub(super) fn is_meant(pairs: &[(String, String)]) -> bool {
    get(pairs, "Signature").is_some()
}

/// What the request says of its signature.
pub(super) fn claim(request: Incoming<'_>) -> Result<Claim, ApiError> {
    let field = |name: &str| {
        let value = get(request.pairs, name).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| ApiError::missing(name))
    };
    for (name, only) in [("SignatureMethod", "HMAC-SHA1"), ("SignatureVersion", "1.0")] {
        let value = field(name)?;
        if value != only {
            return Err(ApiError::invalid(name, &value));
        }
    }
    Ok(Claim {
        key_id: field("AccessKeyId")?,
        token: get(request.pairs, "SecurityToken").map(str::to_owned),
        date: field("Timestamp")?,
        nonce: field("SignatureNonce")?,
    })
}

/// Checks the signature itself.
pub(super) fn check(request: Incoming<'_>, secret: &str) -> Result<(), ApiError> {
    let signed = request.pairs.iter().filter(|(name, _)| name != "Signature");
    let to_sign = format!("{}&{}&{}", request.method, encode(request.path), encode(&canonical_query(signed)));
    // HMAC takes keys of any length; the error cannot happen.
    let mut mac =
        Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes()).map_err(|_| mismatch(&to_sign))?;
    mac.update(to_sign.as_bytes());
    let given = get(request.pairs, "Signature").unwrap_or_default();
    let given = BASE64_STANDARD.decode(given).map_err(|_| mismatch(&to_sign))?;
    mac.verify_slice(&given).map_err(|_| mismatch(&to_sign))
}

fn get<'a>(pairs: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::super::super::parameters::pairs;
    use super::*;

    /// The example of the vendor's document (`DescribeRegions`, `testid`, `testsecret`).
    #[test]
    fn the_documents_example_is_accepted_and_a_changed_one_is_not() {
        let query = "SignatureVersion=1.0&Action=DescribeRegions&Format=XML\
            &SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&Version=2014-05-26&AccessKeyId=testid\
            &Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D&SignatureMethod=HMAC-SHA1\
            &Timestamp=2016-02-23T12%3A46%3A24Z";
        let outcome = |query: &str| {
            let (pairs, headers) = (pairs(query), HeaderMap::new());
            let (method, path, body) = ("GET", "/", &[][..]);
            let request = Incoming { method, path, query, headers: &headers, body, pairs: &pairs };
            assert!(is_meant(&pairs));
            assert_eq!(claim(request).unwrap().key_id, "testid");
            check(request, "testsecret").map_err(|error| error.code)
        };
        assert_eq!(outcome(query), Ok(()));
        assert_eq!(outcome(&query.replace("XML", "JSON")), Err("SignatureDoesNotMatch".to_owned()));
    }
}
