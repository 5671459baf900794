//! The netlink header, the error message and the extended ack, and runs of attributes.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST};
use nix::errno::Errno;

use crate::kernel::error::Refusal;

const HEADER: usize = 16;
pub(super) const NLMSG_NOOP: u16 = 1;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One netlink message, its sequence number not yet set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Frame(pub(in crate::kernel) Vec<u8>);

impl Frame {
    /// A request; `flags` come on top of `NLM_F_REQUEST`.
    pub(in crate::kernel) fn new(kind: u16, flags: u16, payload: &[u8]) -> Self {
        let length = HEADER + payload.len();
        let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
        #[expect(clippy::cast_possible_truncation, reason = "a frame is a few KiB")]
        bytes.extend_from_slice(&(length as u32).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(payload);
        bytes.resize(length.next_multiple_of(4), 0);
        Self(bytes)
    }

    /// A request the kernel answers with an acknowledgement.
    pub(in crate::kernel) fn acked(kind: u16, flags: u16, payload: &[u8]) -> Self {
        Self::new(kind, flags | NLM_F_ACK, payload)
    }

    /// A request for all objects of a sort.
    pub(in crate::kernel) fn dump(kind: u16, payload: &[u8]) -> Self {
        Self::new(kind, NLM_F_DUMP, payload)
    }

    /// The same request, whose asker is also told what the kernel tells those who listen for changes.
    pub(in crate::kernel) fn echoed(&self) -> Self {
        let mut bytes = self.0.clone();
        // The flags stand behind length and kind.
        if let Some(flags) = bytes.get_mut(6..8) {
            flags.iter_mut().zip(NLM_F_ECHO.to_ne_bytes()).for_each(|(flag, echo)| *flag |= echo);
        }
        Self(bytes)
    }
}

/// One message of the kernel.
pub(in crate::kernel) struct Message<'a> {
    pub(in crate::kernel) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The port of whoever asked for what an event tells; 0 if the kernel did it by itself.
    #[cfg_attr(not(feature = "monitor"), expect(dead_code, reason = "only a watch asks who it was"))]
    pub(in crate::kernel) port: u32,
    pub(in crate::kernel) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of a datagram, and the rest of it.
    pub(in crate::kernel) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, _) = bytes.split_at_checked(HEADER)?;
        let length = u32_at(header, 0)? as usize;
        let message = Self {
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            port: u32_at(header, 12)?,
            payload: bytes.get(HEADER..length)?,
        };
        Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
    }

    /// The outcome an error or done message carries: zero or a negated errno, then the extended ack.
    pub(super) fn refusal(&self) -> Result<(), Refusal> {
        let code = u32_at(self.payload, 0).map_or(0, u32::cast_signed);
        if code >= 0 {
            return Ok(());
        }
        Err(Refusal { errno: Errno::from_raw(-code), extack: self.extack() })
    }

    fn extack(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let start = match self.kind {
            NLMSG_DONE => 4,
            // A capped answer repeats the request's header only, but the length in that header is still the whole
            // request's.
            _ if self.flags & NLM_F_CAPPED != 0 => 4 + HEADER,
            _ => 4 + (u32_at(self.payload, 4)? as usize).next_multiple_of(4),
        };
        let (_, text) =
            attributes(self.payload.get(start..)?).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
        let text = text.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// The attributes in a run of bytes; nested and byte-order flags are taken off the kinds.
pub(in crate::kernel) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16_at(bytes, 0)? as usize;
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(flags: u16, payload: &[u8]) -> Option<String> {
        let message = Message { kind: NLMSG_ERROR, flags, sequence: 1, port: 0, payload };
        message.refusal().unwrap_err().extack
    }

    fn extack(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(text.len() + 5).unwrap().to_ne_bytes());
        bytes.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        bytes.extend(text.as_bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn the_explanation_is_read_with_and_without_the_echoed_request() {
        let request = Frame::acked(16, 0, &[7; 30]);
        let code = (-95_i32).to_ne_bytes();
        let whole = [&code[..], &request.0, &extack("Unknown device type")].concat();
        let capped = [&code[..], &request.0[..HEADER], &extack("Unknown device type")].concat();
        let wanted = Some("Unknown device type".to_owned());
        assert_eq!(answer(NLM_F_ACK_TLVS, &whole), wanted);
        assert_eq!(answer(NLM_F_ACK_TLVS | NLM_F_CAPPED, &capped), wanted);
        assert_eq!(answer(0, &whole), None);
    }

    #[test]
    fn a_cut_message_ends_the_datagram() {
        let frame = Frame::new(16, 0, &[1, 2, 3, 4, 5]);
        assert_eq!(frame.0.len(), 24);
        let (message, rest) = Message::split(&frame.0).unwrap();
        assert_eq!((message.kind, message.payload, rest.len()), (16, &[1, 2, 3, 4, 5][..], 0));
        assert!(Message::split(&frame.0[..20]).is_none());
        assert!(Message::split(&[]).is_none());
    }
}
