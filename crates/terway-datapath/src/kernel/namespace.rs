//! Network namespaces: a handle on one, and the only way work is done inside one. A thread that enters a
//! namespace is never used again, because a thread that failed to come back would poison its pool. Who has no pool and
//! ends soon may go and come back ([`Netns::returning_to`]), and needs no other thread for it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{FileStat, fstat, stat};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

/// The calling thread's own namespace; `/proc/self` would be the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, held open: it stays alive as long as any clone of this handle.
#[derive(Clone, Debug)]
pub struct Netns {
    fd: Arc<OwnedFd>,
    path: Option<PathBuf>,
    id: NetnsId,
    /// Where the caller's own thread goes back to, if it is the one that does the work.
    home: Option<Arc<OwnedFd>>,
}

/// Tells namespaces apart: no two that live at the same time have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

impl NetnsId {
    fn of(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// A network namespace that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Nothing is at the path.
    #[error("network namespace {path} does not exist")]
    Missing {
        /// The path asked for.
        path: PathBuf,
    },
    /// Something else is at the path, for example the empty file of a namespace already unmounted.
    #[error("{path} is not a network namespace")]
    NotANetns {
        /// The path asked for.
        path: PathBuf,
    },
    /// The process may not do this.
    #[error("no permission to {verb} network namespace {name} (CAP_SYS_ADMIN is needed)")]
    NoPermission {
        /// What was tried.
        verb: &'static str,
        /// Path or kind of the namespace.
        name: String,
    },
    /// A system call failed.
    #[error("failed to {verb} network namespace {name}")]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// Path or kind of the namespace.
        name: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl NetnsError {
    fn new(verb: &'static str, name: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (name, source) = (name.into(), source.into());
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENOTDIR) => Self::Missing { path: name.into() },
            Some(Errno::EPERM | Errno::EACCES) => Self::NoPermission { verb, name },
            _ => Self::Failed { verb, name, source },
        }
    }

    /// Whether there is no such namespace (any more).
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::NotANetns { .. })
    }
}

impl Netns {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NetnsError> {
        Self::from_file(open_own()?, None)
    }

    /// The namespace that is bind-mounted at a path, or that a `/proc/<pid>/ns/net` names.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref();
        let file =
            File::open(path).map_err(|error| NetnsError::new("open", path.to_string_lossy(), error))?;
        Self::from_file(file, Some(path.to_owned()))
    }

    /// Makes a namespace that lasts until [`Netns::remove_named`], by mounting it on a new file at the path.
    /// The folder must exist; the path must not.
    pub fn create_named(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref();
        let failed = |error: io::Error| NetnsError::new("create", path.to_string_lossy(), error);
        OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        let mounted = on_new_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        });
        if let Err(errno) = mounted.map_err(failed)? {
            // The file is ours and empty; the error that matters is the first one.
            let _ = fs::remove_file(path);
            return Err(failed(errno.into()));
        }
        Self::open(path)
    }

    /// Makes a namespace that lasts as long as this handle, or a process or link, holds it.
    pub fn create_anonymous() -> Result<Self, NetnsError> {
        let failed = |error: io::Error| NetnsError::new("create", "(anonymous)", error);
        let file = on_new_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
            open_own()
        });
        Self::from_file(file.map_err(failed)??, None)
    }

    /// Unmounts and removes a named namespace. The namespace itself dies with its last user. Removing what is
    /// not there succeeds.
    pub fn remove_named(path: impl AsRef<Path>) -> Result<(), NetnsError> {
        let path = path.as_ref();
        let failed = |error: io::Error| NetnsError::new("remove", path.to_string_lossy(), error);
        match umount2(path, MntFlags::MNT_DETACH) {
            // EINVAL: a file nothing is mounted on, left by a half-done creation or removal.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno.into())),
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Where the namespace was opened, if by path.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The namespace's identity.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Whether both handles mean the same namespace, whatever paths they came by.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// The same namespace for a caller that lives in `home` and has one thread: this one enters it to work and goes back
    /// home, instead of one that is made for it.
    #[must_use]
    pub fn returning_to(self, home: &Self) -> Self {
        Self { home: Some(Arc::clone(&home.fd)), ..self }
    }

    /// Runs `work` inside the namespace, on a thread made for it, and waits for its result. If the caller is inside
    /// already, as the plugin is in the host's, its own thread will do; or if the handle says that it comes back.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        if let Some(home) = &self.home {
            return self.enter_and_return(home, work);
        }
        // One look at the name: opening it, as for a handle to keep, would be four calls more each time.
        if stat(OWN).is_ok_and(|own| NetnsId::of(&own) == self.id) {
            return Ok(work());
        }
        let outcome = on_new_thread(|| self.enter().map(|()| work()));
        outcome.map_err(|error| NetnsError::new("enter", self.name(), error))?
    }

    fn enter_and_return<T>(&self, home: &OwnedFd, work: impl FnOnce() -> T) -> Result<T, NetnsError> {
        self.enter()?;
        let outcome = panic::catch_unwind(AssertUnwindSafe(work));
        setns(home, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NetnsError::new("come back from", self.name(), errno))?;
        outcome.or_else(|panic| panic::resume_unwind(panic))
    }

    fn enter(&self) -> Result<(), NetnsError> {
        setns(&*self.fd, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            // The magic number was right, so it is a namespace of another type.
            Errno::EINVAL => NetnsError::NotANetns { path: self.name().into() },
            errno => NetnsError::new("enter", self.name(), errno),
        })
    }

    fn name(&self) -> String {
        match &self.path {
            Some(path) => path.to_string_lossy().into_owned(),
            None => format!("net:[{}]", self.id.inode),
        }
    }

    fn from_file(file: File, path: Option<PathBuf>) -> Result<Self, NetnsError> {
        let name = || path.as_ref().map_or_else(|| OWN.into(), |path| path.to_string_lossy().into_owned());
        let failed = |errno: Errno| NetnsError::new("open", name(), errno);
        if fstatfs(&file).map_err(failed)?.filesystem_type() != NSFS_MAGIC {
            return Err(NetnsError::NotANetns { path: name().into() });
        }
        let id = NetnsId::of(&fstat(&file).map_err(failed)?);
        Ok(Self { fd: Arc::new(file.into()), path, id, home: None })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open_own() -> Result<File, NetnsError> {
    File::open(OWN).map_err(|error| NetnsError::new("open", OWN, error))
}

/// Runs `work` on a thread that ends with it. A panic in `work` goes on in the caller.
fn on_new_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        worker.join().or_else(|panic| panic::resume_unwind(panic))
    })
}
