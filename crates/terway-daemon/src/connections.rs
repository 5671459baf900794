//! The connections of a Unix socket, made and ended without anything that the kernel puts off until its readers are done
//! (RCU): the move of a NIC waits for all that was put off, on every processor, and such a move is what a plugin begins
//! once it is answered. So nothing is accepted before somebody waits (an `accept` in vain makes a socket first, and puts
//! its end off), and the socket of a connection that has ended is let go a while later.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixListener as StdListener;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// Longer than the kernel takes to move a NIC, and long enough that this is seldom: those that ended meanwhile are let go
/// together, and somebody else's NIC may be on its way just then.
const WHILE: Duration = Duration::from_secs(5);
/// With more than so many sockets at hand nobody waits: a process has a bounded number.
const MOST: usize = 256;

/// Whoever connects to a listener.
#[derive(Debug)]
pub struct Connections {
    listener: AsyncFd<StdListener>,
    ended: UnboundedSender<UnixStream>,
}

impl Connections {
    /// Those of this listener.
    pub fn of(listener: UnixListener) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "the replacement is unsafe; what `new` cannot check, that the descriptor stays open and the same, \
                      holds: the listener owns it"
        )]
        let listener = AsyncFd::with_interest(listener.into_std()?, Interest::READABLE)?;
        let (ended, to_let_go) = unbounded_channel();
        tokio::spawn(let_go(to_let_go));
        Ok(Self { listener, ended })
    }
}

impl Stream for Connections {
    type Item = io::Result<Lingering>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let mut ready = ready!(self.listener.poll_read_ready(context))?;
            let listener = self.listener.get_ref();
            if !somebody_waits(listener)? {
                ready.clear_ready();
                continue;
            }
            match accept(listener) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(stream) => return Poll::Ready(Some(Ok(Lingering::new(stream, &self.ended)))),
            }
        }
    }
}

fn somebody_waits(listener: &StdListener) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
}

fn accept(listener: &StdListener) -> io::Result<UnixStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// A connection whose socket outlives it, registered for events as before: the kernel would put off the end of that too.
#[derive(Debug)]
pub struct Lingering {
    /// None once it has ended.
    stream: Option<UnixStream>,
    ended: UnboundedSender<UnixStream>,
}

impl Lingering {
    fn new(stream: UnixStream, ended: &UnboundedSender<UnixStream>) -> Self {
        Self { stream: Some(stream), ended: ended.clone() }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut UnixStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        // The other side shall notice at once; what it closed already cannot be shut down.
        let _ = shutdown(stream.as_raw_fd(), Shutdown::Both);
        // With the runtime gone there is nobody to take it, and it ends here.
        let _ = self.ended.send(stream);
    }
}

/// Closes those that have ended, once they have lingered.
async fn let_go(mut ended: UnboundedReceiver<UnixStream>) {
    while let Some(first) = ended.recv().await {
        let with_it = ended.len();
        if with_it < MOST {
            sleep(WHILE).await;
        }
        drop(first);
        for _ in 0..with_it {
            drop(ended.try_recv());
        }
    }
}

impl Connected for Lingering {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::future::poll_fn;
    use std::path::PathBuf;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;
    use tokio_stream::StreamExt as _;

    use super::*;

    /// What a descriptor of this process leads to: of a socket, its own number.
    fn target(descriptor: i32) -> Option<PathBuf> {
        fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()
    }

    fn connection(ended: &UnboundedSender<UnixStream>) -> (Lingering, UnixStream, i32) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let descriptor = ours.as_raw_fd();
        let ours = Lingering::new(ours, ended);
        (ours, theirs, descriptor)
    }

    #[tokio::test]
    async fn whoever_connects_is_accepted_now_or_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut connections = Connections::of(UnixListener::bind(&path).unwrap()).unwrap();
        for _ in 0..2 {
            let waiting =
                [UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap()];
            for mut theirs in waiting {
                let mut ours = connections.next().await.unwrap().unwrap();
                theirs.write_all(b"a").await.unwrap();
                assert_eq!(ours.read_u8().await.unwrap(), b'a');
            }
            let nobody =
                poll_fn(|context| Poll::Ready(Pin::new(&mut connections).poll_next(context).is_pending()));
            assert!(nobody.await);
        }
    }

    /// At a listener that blocks, to accept somebody who is not there would never end.
    #[test]
    fn nobody_is_accepted_in_vain() {
        let (done, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime
                .block_on(async {
                    let folder = tempfile::tempdir().unwrap();
                    let path = folder.path().join("socket");
                    let mut connections = Connections::of(UnixListener::bind(&path).unwrap()).unwrap();
                    connections.listener.get_ref().set_nonblocking(false).unwrap();
                    let _theirs = UnixStream::connect(&path).await.unwrap();
                    let _ours = connections.next().await.unwrap().unwrap();
                    poll_fn(|context| Poll::Ready(Pin::new(&mut connections).poll_next(context).is_pending()))
                        .await
                })
                .then(|| done.send(()))
        });
        heard.recv_timeout(Duration::from_secs(10)).expect("nobody is waited for inside `accept`");
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_outlives_its_connection_and_the_other_side_hears_of_the_end_at_once() {
        let (ended, to_let_go) = unbounded_channel();
        let closing = tokio::spawn(let_go(to_let_go));
        let (ours, mut theirs, descriptor) = connection(&ended);
        let socket = target(descriptor);
        let start = Instant::now();
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(target(descriptor), socket);
        sleep(WHILE * 2).await;
        assert_ne!(target(descriptor), socket);
        drop(ended);
        closing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_none_lingers() {
        let (ended, to_let_go) = unbounded_channel();
        drop((0..=MOST).map(|_| connection(&ended).0).collect::<Vec<_>>());
        drop(ended);
        let start = Instant::now();
        let_go(to_let_go).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
