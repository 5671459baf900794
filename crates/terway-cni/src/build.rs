//! What ADD does with the daemon's answer: plans that this node's kernel can carry out, their layouts, and those in the
//! kernel, all or none.

use std::path::Path;
use std::time::{Duration, Instant};

use cni_protocol::CniResult;
use terway_datapath::apply::{AttachmentContext, Connections, Step, apply_over};
use terway_datapath::kernel::Netlink;
use terway_rpc::wire;
use terway_types::{Fault, FaultCode, InterfacePlan};

use crate::add::also;
use crate::blueprint::{Blueprint, Node, lay_out};
use crate::daemon_client::Daemon;
use crate::erdma::leave_to_policy_routing;
use crate::netconf::Options;
use crate::plan::{plans, seen_at, virtual_functions};
use crate::queueing::{Notice, heed_kernel, unheeded};
use crate::sandbox::Sandbox;
use crate::subject::Subject;
use crate::teardown::{Known, tear_down};
use crate::virtual_function::make_ready;
use crate::virtual_type::{fall_back, kernel_has_ipvlan, wants_ipvlan};
use crate::{outcome, timeline};

/// How long the netdev of an ENI that is attached may take to show up.
const NIC_PATIENCE: Duration = Duration::from_secs(10);

/// An ENI's hardware address and its place on the PCI bus.
type OnTheBus = (String, String);

/// Builds what the daemon answered, all interfaces or none.
pub(crate) fn build(
    reply: &wire::AllocateReply,
    subject: &Subject,
    options: &Options,
    sandbox: &mut Sandbox,
    (daemon, mut node): (&Daemon, Node),
) -> Result<CniResult, Fault> {
    let (plans, mut notices) = plans_for_kernel(reply, subject, options, sandbox)?;
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
    let on_the_bus = apply_all(&blueprints, subject, sandbox, &mut outside)?;
    let netns = sandbox.pod.path().map(|path| path.to_string_lossy()).unwrap_or_default();
    let mut result = outcome::result(&blueprints, &netns);
    for interface in result.interfaces.iter_mut().filter(|interface| interface.sandbox.is_some()) {
        let own = |(mac, _): &&OnTheBus| interface.mac.as_ref() == Some(mac);
        interface.pci_id = on_the_bus.iter().find(own).map(|(_, pci)| pci.clone());
    }
    Ok(result)
}

/// The plans of the answer without what this kernel lacks, and what a person has to know about that.
fn plans_for_kernel(
    reply: &wire::AllocateReply,
    subject: &Subject,
    options: &Options,
    sandbox: &Sandbox,
) -> Result<(Vec<InterfacePlan>, Vec<Notice>), Fault> {
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
    Ok((plans, notices))
}

/// Makes every interface or none, and tells where on the PCI bus ENIs are that are the pod's own.
fn apply_all(
    blueprints: &[Blueprint],
    subject: &Subject,
    sandbox: &mut Sandbox,
    host: &mut Netlink,
) -> Result<Vec<OnTheBus>, Fault> {
    let mut on_the_bus = Vec::new();
    for (at, blueprint) in blueprints.iter().enumerate() {
        match apply(blueprint, sandbox, host) {
            Ok(pci) => on_the_bus.extend(pci.map(|pci| (blueprint.plan.mac.to_string(), pci))),
            Err(fault) => {
                // A failed one has undone itself; those before it are complete.
                let undone = if at == 0 { Ok(()) } else { undo(&blueprints[..at], subject, sandbox) };
                return Err(undone.err().map_or(fault.clone(), |second| also(fault, &second)));
            }
        }
    }
    Ok(on_the_bus)
}

fn apply(blueprint: &Blueprint, sandbox: &mut Sandbox, host: &mut Netlink) -> Result<Option<String>, Fault> {
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
    applied.map(|applied| applied.pci).map_err(|error| error.fault())
}

fn undo(built: &[Blueprint], subject: &Subject, sandbox: &Sandbox) -> Result<(), Fault> {
    let known = Known::of(built.iter().map(|blueprint| &blueprint.plan));
    tear_down(&subject.key, &known, &sandbox.host, Some(&sandbox.pod))
}
