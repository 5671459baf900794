//! Attributes as they stand in netlink messages: written one after the other, each padded as the next one wants it, and
//! found again by their kind. Most of the kernel has numbers in the machine's byte order, nf_tables in the network's.

use super::transport::attributes;

/// Says of an attribute that its value is attributes; not every family asks for it.
pub(super) const NESTED: u16 = 0x8000;
/// Most runs of attributes are no longer, in bytes.
const USUAL: usize = 128;

/// A run of attributes under construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(pub(super) Vec<u8>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(USUAL))
    }

    pub(super) fn bytes(self, kind: u16, value: &[u8]) -> Self {
        self.ended(kind, value, &[])
    }

    /// In the order of nf_tables, the network's.
    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// In the order of nf_tables, the network's.
    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.ended(kind, value.as_bytes(), &[0])
    }

    pub(super) fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    fn ended(mut self, kind: u16, value: &[u8], end: &[u8]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "what we write is far below 64 KiB")]
        let length = (value.len() + end.len()) as u16 + 4;
        for part in [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value, end] {
            self.0.extend_from_slice(part);
        }
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// One attribute alone.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    Attributes::new().bytes(kind, value).0
}

/// The value of the first attribute of a kind.
pub(super) fn value(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

pub(super) fn u32_value(bytes: &[u8], wanted: u16) -> Option<u32> {
    value(bytes, wanted)?.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn u64_value(bytes: &[u8], wanted: u16) -> Option<u64> {
    value(bytes, wanted)?.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn text_value(bytes: &[u8], wanted: u16) -> Option<String> {
    let text = value(bytes, wanted)?;
    Some(String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned())
}
