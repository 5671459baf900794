//! HTTP/2 frames (RFC 9113, section 4.1 and 6): the header of nine bytes and the types this client meets.

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 9;
/// The longest payload a peer may send unless it was allowed more (RFC 9113, section 4.2).
pub(crate) const LONGEST: usize = 16_384;
/// What a client says first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 0x1;
/// Of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x1;
/// Of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The error code of a stream nobody waits for any more.
pub(crate) const CANCEL: u32 = 8;

/// A frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// 0 is the connection.
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The length of the payload that a header announces, and the frame without it.
    pub(crate) fn announced(header: [u8; HEADER]) -> (usize, Self) {
        let [a, b, c, kind, flags, stream @ ..] = header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        // The highest bit is reserved and means nothing.
        let stream = u32::from_be_bytes(stream) & !(1 << 31);
        (length, Self { kind, flags, stream, payload: Vec::new() })
    }

    /// Whether a flag is set.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without padding and priority; none if they do not fit in.
    pub(crate) fn content(&self) -> Option<&[u8]> {
        let mut content = self.payload.as_slice();
        let mut padding = 0;
        if self.has(PADDED) {
            let (length, rest) = content.split_first()?;
            (padding, content) = (usize::from(*length), rest);
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..)?;
        }
        content.get(..content.len().checked_sub(padding)?)
    }
}

/// Appends a frame.
pub(crate) fn push(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    debug_assert!(payload.len() <= LONGEST);
    #[expect(clippy::cast_possible_truncation, reason = "payloads are cut to at most 16 KiB")]
    let length = (payload.len() as u32).to_be_bytes();
    to.extend(length.iter().skip(1));
    to.extend([kind, flags]);
    to.extend(stream.to_be_bytes());
    to.extend(payload);
}

/// The settings of a SETTINGS frame, each with its value.
pub(crate) fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> + '_ {
    payload.chunks_exact(6).filter_map(|one| {
        let (id, value) = one.split_first_chunk::<2>()?;
        Some((u16::from_be_bytes(*id), number(value)?))
    })
}

/// The number a payload begins with.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_went() {
        let mut bytes = Vec::new();
        push(&mut bytes, HEADERS, END_HEADERS, 7, b"abc");
        assert_eq!(bytes, [0, 0, 3, 1, 4, 0, 0, 0, 7, b'a', b'b', b'c']);
        let (length, frame) = Frame::announced(*bytes.first_chunk().unwrap());
        assert_eq!((length, frame.kind, frame.flags, frame.stream), (3, HEADERS, END_HEADERS, 7));
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let frame = |kind, flags, payload: &[u8]| Frame { kind, flags, stream: 1, payload: payload.to_vec() };
        assert_eq!(frame(DATA, PADDED, &[2, b'x', 0, 0]).content(), Some(&b"x"[..]));
        assert_eq!(
            frame(HEADERS, PADDED | PRIORITY, &[1, 0, 0, 0, 0, 9, b'x', 0]).content(),
            Some(&b"x"[..])
        );
        assert_eq!(frame(DATA, PADDED, &[4, b'x', 0, 0]).content(), None, "more padding than payload");
        assert_eq!(frame(HEADERS, PRIORITY, &[0, 0]).content(), None);
    }
}
