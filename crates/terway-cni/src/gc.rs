//! GC: the daemon releases every attachment of this network that is not listed; what such an attachment
//! left in the kernel goes with it. Failures do not stop the rest; all are reported.

use std::path::Path;
use std::time::Duration;

use cni_protocol::{Attachment, GcRequest, ValidAttachments};
use terway_datapath::rules;
use terway_rpc::wire;
use terway_types::{AttachmentKey, Fault, FaultCode};

use crate::daemon_client::Daemon;
use crate::netconf::Paths;
use crate::teardown::{Known, lock, tear_down};
use crate::{sandbox, subject};

/// How long another call for an attachment may take to end. Usually it is a DEL, which does the same.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn gc(request: &GcRequest) -> Result<(), Fault> {
    let network = &request.context.config.name;
    let mut valid = valid_keys(network, &request.valid)?;
    let paths = Paths::read(&request.context.config)?;
    let daemon = Daemon::connect(&paths.socket)?;
    let mut faults = Vec::new();
    if valid.is_empty() {
        (valid, faults) = still_alive(&daemon.attachments_of(network)?);
        faults.extend(contradiction(&valid));
    }
    let message = wire::CollectGarbageRequest {
        network: network.clone(),
        valid: valid.iter().map(wire::Attachment::from).collect(),
    };
    let reply = daemon.collect_garbage(&message)?;
    faults.extend(reply.faults.into_iter().map(Fault::from));
    let cleaned = reply.released.iter().map(|released| clean(released, &valid, &paths.run_dir));
    faults.extend(cleaned.filter_map(Result::err));
    // What is left of attachments that nobody can name any more.
    faults.extend(rules::sweep(&sandbox::host()?).err().map(|error| error.fault()));
    combined(network, faults)
}

/// What must stay. Null is how a runtime without any valid attachment may write its empty list; no list at
/// all says nothing about anything, so nothing may be deleted by it.
fn valid_keys(network: &str, valid: &ValidAttachments) -> Result<Vec<AttachmentKey>, Fault> {
    let list: &[Attachment] = match valid {
        ValidAttachments::Absent => {
            let what = "GC without cni.dev/valid-attachments: everything would be garbage";
            return Err(Fault::new(FaultCode::GcUnbounded, what));
        }
        ValidAttachments::Null => &[],
        ValidAttachments::Listed(list) => list,
    };
    list.iter().map(|attachment| subject::key(network, attachment)).collect()
}

/// An empty list would delete everything, and runtimes are known to send one by mistake, so it has to agree
/// with what can be seen: an attachment stays unless its namespace is known to be gone, and whatever else kept it from
/// being opened is told. This is looked at here and not in the daemon, whose mounts need not show the host's namespaces.
fn still_alive(known: &[wire::AttachmentView]) -> (Vec<AttachmentKey>, Vec<Fault>) {
    let (mut alive, mut faults) = (Vec::new(), Vec::new());
    for view in known {
        let Some(Ok(key)) = view.attachment.as_ref().map(AttachmentKey::try_from) else { continue };
        match sandbox::open(&view.netns) {
            Ok(_) => {}
            Err(error) if error.is_gone() => continue,
            Err(error) => {
                let what = format!("the namespace {:?} of {key} cannot be opened", view.netns);
                faults.push(Fault::new(FaultCode::NetnsInvalid, what).caused_by(&error));
            }
        }
        alive.push(key);
    }
    (alive, faults)
}

fn contradiction(alive: &[AttachmentKey]) -> Option<Fault> {
    let names: Vec<String> = alive.iter().map(ToString::to_string).collect();
    let what = format!(
        "GC lists no valid attachment, but the namespaces of these are not known to be gone, so they stay: {}",
        names.join(", ")
    );
    (!alive.is_empty())
        .then(|| Fault::new(FaultCode::GcUnbounded, what).remedy("list them, or delete their namespaces"))
}

/// Removes what a released attachment left in the host. Its namespace is gone, or will be (SPEC, GC).
fn clean(released: &wire::Attachment, valid: &[AttachmentKey], run_dir: &Path) -> Result<(), Fault> {
    let key = AttachmentKey::try_from(released).map_err(|error| {
        Fault::new(FaultCode::Internal, "terwayd released something without a proper name").caused_by(&error)
    })?;
    if valid.contains(&key) {
        let what = format!("terwayd released {key}, which is listed as valid");
        return Err(Fault::new(FaultCode::Internal, what));
    }
    let lock = lock(run_dir, &key, LOCK_PATIENCE)?;
    tear_down(&key, &Known::default(), &sandbox::host()?, None)?;
    if let Some(lock) = lock {
        lock.retire();
    }
    Ok(())
}

fn combined(network: &str, mut faults: Vec<Fault>) -> Result<(), Fault> {
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        count => {
            let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let what = format!("garbage collection of network {network} had {count} failures");
            Err(Fault::new(faults[0].code, what).because(all.join("; ")).remedy("see each of the causes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(container_id: &str) -> Attachment {
        Attachment { container_id: container_id.to_owned(), ifname: "eth0".to_owned() }
    }

    #[test]
    fn g1_absent_is_refused_null_and_empty_are_lists() {
        let fault = valid_keys("net", &ValidAttachments::Absent).unwrap_err();
        assert_eq!((fault.code, fault.code.cni_code()), (FaultCode::GcUnbounded, 7));
        assert_eq!(valid_keys("net", &ValidAttachments::Null), Ok(vec![]));
        assert_eq!(valid_keys("net", &ValidAttachments::Listed(vec![])), Ok(vec![]));
        let listed = ValidAttachments::Listed(vec![attachment("a")]);
        assert_eq!(valid_keys("net", &listed).unwrap()[0].to_string(), "net/a/eth0");
    }

    #[test]
    fn g2_all_failures_are_reported() {
        assert_eq!(combined("net", vec![]), Ok(()));
        let faults = ["first", "second"].map(|what| Fault::new(FaultCode::KernelRefused, what));
        let fault = combined("net", faults.to_vec()).unwrap_err();
        assert!(fault.cause.contains("first") && fault.cause.contains("second"), "{fault}");
    }

    #[test]
    fn only_a_namespace_that_is_gone_is_a_proof_of_death() {
        let folder = tempfile::tempdir().unwrap();
        let looping = folder.path().join("loop");
        std::os::unix::fs::symlink(&looping, &looping).unwrap();
        let view = |container: &str, netns: &str| wire::AttachmentView {
            attachment: Some((&subject::key("net", &attachment(container)).unwrap()).into()),
            netns: netns.to_owned(),
            ..Default::default()
        };
        let known = [
            view("here", "/proc/thread-self/ns/net"),
            view("gone", "/run/netns/there-is-none"),
            view("unseen", &looping.to_string_lossy()),
        ];
        let (alive, faults) = still_alive(&known);
        let names: Vec<String> = alive.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["net/here/eth0", "net/unseen/eth0"]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].what.contains("net/unseen/eth0"), "{faults:?}");
    }

    #[test]
    fn what_is_valid_is_not_cleaned_even_if_the_daemon_says_so() {
        let key = subject::key("net", &attachment("a")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let fault = clean(&wire::Attachment::from(&key), &[key], folder.path()).unwrap_err();
        assert_eq!(fault.code, FaultCode::Internal);
    }
}
