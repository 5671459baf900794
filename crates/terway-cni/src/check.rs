//! CHECK: what the daemon says the attachment should be is laid out anew and compared with the kernel and
//! with the result the runtime has kept. Every drift is named; nothing is repaired.

use std::time::{Duration, Instant};

use cni_protocol::{CheckRequest, CniResult};
use terway_datapath::attachment_lock;
use terway_datapath::{diff, observe};
use terway_types::{Fault, FaultCode};

use crate::blueprint::{Blueprint, Node, lay_out};
use crate::daemon_client::Daemon;
use crate::erdma::leave_to_policy_routing;
use crate::netconf::{Options, Paths};
use crate::plan::{plans, seen_at};
use crate::queueing::heed_kernel;
use crate::sandbox::Sandbox;
use crate::subject::Subject;
use crate::virtual_type::as_built;
use crate::{erdma, outcome, timeline};

/// How long an ADD or DEL of the same attachment may take to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn check(request: &CheckRequest) -> Result<(), Fault> {
    let conf = &request.context.config;
    let options = Options::read(conf)?;
    let paths = Paths::read(conf)?;
    let subject = Subject::of(&request.attachment, &request.context)?;
    let sandbox = Sandbox::open(&request.netns)?;
    timeline::until("prepare");
    let daemon = Daemon::connect(&paths.socket)?;
    timeline::until("connect");
    let reply = daemon.info(&subject.info_request())?;
    timeline::until("daemon");
    // Not before: a daemon that has just started looks at the attachment first, which takes the lock.
    let _lock = attachment_lock::acquire(&paths.run_dir, &subject.key, LOCK_PATIENCE)?;
    let mut plans = plans(reply.r#type, &reply.interfaces, &subject.key, &options)?;
    if plans.is_empty() {
        let what = format!("terwayd knows no attachment {}", subject.key);
        return Err(Fault::new(FaultCode::AttachmentUnknown, what));
    }
    as_built(&mut plans, &sandbox.pod)?;
    erdma::as_built(&mut plans, &subject, &sandbox.host)?;
    leave_to_policy_routing(&mut plans);
    // As at ADD; what the kernel lacks has been told then.
    heed_kernel(&mut plans, &sandbox.host)?;
    let kept = request.prev_result.as_ref().ok_or_else(|| {
        Fault::new(FaultCode::ConfigInvalid, "CHECK needs prevResult, the result of ADD")
            .remedy("call CHECK through a runtime that has kept the result")
    })?;
    let seen = seen_at(&reply.interfaces);
    let blueprints =
        lay_out(plans, &subject, (&sandbox.host, Node::default()), options.auto_mtu, &seen, Instant::now())?;
    timeline::until("facts");
    let mut drifts = kernel_drifts(&blueprints, &sandbox)?;
    timeline::until("observe");
    drifts.extend(kept_drifts(&kept.result, &blueprints, &request.netns));
    verdict(&subject, &drifts)
}

fn kernel_drifts(blueprints: &[Blueprint], sandbox: &Sandbox) -> Result<Vec<String>, Fault> {
    let mut drifts = Vec::new();
    for Blueprint { layout, .. } in blueprints {
        let observed = observe(layout, &sandbox.host, &sandbox.pod).map_err(|error| {
            let what = format!("failed to look at attachment {}", layout.key);
            Fault::new(FaultCode::KernelRefused, what).caused_by(&error)
        })?;
        drifts.extend(diff(layout, &observed).iter().map(ToString::to_string));
    }
    Ok(drifts)
}

fn kept_drifts(kept: &CniResult, blueprints: &[Blueprint], netns: &str) -> Vec<String> {
    outcome::deviations(kept, &outcome::result(blueprints, netns))
}

fn verdict(subject: &Subject, drifts: &[String]) -> Result<(), Fault> {
    if drifts.is_empty() {
        return Ok(());
    }
    let count = drifts.len();
    let respects = if count == 1 { "respect" } else { "respects" };
    let what = format!("attachment {} is not as it was made, in {count} {respects}", subject.key);
    Err(Fault::new(FaultCode::Drift, what).because(drifts.join("; ")))
}
