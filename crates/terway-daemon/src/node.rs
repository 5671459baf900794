//! How far the daemon is: starting (and what it waits for), serving, or stopping. Everyone who answers
//! somebody looks here first.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ipnetwork::IpNetwork;
use terway_datapath::kernel::rdma::device_of;
use terway_ledger::LedgerReader;
use terway_pool::{Pool, PoolView};
use terway_rpc::{InterfaceParts, wire};
use terway_types::fault::chain;
use terway_types::{Addresses, EniRecord, Fault, FaultCode, MacAddr, NodeMode, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::clock;
use crate::driver::DriverHandle;
use crate::events::Events;
use crate::grace::Grace;
use crate::inventory::Inspector;
use crate::links::Places;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::mode::Standing;
use crate::turns::Turns;

/// How far the daemon is.
#[derive(Clone, Debug)]
pub enum State {
    /// Not there yet; the fault says what it waits for.
    Starting(Fault),
    /// The pool runs.
    Serving(Arc<Serving>),
    /// On its way out.
    Stopping,
}

/// What there is while the pool runs.
#[derive(Debug)]
pub struct Serving {
    /// The pool's thread.
    pub driver: DriverHandle,
    /// Settings and facts as they are now.
    pub live: watch::Receiver<Arc<Live>>,
    /// The cloud's name.
    pub provider: &'static str,
    /// What every interface is told besides its ENI.
    pub interface: InterfaceSettings,
    /// Where the node's NICs are.
    pub places: Arc<Places>,
    /// The node's mode.
    pub standing: Standing,
    /// Who looks at all ENIs; nobody where a node has none.
    pub inspector: Option<Inspector>,
    /// What was.
    pub history: LedgerReader,
    /// Whether the node goes away.
    pub retired: AtomicBool,
}

impl Serving {
    /// What the plugin is told about an ENI it may use, or the addresses it may use of one; with a hint where the ENI's
    /// netdev is.
    pub fn interface(&self, eni: &EniRecord, addresses: Addresses) -> Result<wire::Interface, Fault> {
        let parts = self.interface.interface(eni, addresses)?;
        let mut message = wire::Interface::from(&parts);
        if let Some(eni) = &mut message.eni {
            eni.link_index = self.places.of(parts.mac).unwrap_or_default();
        }
        Ok(message)
    }

    /// What is not as the operator asked, and for how long that is so.
    pub fn notices(&self) -> Vec<String> {
        let remembered = self.live.borrow().remembered.then(|| {
            "the cloud did not answer at the start: warm ENIs are served by the facts of the start before"
                .to_owned()
        });
        let retired = self
            .retired
            .load(Ordering::Relaxed)
            .then(|| "the node goes away: nobody new is served until terwayd is started again".to_owned());
        self.standing.refusal().into_iter().chain(remembered).chain(retired).collect()
    }
}

/// The parts of an interface that are the same for all pods of the node.
#[derive(Clone, Debug)]
pub struct InterfaceSettings {
    /// Service CIDRs of the cluster.
    pub service_cidrs: Vec<IpNetwork>,
    /// Kernel link kinds that count as a NIC besides those without any.
    pub nic_kinds: Vec<String>,
    /// Whether pods get IPv6.
    pub ipv6: bool,
    /// Whether pods get ENIs, addresses of shared ones, or addresses that the VPC leads to the node.
    pub mode: NodeMode,
    /// The hardware address of the node's own NIC.
    pub node_mac: MacAddr,
    /// The node's root folder, where pods use the RDMA devices of ENIs that have one.
    pub erdma: Option<PathBuf>,
}

/// The daemon as its services see it.
#[derive(Debug)]
pub struct Node {
    state: watch::Receiver<State>,
    /// Calls about one attachment take turns.
    pub turns: Turns,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// What the operator should have heard of.
    pub events: Arc<Events>,
    /// Makes moves of NICs shorter.
    pub grace: Arc<Grace>,
    /// When this process started.
    pub started: Timestamp,
    /// Where the configuration is.
    pub config: PathBuf,
    /// Whether what is on the node for pods has been looked at since the start, if somebody does.
    pub looked: Arc<watch::Sender<bool>>,
}

impl Node {
    /// A daemon that is starting, and the end by which to tell how far it is.
    pub fn new(metrics: Arc<Metrics>, started: Timestamp, config: PathBuf) -> (Self, watch::Sender<State>) {
        let fault = Fault::new(FaultCode::DaemonStarting, "terwayd is starting");
        let (sender, state) = watch::channel(State::Starting(fault));
        let events = Arc::new(Events::new(clock::system));
        let looked = Arc::new(watch::Sender::new(true));
        let (turns, grace) = (Turns::default(), Arc::default());
        (Self { state, turns, metrics, events, grace, started, config, looked }, sender)
    }

    /// What there is while the pool runs, for a caller who wants something done. Whatever the daemon waits
    /// for, the caller is told that it is not there yet, so that a release is kept and not taken for refused.
    pub fn serving(&self) -> Result<Arc<Serving>, Fault> {
        self.progress().map_err(|fault| match fault.code {
            FaultCode::DaemonStarting | FaultCode::DaemonUnreachable => fault,
            code => {
                let cause =
                    [code.name(), &fault.what, &fault.cause].into_iter().filter(|part| !part.is_empty());
                Fault::new(FaultCode::DaemonStarting, "terwayd cannot serve yet")
                    .because(cause.collect::<Vec<_>>().join(": "))
                    .remedy(fault.remedy)
            }
        })
    }

    /// The same for a caller with time: a start that has met no obstacle is waited for, until then at the longest.
    pub async fn serving_by(&self, until: Instant) -> Result<Arc<Serving>, Fault> {
        let mut state = self.state.clone();
        let told = |state: &State| !matches!(state, State::Starting(fault) if fault.code == FaultCode::DaemonStarting);
        // Out of time, or the daemon gone: what it is now is the answer.
        let _ = timeout_at(until.into(), state.wait_for(told)).await;
        self.serving()
    }

    /// Whether whoever connects is about to move a NIC, once it is known: where pods have ENIs of their own, that is mostly
    /// what he came for.
    pub fn moves(&self) -> Option<bool> {
        self.progress().ok().map(|serving| serving.interface.mode == NodeMode::Exclusive)
    }

    /// Waits until what is on the node for pods has been looked at since the start, until then at the longest.
    pub async fn looked_by(&self, until: Instant) {
        let mut looked = self.looked.subscribe();
        // Out of time: then it is told as it is.
        let _ = timeout_at(until.into(), looked.wait_for(|looked| *looked)).await;
    }

    /// What there is while the pool runs, or what it waits for.
    pub fn progress(&self) -> Result<Arc<Serving>, Fault> {
        match &*self.state.borrow() {
            State::Serving(serving) => Ok(Arc::clone(serving)),
            State::Starting(fault) => Err(fault.clone()),
            State::Stopping => Err(Fault::new(FaultCode::DaemonUnreachable, "terwayd is shutting down")),
        }
    }

    /// The pool now, or why there is none.
    pub async fn pool(&self) -> Result<PoolView, Fault> {
        self.progress()?.driver.look(Pool::view).await
    }
}

impl InterfaceSettings {
    /// What the plugin is told about an ENI it may use, or the addresses it may use of one.
    pub fn interface(&self, eni: &EniRecord, addresses: Addresses) -> Result<InterfaceParts, Fault> {
        let parts = match self.mode {
            NodeMode::Exclusive => InterfaceParts::of_eni(eni),
            NodeMode::Shared => InterfaceParts::of_shared_eni(eni, addresses),
            NodeMode::VpcRoute => InterfaceParts::of_route(eni, addresses, self.node_mac),
        };
        let parts = parts.map_err(|error| {
            Fault::new(FaultCode::Internal, format!("ENI {} cannot be described", eni.token))
                .caused_by(&error)
        })?;
        Ok(InterfaceParts {
            erdma: self.has_rdma(parts.mac),
            service_cidrs: self.service_cidrs.clone(),
            nic_kinds: self.nic_kinds.clone(),
            ..parts
        })
    }

    /// Whether the ENI is one for eRDMA. One whose devices cannot be told apart is none.
    fn has_rdma(&self, mac: MacAddr) -> bool {
        let Some(root) = &self.erdma else { return false };
        let device = device_of(root, mac);
        device
            .inspect_err(|error| tracing::warn!(error = chain(error), "no eRDMA"))
            .is_ok_and(|found| found.is_some())
    }

    /// What an answer says it is about.
    pub fn attachment_type(&self) -> wire::AttachmentType {
        match self.mode {
            NodeMode::Exclusive => wire::AttachmentType::TypeVpceni,
            NodeMode::Shared => wire::AttachmentType::TypeEniMultiIp,
            NodeMode::VpcRoute => wire::AttachmentType::TypeVpcip,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn an_eni_is_for_erdma_if_the_node_has_its_device() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/class/infiniband/erdma_0");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("node_guid"), "0216:3eff:fe01:0203\n").unwrap();
        let settings = |erdma| InterfaceSettings {
            service_cidrs: vec![],
            nic_kinds: vec![],
            ipv6: false,
            mode: NodeMode::Shared,
            node_mac: MacAddr([2; 6]),
            erdma,
        };
        let own = MacAddr([0, 0x16, 0x3e, 1, 2, 3]);
        assert!(settings(Some(root.path().to_owned())).has_rdma(own));
        assert!(!settings(Some(root.path().to_owned())).has_rdma(MacAddr([0, 0x16, 0x3e, 1, 2, 4])));
        assert!(!settings(None).has_rdma(own), "nobody asked for it");
    }

    fn code(answer: Result<Arc<Serving>, Fault>) -> (FaultCode, String) {
        let fault = answer.unwrap_err();
        (fault.code, fault.cause)
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_with_time_waits_until_a_start_has_something_to_tell() {
        let (node, state) = Node::new(Arc::default(), Timestamp::default(), PathBuf::new());
        let node = Arc::new(node);
        let wait = |patience| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { code(node.serving_by(Instant::now() + patience).await) })
        };
        let short = wait(Duration::from_secs(1)).await.unwrap();
        assert_eq!(short, (FaultCode::DaemonStarting, String::new()), "out of time");
        let waiting = wait(Duration::from_hours(1));
        yield_now().await;
        assert!(!waiting.is_finished());
        state.send_replace(State::Starting(Fault::new(FaultCode::CloudDenied, "no key")));
        let (refused, cause) = waiting.await.unwrap();
        assert_eq!((refused, &*cause), (FaultCode::DaemonStarting, "cloud-denied: no key"));
        let at_once = wait(Duration::ZERO).await.unwrap();
        assert_eq!(at_once.1, cause);
        state.send_replace(State::Stopping);
        assert_eq!(wait(Duration::from_hours(1)).await.unwrap().0, FaultCode::DaemonUnreachable);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_about_a_pod_waits_for_the_first_look_at_it() {
        let (node, _state) = Node::new(Arc::default(), Timestamp::default(), PathBuf::new());
        let node = Arc::new(node);
        node.looked_by(Instant::now()).await;
        node.looked.send_replace(false);
        let wait = |patience| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.looked_by(Instant::now() + patience).await })
        };
        wait(Duration::from_secs(1)).await.unwrap();
        let waiting = wait(Duration::from_hours(1));
        yield_now().await;
        assert!(!waiting.is_finished());
        node.looked.send_replace(true);
        waiting.await.unwrap();
    }
}
