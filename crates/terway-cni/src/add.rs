//! ADD: everything that can be wrong is looked at first; then the daemon gives the ENI, then the kernel
//! gets its state. If that fails, nothing of it stays: not in the kernel, not in the pool.

use std::path::Path;
use std::time::{Duration, Instant};

use cni_protocol::{AddRequest, CniResult};
use terway_datapath::apply::{Applied, AttachmentContext, Connections, Step, apply_over};
use terway_datapath::attachment_lock::{self, AttachmentLock};
use terway_datapath::kernel::Netlink;
use terway_rpc::wire;
use terway_types::{AttachmentKey, Fault, FaultCode, Timestamp};

use crate::blueprint::{Blueprint, Node, lay_out};
use crate::daemon_client::{Daemon, is_away};
use crate::erdma::leave_to_policy_routing;
use crate::netconf::{Options, Paths};
use crate::plan::{plans, seen_at, virtual_functions};
use crate::queueing::{Notice, heed_kernel, unheeded};
use crate::release::release;
use crate::sandbox::Sandbox;
use crate::subject::{Subject, refuse_unknown_args};
use crate::teardown::{Known, tear_down};
use crate::virtual_function::make_ready;
use crate::virtual_type::{fall_back, kernel_has_ipvlan, wants_ipvlan};
use crate::{daemon_start, outcome, spool, timeline};

/// How long an older call for the same attachment may take to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the netdev of an ENI that is attached may take to show up.
const NIC_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn add(request: &AddRequest, now: Timestamp) -> Result<CniResult, Fault> {
    let context = &request.context;
    let paths = Paths::read(&context.config)?;
    let options = Options::read(&context.config)?;
    let until = Instant::now() + options.allocate_timeout;
    // It takes the daemon as long to accept as this side to look at the pod. One that does not accept is waited for when
    // everything else is right.
    let mut early = Daemon::open(&paths.socket, Duration::ZERO).ok();
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

/// Builds what the daemon answered, all interfaces or none.
fn build(
    reply: &wire::AllocateReply,
    subject: &Subject,
    options: &Options,
    sandbox: &mut Sandbox,
    (daemon, mut node): (&Daemon, Node),
) -> Result<CniResult, Fault> {
    let mut plans = plans(reply.r#type, &reply.interfaces, &subject.key, options)?;
    if !reply.success || plans.is_empty() {
        let what = format!("terwayd answered without an interface for {}", subject.key);
        return Err(Fault::new(FaultCode::Internal, what));
    }
    let mut notices = Vec::new();
    if wants_ipvlan(&plans) && !kernel_has_ipvlan(&sandbox.host)? {
        notices.push(fall_back(&mut plans, options.require_virtual_type)?);
    }
    notices.extend(heed_kernel(&mut plans, &sandbox.host)?);
    notices.extend(leave_to_policy_routing(&mut plans));
    for (vf, mac) in virtual_functions(&reply.interfaces) {
        make_ready(Path::new("/"), vf, mac, &sandbox.host)?;
    }
    let mut outside = node.connection(&sandbox.host).map_err(|error| error.fault())?;
    let seen = seen_at(&reply.interfaces);
    let deadline = Instant::now() + NIC_PATIENCE;
    let blueprints = lay_out(plans, subject, (&sandbox.host, node), options.auto_mtu, &seen, deadline)?;
    notices.extend(unheeded(options.queueing, &blueprints));
    for Notice { reason, words } in &notices {
        daemon.tell(&subject.warning(reason, words));
    }
    daemon.hang_up();
    timeline::until("facts");
    let mut on_the_bus = Vec::new();
    for (at, blueprint) in blueprints.iter().enumerate() {
        match apply(blueprint, sandbox, &mut outside) {
            Ok(applied) => on_the_bus.extend(applied.pci.map(|pci| (blueprint.plan.mac.to_string(), pci))),
            Err(fault) => {
                // A failed one has undone itself; those before it are complete.
                let undone = if at == 0 { Ok(()) } else { undo(&blueprints[..at], subject, sandbox) };
                return Err(undone.err().map_or(fault.clone(), |second| also(fault, &second)));
            }
        }
    }
    let netns = sandbox.pod.path().map(|path| path.to_string_lossy()).unwrap_or_default();
    let mut result = outcome::result(&blueprints, &netns);
    for interface in result.interfaces.iter_mut().filter(|interface| interface.sandbox.is_some()) {
        let own = |(mac, _): &&(String, String)| interface.mac.as_ref() == Some(mac);
        interface.pci_id = on_the_bus.iter().find(own).map(|(_, pci)| pci.clone());
    }
    Ok(result)
}

fn apply(blueprint: &Blueprint, sandbox: &mut Sandbox, host: &mut Netlink) -> Result<Applied, Fault> {
    let context = AttachmentContext {
        host: &sandbox.host,
        pod: &sandbox.pod,
        rule: &blueprint.nic_rule(),
        nic_index: blueprint.nic_index,
        deadline: Instant::now() + NIC_PATIENCE,
        before_step: Some(&timeline::steps()),
    };
    let connections = Connections { host, pod: &mut sandbox.inside, there: sandbox.there.take() };
    let applied = apply_over(connections, &blueprint.layout, &context);
    timeline::until(timeline::name(Step::Loopback));
    applied.map_err(|error| error.fault())
}

fn undo(built: &[Blueprint], subject: &Subject, sandbox: &Sandbox) -> Result<(), Fault> {
    let known = Known::of(built.iter().map(|blueprint| &blueprint.plan));
    tear_down(&subject.key, &known, &sandbox.host, Some(&sandbox.pod))
}

/// The first failure is the one to mend; the second says what else is left to do.
fn also(first: Fault, second: &Fault) -> Fault {
    let cause = match first.cause.as_str() {
        "" => format!("and to undo it failed: {second}"),
        cause => format!("{cause}; and to undo it failed: {second}"),
    };
    first.because(cause)
}
