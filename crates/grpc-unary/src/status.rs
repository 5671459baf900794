//! How a call ended: gRPC's status out of the trailers, whose values travel percent-encoded and in base64.

/// gRPC's code for an answer.
pub(crate) const OK: u32 = 0;
/// gRPC's code where there is no better one.
pub(crate) const UNKNOWN: u32 = 2;
/// gRPC's code of a service that cannot be reached now.
pub(crate) const UNAVAILABLE: u32 = 14;

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// One of gRPC's codes; 0 would be OK.
    pub code: u32,
    /// For people.
    pub message: String,
    /// Whatever the service adds for programs (`grpc-status-details-bin`).
    pub details: Vec<u8>,
}

/// Undoes the percent-encoding of `grpc-message`; what is not well encoded stays as it is.
pub(crate) fn percent_decoded(text: &[u8]) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (*byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            (byte, ..) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Undoes base64, padded or not; none for anything else.
pub(crate) fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(end * 3 / 4);
    for group in text.get(..end)?.chunks(4) {
        let mut bits: u32 = 0;
        for byte in group {
            bits = bits << 6 | sextet(*byte)?;
        }
        // Characters of six bits each; what does not fill a byte is padding.
        let (kept, padding) = (group.len() * 6 / 8, group.len() * 6 % 8);
        if kept == 0 {
            return None;
        }
        bytes.extend((bits >> padding).to_be_bytes().get(4 - kept..)?);
    }
    Some(bytes)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_decoded() {
        for (text, meaning) in [
            ("7 of 7%20ENIs", "7 of 7 ENIs"),
            ("%e2%9C%93", "✓"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("", ""),
        ] {
            assert_eq!(percent_decoded(text.as_bytes()), meaning);
        }
    }

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn details_are_base64_with_or_without_padding() {
        for (text, meaning) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zg", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64_decoded(text.as_bytes()).as_deref(), Some(meaning.as_bytes()), "{text}");
        }
        assert_eq!(base64_decoded(b"+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        for wrong in ["A", "Zm9vA", "Zm 9", "Zg=g", "\u{fc}"] {
            assert_eq!(base64_decoded(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
