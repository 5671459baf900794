//! An ADD's way to a daemon that is not there yet: a node that boots asks for its pods at once, and a daemon that is
//! replaced is away for a moment. Whoever would be refused then would only ask again.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use terway_types::Fault;

use crate::daemon_client::{self, Daemon};

/// How long the socket is waited for: more than a container takes to start, and of the two minutes after which a runtime
/// gives up it leaves most to the ENI.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the daemon, once it listens, but not later than `until`.
pub(crate) fn connect(socket: &Path, until: Instant) -> Result<Daemon, Fault> {
    let open = || {
        let left = until.saturating_duration_since(Instant::now());
        Daemon::open(socket, left.min(daemon_client::PATIENCE))
    };
    match open() {
        Err(error) if error.may_be_starting() => {}
        outcome => return Ok(outcome?),
    }
    let last = until.min(Instant::now() + PATIENCE);
    // What happens from now on is told, so whoever looks after this misses nothing.
    let watch = Watch::beside(socket);
    loop {
        let is_last = watch.is_err() || Instant::now() >= last;
        match (open(), &watch) {
            (Err(error), Ok(watch)) if error.may_be_starting() && !is_last => watch.wait(last),
            (outcome, _) => return Ok(outcome?),
        }
    }
}

/// Hears of files that come to a folder.
struct Watch(Inotify);

impl Watch {
    fn beside(socket: &Path) -> io::Result<Self> {
        let folder = socket.parent().unwrap_or(Path::new("/"));
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // terwayd's socket comes by a rename, when somebody listens already; others' are made in place.
        inotify.add_watch(
            folder,
            AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ATTRIB,
        )?;
        Ok(Self(inotify))
    }

    /// Waits until something came, or until then. That it came too early does no harm.
    fn wait(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()).as_millis() + 1;
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], left);
        let _ = self.0.read_events();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_socket_that_comes_is_waited_for_whether_a_stale_one_was_there_or_none() {
        for stale in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("eni.socket");
            if stale {
                drop(UnixListener::bind(&path).unwrap());
            }
            let (draft, to) = (path.with_extension("new"), path.clone());
            let waiting = thread::spawn(move || connect(&to, Instant::now() + PATIENCE));
            let _listener = UnixListener::bind(&draft).unwrap();
            std::fs::rename(&draft, &path).unwrap();
            waiting.join().unwrap().unwrap();
        }
    }

    #[test]
    fn a_socket_that_does_not_come_is_named_in_time() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["eni.socket", "no/such/folder/eni.socket"].map(|path| folder.path().join(path)) {
            let fault = connect(&path, soon()).unwrap_err();
            assert!(fault.to_string().contains("eni.socket"), "{fault}");
        }
    }

    /// A queue of connections that nobody takes: the kernel lets no more wait.
    #[test]
    fn a_daemon_that_does_not_accept_is_given_up_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eni.socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        while let Ok(daemon) = Daemon::open(&path, Duration::ZERO) {
            waiting.push(daemon);
            assert!(waiting.len() < 100_000, "the queue never fills");
        }
        let began = Instant::now();
        let fault = connect(&path, soon()).unwrap_err();
        assert!(fault.to_string().contains("nobody accepted"), "{fault}");
        assert!(began.elapsed() < daemon_client::PATIENCE);
    }

    #[test]
    fn what_no_start_mends_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        std::fs::write(folder.path().join("a"), "no folder").unwrap();
        let began = Instant::now();
        connect(&path, Instant::now() + PATIENCE).unwrap_err();
        assert!(began.elapsed() < PATIENCE);
    }
}
