//! Tells when something in a directory changed, by inotify, without saying what: whoever waits looks for
//! itself, so that lost or merged events do no harm.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// A directory under watch.
#[derive(Debug)]
pub struct WatchedDir {
    inotify: AsyncFd<Fd>,
}

/// `AsyncFd` asks for the raw descriptor.
#[derive(Debug)]
struct Fd(Inotify);

impl std::os::fd::AsRawFd for Fd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd as _;
        self.0.as_fd().as_raw_fd()
    }
}

impl WatchedDir {
    /// Starts watching: files that appear complete, go, or are written.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let events = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(directory, events)?;
        #[expect(
            deprecated,
            reason = "the replacement is unsafe; what `new` cannot check, that the descriptor \
                                       stays open and the same, holds: `Fd` owns it"
        )]
        let inotify = AsyncFd::new(Fd(inotify))?;
        Ok(Self { inotify })
    }

    /// Waits for a change, but not longer than `longest`. What happened between two calls counts.
    pub async fn changed(&self, longest: Duration) {
        let _ = timeout(longest, self.event()).await;
    }

    async fn event(&self) {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else { return std::future::pending().await };
            match self.inotify.get_ref().0.read_events() {
                Err(Errno::EAGAIN) => ready.clear_ready(),
                _ => return,
            }
        }
    }
}
