//! Netlink frames over a socket: many requests in one send, an answer for each, and dumps. It knows the
//! netlink header and the error message, nothing of what the frames carry; rtnetlink and nf_tables share it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt::RcvBufForce};

use super::error::{Cause, Refusal};
use super::namespace::Netns;

const HEADER: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Thousands of queued answers or events. Beyond the system's limit this needs privilege in the initial user
/// namespace; without it the limit is taken.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel builds dump parts of at most 32 KiB; a single object may be larger.
const READ_BUFFER: usize = 64 << 10;
/// How often a dump disturbed by concurrent changes is begun anew.
const DUMP_ATTEMPTS: u32 = 16;

/// One netlink message, its sequence number not yet set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame(pub(super) Vec<u8>);

impl Frame {
    /// A request; `flags` come on top of `NLM_F_REQUEST`.
    pub(super) fn new(kind: u16, flags: u16, payload: &[u8]) -> Self {
        let length = HEADER + payload.len();
        let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
        #[expect(clippy::cast_possible_truncation, reason = "a frame is a few KiB")]
        bytes.extend((length as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(payload);
        bytes.resize(length.next_multiple_of(4), 0);
        Self(bytes)
    }

    /// A request the kernel answers with an acknowledgement.
    pub(super) fn acked(kind: u16, flags: u16, payload: &[u8]) -> Self {
        Self::new(kind, flags | NLM_F_ACK, payload)
    }

    /// A request for all objects of a sort.
    pub(super) fn dump(kind: u16, payload: &[u8]) -> Self {
        Self::new(kind, NLM_F_DUMP, payload)
    }
}

/// One message of the kernel.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    flags: u16,
    sequence: u32,
    pub(super) payload: &'a [u8],
}

/// The kernel's word on one frame; `None` if it gave none.
pub(super) type Answer = Option<Result<(), Refusal>>;

/// A netlink socket that talks to the kernel only.
#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Transport {
    /// A socket in the calling thread's namespace.
    pub(super) fn here(protocol: isize) -> io::Result<Self> {
        Self::subscribed(protocol, 0)
    }

    /// A socket in the given namespace. It stays there for ever: only its making needs to be inside.
    pub(super) fn open(protocol: isize, netns: &Netns) -> Result<Self, Cause> {
        netns.run(|| Self::here(protocol))?.map_err(Cause::Socket)
    }

    /// A socket in the calling thread's namespace that hears the groups of the mask.
    pub(super) fn subscribed(protocol: isize, groups: u32) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        }
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        // A connected netlink socket takes messages from the kernel alone.
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; READ_BUFFER] })
    }

    /// Has rtnetlink refuse dump filters it does not apply, instead of ignoring them (Linux 4.20).
    pub(super) fn check_strictly(&self) -> io::Result<()> {
        self.socket.set_netlink_get_strict_chk(true)
    }

    /// Sends all frames at once and gives the answer to each, in order. `each` sees the objects the kernel sends.
    pub(super) fn exchange<'f>(
        &mut self,
        frames: impl IntoIterator<Item = &'f Frame>,
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<Vec<Answer>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        for frame in frames {
            self.push(&mut bytes, frame);
            answers.push(None);
        }
        self.send(&bytes)?;
        // The kernel works within the send, so every answer is queued when it returns. One that is not
        // there then will never come.
        loop {
            let done = self.receive(|message| {
                let place = message.sequence.wrapping_sub(first) as usize;
                match answers.get_mut(place) {
                    Some(answer) if message.kind == NLMSG_ERROR => *answer = Some(message.refusal()),
                    Some(_) => each(message),
                    None => {}
                }
            });
            match done {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answers),
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for all objects of a sort. `each` sees every object; `begin` is called before each attempt, to forget
    /// the objects of one that was disturbed.
    pub(super) fn dump<S>(
        &mut self,
        frame: &Frame,
        mut begin: impl FnMut() -> S,
        mut each: impl FnMut(&mut S, &Message<'_>),
    ) -> Result<S, Cause> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut seen = begin();
            if self.dump_once(frame, |message| each(&mut seen, message))? {
                return Ok(seen);
            }
        }
        Err(Cause::Interrupted(DUMP_ATTEMPTS))
    }

    /// Whether the dump was consistent.
    fn dump_once(&mut self, frame: &Frame, mut each: impl FnMut(&Message<'_>)) -> Result<bool, Cause> {
        let mut bytes = Vec::new();
        self.push(&mut bytes, frame);
        self.send(&bytes).map_err(Cause::Socket)?;
        let sequence = self.sequence;
        let mut consistent = true;
        let mut end = None;
        while end.is_none() {
            let read = self.receive(|message| {
                if message.sequence != sequence {
                    return;
                }
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => end = Some(message.refusal()),
                    NLMSG_NOOP => {}
                    _ => each(message),
                }
            });
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Cause::Unanswered),
                Err(error) => return Err(Cause::Socket(error)),
            }
        }
        match end {
            Some(Err(Refusal { errno: Errno::EINTR, .. })) => Ok(false),
            Some(Err(refusal)) => Err(refusal.into()),
            _ => Ok(consistent),
        }
    }

    /// Reads one datagram without waiting and hands out its messages.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        let flags = (MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC).bits();
        let length = self.socket.recv(&mut &mut self.buffer[..], flags)?;
        let mut rest = self.buffer.get(..length).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("a datagram of {length} bytes was cut off"))
        })?;
        while let Some((message, tail)) = Message::split(rest) {
            each(&message);
            rest = tail;
        }
        Ok(())
    }

    fn push(&mut self, bytes: &mut Vec<u8>, frame: &Frame) {
        self.sequence = self.sequence.wrapping_add(1);
        let start = bytes.len();
        bytes.extend(&frame.0);
        bytes[start + 8..start + 12].copy_from_slice(&self.sequence.to_ne_bytes());
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Answers to an earlier exchange that failed half way must not be taken for ours. Their sequence
        // numbers differ; a pending overrun would hide real answers, so it is cleared here.
        while self.receive(|_| {}).is_ok() {}
        self.socket.send(bytes, 0).map(drop)
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<'a> Message<'a> {
    /// The first message of a datagram, and the rest of it.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, _) = bytes.split_at_checked(HEADER)?;
        let length = u32_at(header, 0)? as usize;
        let message = Self {
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            payload: bytes.get(HEADER..length)?,
        };
        Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
    }

    /// The outcome an error or done message carries: zero or a negated errno, then the extended ack.
    fn refusal(&self) -> Result<(), Refusal> {
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
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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
        let message = Message { kind: NLMSG_ERROR, flags, sequence: 1, payload };
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
