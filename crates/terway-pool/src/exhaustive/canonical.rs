//! One spelling for all states that behave alike: times relative to now, names numbered in the order in which they
//! first appear. The spelling is made of a state's `Debug` text, so that a new field is part of it by itself.
//!
//! What is lost: the order of names. It breaks ties between things that are alike otherwise.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};

use terway_types::Timestamp;

use crate::histories::world::choices::GRAIN;

/// Past times are alike from here on, in milliseconds: longer than any time limit of the searched worlds.
const LONG_AGO: u64 = 1_000;
/// Times before this are no times but ranks, which `forget_past` makes.
pub(super) const RANKS: u64 = 1_000;

/// Which bytes belong to a name.
type Belongs = fn(u8) -> bool;

/// What opens a name in `Debug` texts, and what closes it. Hardware addresses and IP addresses have no type's
/// name around them; those of the histories' world begin like this.
const NAMES: [(&str, Belongs); 10] = [
    ("OperationId(", is_digit),
    ("RequestId(", is_digit),
    ("EniNo(", is_digit),
    ("IntentToken(\"", is_name),
    ("EniId(\"", is_name),
    ("ClaimId(\"", is_name),
    ("ContainerId(\"", is_name),
    ("02:00:00:", is_digit),
    ("10.0.", is_dotted),
    ("10.97.", is_dotted),
];

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn is_name(byte: u8) -> bool {
    byte != b'"'
}

fn is_dotted(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// Respells a `Debug` text.
pub(crate) fn canonical(text: &str, now: Timestamp) -> String {
    let mut out = String::with_capacity(text.len());
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut rest = text;
    while let Some(start) = rest.bytes().position(|byte| b"TORIEC01".contains(&byte)) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let run = |opening: &str, belongs: Belongs| {
            let tail = &rest[opening.len()..];
            opening.len() + tail.bytes().position(|byte| !belongs(byte)).unwrap_or(tail.len())
        };
        if rest.starts_with("Timestamp(") {
            let end = run("Timestamp(", is_digit);
            relative(rest["Timestamp(".len()..end].parse().unwrap(), now, &mut out);
            rest = &rest[end + 1..];
        } else if let Some((opening, belongs)) = NAMES.iter().find(|(opening, _)| rest.starts_with(opening)) {
            // A hardware address has a fixed length; in a map a colon follows it.
            let end =
                if opening.starts_with("02:") { "02:00:00:00:00:00".len() } else { run(opening, *belongs) };
            let next = names.len();
            let number = *names.entry(&rest[..end]).or_insert(next);
            write!(out, "{opening}#{number}").unwrap();
            rest = &rest[end..];
        } else {
            // A word that only begins like one of ours: none of ours begins inside it.
            let end =
                rest.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len()).max(1);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

fn relative(time: u64, now: Timestamp, out: &mut String) {
    match time {
        _ if time < RANKS => write!(out, "#{time}"),
        _ if time >= now.0 => write!(out, "+{}", (time - now.0).next_multiple_of(GRAIN)),
        _ => write!(out, "-{}", (now.0 - time).min(LONG_AGO)),
    }
    .unwrap();
}

/// 128 bits of a text: states are compared by them alone, and there are far fewer than 2^64 of them.
pub(super) fn digest(text: &str) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(salt);
        hasher.write(text.as_bytes());
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_the_date_make_no_difference() {
        let spell = |text: &str, now| canonical(text, Timestamp(now));
        let one = "[RequestId(7), Timestamp(5011), IntentToken(\"t-9\"), 02:00:00:00:00:03, RequestId(7), Timestamp(3)]";
        let two = "[RequestId(9), Timestamp(8020), IntentToken(\"t-1\"), 02:00:00:00:01:02, RequestId(9), Timestamp(3)]";
        assert_eq!(spell(one, 5000), spell(two, 8000));
        assert_ne!(spell(one, 5000), spell(two, 7980), "another time to go");
        let three = two.replacen("RequestId(9)", "RequestId(1)", 1);
        assert_ne!(spell(two, 8000), spell(&three, 8000), "two requests are not one");
        assert_eq!(spell("Timestamp(4000)", 5000), "-1000");
        assert_eq!(spell("Timestamp(3000)", 5000), "-1000", "long ago is long ago");
        assert_eq!(
            spell("Instance { at: 10, x: 10.0.0.1, y: 10.0.0.1 }", 0),
            "Instance { at: 10, x: 10.0.#0, y: 10.0.#0 }"
        );
    }
}
