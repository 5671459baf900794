//! ADD: everything that can be wrong is looked at first; then the daemon gives the ENI, then the kernel
//! gets its state. If that fails, nothing of it stays: not in the kernel, not in the pool.

use std::thread;
use std::time::{Duration, Instant};

use cni_protocol::{AddRequest, CniResult};
use terway_datapath::attachment_lock::{self, AttachmentLock};
use terway_types::{AttachmentKey, Fault, FaultCode, Timestamp};

use crate::blueprint::Node;
use crate::build::build;
use crate::daemon_client::{Daemon, is_away};
use crate::netconf::{Options, Paths};
use crate::release::release;
use crate::sandbox::Sandbox;
use crate::subject::{Subject, refuse_unknown_args};
use crate::{daemon_start, spool, timeline};

/// How long an older call for the same attachment may take to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn add(request: &AddRequest, now: Timestamp) -> Result<CniResult, Fault> {
    let context = &request.context;
    let paths = Paths::read(&context.config)?;
    let options = Options::read(&context.config)?;
    let until = Instant::now() + options.allocate_timeout;
    // It takes the daemon as long to accept as this side to look at the pod. One that does not accept is waited for when
    // everything else is right.
    let mut early = Daemon::open(&paths.socket, Duration::ZERO).ok();
    // It may have been woken on this very processor, and would begin when this side waits.
    thread::yield_now();
    let subject = Subject::of(&request.attachment, context)?;
    refuse_unknown_args(context)?;
    let mut sandbox = Sandbox::open(&request.netns)?;
    let _lock = lock(&paths, &subject.key, &mut early)?;
    sandbox.require_free(&subject.key.ifname)?;
    spool::withdraw(&paths.spool(), &subject.key)?;

    timeline::until("prepare");
    // The daemon may have ended since.
    let early = early.filter(Daemon::is_there);
    let daemon = early.map_or_else(|| daemon_start::connect(&paths.socket, until), Ok)?;
    timeline::until("connect");
    let mut node = Node::default();
    let asked = subject.allocate_request(&request.netns, context);
    let reply = daemon.allocate(&asked, until, || node = Node::look(&sandbox.host));
    daemon.hang_up();
    timeline::until("daemon");
    let built = match reply {
        Ok(reply) => build(&reply, &subject, &options, &mut sandbox, (&daemon, node)),
        // It may have been given without our hearing of it.
        Err(fault) if is_away(&fault) => Err(fault),
        Err(fault) => return Err(fault),
    };
    match built {
        Ok(result) => Ok(result),
        Err(fault) => {
            let undone = release(Ok(&daemon), &paths, &subject, None, "ADD failed", now);
            Err(undone.err().map_or(fault.clone(), |second| also(fault, &second)))
        }
    }
}

/// Waits for an older call for the same attachment. Not with the daemon on the line: one that ends waits for everybody
/// who is, and would not be there any more to be asked.
fn lock(paths: &Paths, key: &AttachmentKey, early: &mut Option<Daemon>) -> Result<AttachmentLock, Fault> {
    match attachment_lock::acquire(&paths.run_dir, key, Duration::ZERO) {
        Err(fault) if fault.code == FaultCode::AttachmentBusy => {
            early.take();
            attachment_lock::acquire(&paths.run_dir, key, LOCK_PATIENCE)
        }
        outcome => outcome,
    }
}

/// The first failure is the one to mend; the second says what else is left to do.
pub(crate) fn also(first: Fault, second: &Fault) -> Fault {
    let cause = match first.cause.as_str() {
        "" => format!("and to undo it failed: {second}"),
        cause => format!("{cause}; and to undo it failed: {second}"),
    };
    first.because(cause)
}
