//! Giving back what an attachment holds: to the daemon, or to the spool if the daemon is away. Either way
//! nothing is lost, and the caller may go on.

use terway_types::{Fault, MacAddr, Timestamp};

use crate::daemon_client::{Daemon, is_away};
use crate::netconf::Paths;
use crate::spool::{self, Release};
use crate::subject::Subject;

/// Releases, and says whether others are on the ENI for certain; fails only if neither daemon nor spool takes it.
pub(crate) fn release(
    daemon: Result<&Daemon, &Fault>,
    paths: &Paths,
    subject: &Subject,
    mac: Option<MacAddr>,
    reason: &str,
    now: Timestamp,
) -> Result<bool, Fault> {
    let answer =
        daemon.map_err(Clone::clone).and_then(|daemon| daemon.release(&subject.release_request(reason)));
    match answer {
        Ok(reply) => Ok(reply.eni_in_use),
        Err(fault) if is_away(&fault) => {
            let entry = Release { key: &subject.key, pod: &subject.pod, mac, at: now };
            spool::write(&paths.spool(), &entry)?;
            eprintln!("terway: the release of {} waits in the spool: {fault}", subject.key);
            Ok(false)
        }
        Err(fault) => Err(fault),
    }
}
