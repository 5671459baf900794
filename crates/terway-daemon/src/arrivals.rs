//! Tells of everybody who connects to a listener, at once and beside whoever accepts: the runtime gets to it only after
//! what it is at.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// What an event is about.
const SOMEBODY: u64 = 0;
const END: u64 = 1;

/// Whoever connects from now on.
#[derive(Debug)]
pub struct Arrivals {
    events: Epoll,
    /// Open as long as its events are waited for.
    _end: Arc<EventFd>,
}

/// With this the arrivals end, also for a thread that waits for the next.
#[derive(Debug)]
pub struct Ends(Arc<EventFd>);

impl Arrivals {
    /// Those at a listener, which may be closed before they end: nobody connects to it then.
    pub fn at(listener: impl AsFd) -> io::Result<(Self, Ends)> {
        let events = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let end = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        // Whoever waits to be accepted is told of once, not until he is.
        events.add(listener, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, SOMEBODY))?;
        events.add(&*end, EpollEvent::new(EpollFlags::EPOLLIN, END))?;
        Ok((Self { events, _end: Arc::clone(&end) }, Ends(end)))
    }

    /// Waits until somebody connects, or several have; false at the end.
    pub fn next(&self) -> bool {
        let mut told = [EpollEvent::empty(); 2];
        loop {
            match self.events.wait(&mut told, EpollTimeout::NONE) {
                Ok(count) => return told.iter().take(count).all(|event| event.data() == SOMEBODY),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "nobody is told any more who connects; moves of NICs take longer until the next start");
                    return false;
                }
            }
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // Refused only if it was written to before, and then it is told of as well.
        let _ = self.0.write(1);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn each_who_connects_is_told_of_once_and_before_he_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (arrivals, ends) = Arrivals::at(&listener).unwrap();
        let (tell, told) = mpsc::channel();
        let watching = thread::spawn(move || {
            while arrivals.next() {
                tell.send(()).unwrap();
            }
        });
        let _waiting: Vec<_> = (0..3)
            .map(|_| {
                let theirs = UnixStream::connect(&path).unwrap();
                told.recv_timeout(LONG).unwrap();
                theirs
            })
            .collect();
        drop(listener);
        drop(ends);
        watching.join().unwrap();
        assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected), "nobody else has come");
    }
}
