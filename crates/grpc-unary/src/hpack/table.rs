//! The tables of header compression: the static one (RFC 7541, appendix A), and what the peer added.

use std::collections::VecDeque;

use super::{Field, Malformed};

/// The size of a table nobody has agreed on (RFC 9113, section 6.5.2).
const USUAL: usize = 4096;
/// What an entry counts besides its bytes (RFC 7541, section 4.1).
const OVERHEAD: usize = 32;

/// What the peer may refer to.
#[derive(Debug)]
pub(crate) struct Table {
    /// The newest first.
    added: VecDeque<Field>,
    size: usize,
    capacity: usize,
    limit: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self::of(USUAL)
    }
}

impl Table {
    pub(super) fn of(limit: usize) -> Self {
        Self { added: VecDeque::new(), size: 0, capacity: limit, limit }
    }

    /// The field at an index, which counts from 1, the static table first.
    pub(super) fn field(&self, index: usize) -> Result<Field, Malformed> {
        let index = index.checked_sub(1).ok_or(Malformed)?;
        match KNOWN.get(index) {
            Some((name, value)) => Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.added.get(index - KNOWN.len()).cloned().ok_or(Malformed),
        }
    }

    pub(super) fn add(&mut self, field: Field) {
        self.size += cost(&field);
        self.added.push_front(field);
        self.shrink();
    }

    pub(super) fn resize(&mut self, capacity: usize) -> Result<(), Malformed> {
        if capacity > self.limit {
            return Err(Malformed);
        }
        self.capacity = capacity;
        self.shrink();
        Ok(())
    }

    /// The oldest have to go; a field larger than the table empties it.
    fn shrink(&mut self) {
        while self.size > self.capacity
            && let Some(oldest) = self.added.pop_back()
        {
            self.size -= cost(&oldest);
        }
    }
}

fn cost((name, value): &Field) -> usize {
    name.len() + value.len() + OVERHEAD
}

const KNOWN: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
