//! The connections of a Unix socket, made and ended without anything that the kernel puts off until its readers are done
//! (RCU): the move of a NIC waits for all that was put off, on every processor, and such a move is what a plugin begins
//! once it is answered. So nothing is accepted before somebody waits (an `accept` in vain makes a socket first, and puts
//! its end off), and the socket of a connection that has ended is let go a while later.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
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
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// Longer than the kernel takes to move a NIC, and long enough that this is seldom: those that ended meanwhile are let go
/// together, and somebody else's NIC may be on its way just then.
const WHILE: Duration = Duration::from_secs(5);
/// With so many more that have ended nobody lingers on: a process has a bounded number of descriptors.
const MOST: usize = 128;
/// Between two attempts while nobody can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Whoever connects to a listener.
#[derive(Debug)]
pub struct Connections {
    listener: AsyncFd<StdListener>,
    ended: UnboundedSender<UnixStream>,
    /// While nobody can be accepted, when to try again.
    pause: Option<Pin<Box<Sleep>>>,
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
        Ok(Self { listener, ended, pause: None })
    }

    /// Whoever waits goes on waiting, so the listener stays readable: without a pause this would go in circles.
    fn pause_after(&mut self, error: &io::Error) {
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(Instant::now() + PAUSE),
            none => {
                tracing::warn!(%error, "nobody can be accepted; trying again until somebody is");
                *none = Some(Box::pin(sleep(PAUSE)));
            }
        }
    }
}

impl AsFd for Connections {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.get_ref().as_fd()
    }
}

impl Stream for Connections {
    type Item = io::Result<Lingering>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
            }
            let mut ready = ready!(this.listener.poll_read_ready(context))?;
            match accept(this.listener.get_ref()) {
                Ok(Some(stream)) => {
                    this.pause = None;
                    return Poll::Ready(Some(Ok(Lingering::new(stream, &this.ended))));
                }
                Ok(None) => ready.clear_ready(),
                Err(error) => this.pause_after(&error),
            }
        }
    }
}

/// Who waits, if anybody does.
fn accept(listener: &StdListener) -> io::Result<Option<UnixStream>> {
    if poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? == 0 {
        return Ok(None);
    }
    match listener.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream).map(Some)
        }
    }
}

/// A connection whose socket outlives it, registered for events as before: the kernel would put off the end of that too.
#[derive(Debug)]
pub struct Lingering {
    /// None once it has ended.
    stream: Option<UnixStream>,
    ended: UnboundedSender<UnixStream>,
    accepted: Accepted,
}

/// When somebody was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Accepted(pub std::time::Instant);

impl Lingering {
    fn new(stream: UnixStream, ended: &UnboundedSender<UnixStream>) -> Self {
        let accepted = Accepted(std::time::Instant::now());
        Self { stream: Some(stream), ended: ended.clone(), accepted }
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

/// Closes those that have ended, once each has lingered or too many have ended after it.
async fn let_go(mut ended: UnboundedReceiver<UnixStream>) {
    while let Some(first) = ended.recv().await {
        let mut lingering = vec![first];
        while !lingering.is_empty() {
            let mut later = Vec::new();
            let too_many_ended = async {
                while later.len() < MOST {
                    let Some(next) = ended.recv().await else { break };
                    later.push(next);
                }
            };
            // Whichever comes first.
            let _ = timeout(WHILE, too_many_ended).await;
            lingering = later;
        }
    }
}

impl Connected for Lingering {
    type ConnectInfo = Accepted;

    fn connect_info(&self) -> Accepted {
        self.accepted
    }
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

    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
    async fn each_lingers_for_a_while_of_its_own() {
        let (ended, to_let_go) = unbounded_channel();
        let _closing = tokio::spawn(let_go(to_let_go));
        let ((first, _a, _), (second, _b, descriptor)) = (connection(&ended), connection(&ended));
        let socket = target(descriptor);
        drop(first);
        sleep(WHILE * 9 / 10).await;
        drop(second);
        sleep(WHILE * 9 / 10).await;
        assert_eq!(target(descriptor), socket);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_none_lingers() {
        let (ended, to_let_go) = unbounded_channel();
        let _closing = tokio::spawn(let_go(to_let_go));
        let start = Instant::now();
        let (first, _theirs, descriptor) = connection(&ended);
        let socket = target(descriptor);
        drop(first);
        // By now it lingers, alone.
        sleep(Duration::from_millis(1)).await;
        drop((0..MOST).map(|_| connection(&ended).0).collect::<Vec<_>>());
        while target(descriptor) == socket {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(start.elapsed() < WHILE, "{:?}", start.elapsed());
    }

    /// A socket at which nobody listens yet stands for a process without a descriptor left: it is readable, and no
    /// attempt at it succeeds.
    #[tokio::test(start_paused = true)]
    async fn where_nobody_can_be_accepted_there_is_a_pause_before_each_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
        bind(socket.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        let listener = UnixListener::from_std(StdListener::from(socket)).unwrap();
        let mut connections = Connections::of(listener).unwrap();
        let start = Instant::now();
        let attempts = timeout(PAUSE * 10, connections.next()).await;
        assert!(attempts.is_err(), "{attempts:?}");
        assert_eq!(start.elapsed(), PAUSE * 10);

        listen(connections.listener.get_ref(), Backlog::MAXCONN).unwrap();
        let _theirs = UnixStream::connect(&path).await.unwrap();
        assert!(connections.next().await.unwrap().is_ok());
        assert!(connections.pause.is_none(), "the next is accepted without a pause");
    }
}
