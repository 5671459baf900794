//! Netlink frames over a socket: many requests in one send, an answer for each, and dumps. It knows the
//! netlink header and the error message, nothing of what the frames carry; rtnetlink and nf_tables share it.

mod frame;

pub(super) use frame::{Frame, Message, attributes};

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt::RcvBufForce};

use super::error::{Cause, Refusal};
use super::namespace::Netns;
use super::traffic;
use frame::{NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP};

/// Thousands of queued answers or events. Beyond the system's limit this needs privilege in the initial user
/// namespace; without it the limit is taken.
pub(super) const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel builds dump parts of at most 32 KiB; a single object may be larger.
const READ_BUFFER: usize = 64 << 10;
/// How often a dump disturbed by concurrent changes is begun anew. One takes a millisecond on a full node.
const DUMP_ATTEMPTS: u32 = 50;

/// The kernel's word on one frame; `None` if it gave none.
pub(super) type Answer = Option<Result<(), Refusal>>;

/// A netlink socket that talks to the kernel only.
#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
    sequence: u32,
    /// Room for a datagram; what was never filled costs no page.
    buffer: Vec<u8>,
    /// Whether there may be answers that nobody has read.
    unread: bool,
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
        // Since Linux 4.12 and 4.3: explanations, and answers without the request in them.
        if_known(socket.set_ext_ack(true))?;
        if_known(socket.set_cap_ack(true))?;
        socket.bind(&SocketAddr::new(0, groups))?;
        // A connected netlink socket takes messages from the kernel alone.
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(READ_BUFFER), unread: false })
    }

    /// Has rtnetlink apply the filters of dumps, or refuse those it cannot apply (since Linux 4.20; before, it
    /// ignores them).
    pub(super) fn check_strictly(&self) -> io::Result<()> {
        if_known(self.socket.set_netlink_get_strict_chk(true))
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
        let mut awaited = answers.len();
        if answers.is_empty() {
            // Sending nothing is refused.
            return Ok(answers);
        }
        self.send(&bytes)?;
        // The kernel works within the send, so every answer is queued when it returns, behind the objects of its
        // request. One that is not there then will never come.
        while awaited > 0 {
            let done = self.receive(|message| {
                let place = message.sequence.wrapping_sub(first) as usize;
                match answers.get_mut(place) {
                    Some(answer) if message.kind == NLMSG_ERROR => {
                        awaited -= usize::from(answer.is_none());
                        *answer = Some(message.refusal());
                    }
                    Some(_) => each(message),
                    None => {}
                }
            });
            match done {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unread = false;
        Ok(answers)
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
        self.unread = false;
        match end {
            Some(Err(Refusal { errno: Errno::EINTR, .. })) => Ok(false),
            Some(Err(refusal)) => Err(refusal.into()),
            _ => Ok(consistent),
        }
    }

    /// Asks for all objects of a sort until one is found, and says whether it was. Nothing else can be asked by this socket
    /// then.
    pub(super) fn find(
        &mut self,
        frame: &Frame,
        mut is_it: impl FnMut(&Message<'_>) -> bool,
    ) -> Result<bool, Cause> {
        let mut bytes = Vec::new();
        self.push(&mut bytes, frame);
        self.send(&bytes).map_err(Cause::Socket)?;
        let (mut found, mut end) = (false, None);
        while !found && end.is_none() {
            let read = self.receive(|message| match message.kind {
                NLMSG_DONE | NLMSG_ERROR => end = Some(message.refusal()),
                _ => found |= is_it(message),
            });
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Cause::Unanswered),
                Err(error) => return Err(Cause::Socket(error)),
            }
        }
        end.unwrap_or(Ok(()))?;
        Ok(found)
    }

    /// Reads one datagram without waiting and hands out its messages.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        let flags = (MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC).bits();
        self.buffer.clear();
        let length = self.socket.recv(&mut self.buffer, flags)?;
        traffic::told(length);
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
        traffic::asked();
        self.sequence = self.sequence.wrapping_add(1);
        let start = bytes.len();
        bytes.extend_from_slice(&frame.0);
        bytes[start + 8..start + 12].copy_from_slice(&self.sequence.to_ne_bytes());
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Answers to an earlier exchange that failed half way must not be taken for ours. Their sequence
        // numbers differ; a pending overrun would hide real answers, so it is cleared here.
        while self.unread && self.receive(|_| {}).is_ok() {}
        self.unread = true;
        self.socket.send(bytes, 0).map(drop)
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether the kernel says by this that events were lost.
pub(super) fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOBUFS as i32)
}

/// An option this kernel is too old for is no error: nothing depends on it.
fn if_known(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(Errno::ENOPROTOOPT as i32) => Ok(()),
        other => other,
    }
}
