//! A socket that hears what changes in one namespace. What is not taken yet waits in the kernel as it came, and the
//! kernel's room is bounded: when it is full, events are dropped and that is told. So no queue of ours can grow, and
//! nothing is decoded before somebody wants it.

use std::fmt;
use std::io;

use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use nix::sys::socket::{MsgFlags, setsockopt, sockopt::RcvBufForce};

use super::error::Cause;
use super::namespace::Netns;
use super::transport::{Message, RECEIVE_BUFFER, is_overrun};

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The messages that were handed out.
    Messages,
    /// The kernel dropped some. Whoever looks at everything from now on misses nothing.
    Lost,
}

/// A socket that hears.
pub(super) struct Events {
    socket: TokioSocket,
}

impl Events {
    /// Hears the groups of the mask. Nobody needs to stay in the namespace. Must be called within a tokio runtime that
    /// drives I/O.
    pub(super) fn open(netns: &Netns, protocol: isize, groups: u32) -> Result<Self, Cause> {
        let runtime = tokio::runtime::Handle::current();
        let open = || {
            let _reactor = runtime.enter();
            let mut socket = TokioSocket::new(protocol)?;
            // Without privilege the system's default must do: lost events are told as such.
            let _ = setsockopt(socket.socket_ref(), RcvBufForce, &RECEIVE_BUFFER);
            socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
            Ok(Self { socket })
        };
        netns.run(open)?.map_err(Cause::Socket)
    }

    /// Waits until there is something, and hands it out. Cancel safe.
    pub(super) async fn next(&mut self, each: impl FnMut(&Message<'_>)) -> io::Result<Heard> {
        let read = self.socket.recv_from_full().await;
        self.hand_out(read, each)
    }

    /// The same without waiting; none if there is nothing. The socket is asked, and not whether the runtime has been told
    /// already that there is something to read.
    pub(super) fn next_now(&mut self, each: impl FnMut(&Message<'_>)) -> io::Result<Option<Heard>> {
        match self.socket.socket_ref().recv_from_full() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => self.hand_out(read, each).map(Some),
        }
    }

    fn hand_out(
        &self,
        read: io::Result<(Vec<u8>, SocketAddr)>,
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<Heard> {
        let datagram = match read {
            Ok((datagram, _)) => datagram,
            Err(error) if is_overrun(&error) => {
                self.discard()?;
                return Ok(Heard::Lost);
            }
            Err(error) => return Err(error),
        };
        let mut rest = &datagram[..];
        while let Some((message, tail)) = Message::split(rest) {
            each(&message);
            rest = tail;
        }
        Ok(Heard::Messages)
    }

    /// Until its room is empty the kernel drops what comes, without saying so again. And what is left there is older than
    /// any look that follows.
    fn discard(&self) -> io::Result<()> {
        let mut nothing = [0];
        loop {
            match self.socket.socket_ref().recv(&mut &mut nothing[..], MsgFlags::MSG_DONTWAIT.bits()) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_overrun(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
