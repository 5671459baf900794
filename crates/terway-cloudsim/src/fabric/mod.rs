//! The kernel data path: a namespace that plays the VPC, a bridge per vSwitch, a veth pair per attached
//! ENI. One thread owns it and does what the model asks, in order; a watcher tells it of ports that die.
//!
//! Invariant: a port exists exactly while its ENI's link is `Present` in the model; the model alone
//! decides whether a dead port comes back.

mod guard;
mod neighbours;
mod node;
mod port;
mod vpc;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use terway_datapath::kernel::sysctl::SysctlError;
use terway_datapath::kernel::{KernelError, NetnsError};
use terway_datapath::monitor::{LinkEvent, LinkMonitor};
use terway_types::EniId;
use terway_types::fault::chain;

use crate::config::Config;
use crate::live::Live;
use crate::model::{FabricAction, Nic};
use port::Port;
use vpc::Vpc;
pub(crate) use vpc::{API, metadata_address};

/// The data path cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// A namespace cannot be used.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A setting cannot be made.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The VPC's namespace is there already.
    #[error(
        "the VPC's namespace {} exists already: another simulation runs, or one was killed (then: ip netns del vpc)",
        .0.display()
    )]
    InUse(PathBuf),
    /// A server's socket cannot be made in the VPC.
    #[error("failed to listen on {address} in the VPC's namespace")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A part of the world that should be there is not.
    #[error("failed to find {0} in the fabric")]
    Unknown(String),
}

/// What the fabric's thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// The model wants something done.
    Act(FabricAction),
    /// A link of the VPC's namespace is gone.
    Gone(u32),
    /// Links of the VPC's namespace may be gone: look.
    Look,
    /// Say when everything ordered before is done.
    Mark(tokio::sync::oneshot::Sender<()>),
    /// Take everything down.
    Stop,
}

/// The data path.
#[derive(Debug)]
pub(crate) struct Fabric {
    vpc: Vpc,
    /// Where each instance's namespace is bound. Never held open: a node may die.
    nodes: BTreeMap<String, PathBuf>,
    /// Namespaces of nodes that were not there before.
    made: Vec<PathBuf>,
    ports: BTreeMap<EniId, Port>,
}

impl Fabric {
    /// Makes the VPC and the nodes' namespaces. What was made stays on failure until [`Fabric::remove`].
    pub(crate) fn create(config: &Config) -> Result<Self, FabricError> {
        let vpc = Vpc::create(config)?;
        let nodes = config.instances.iter().map(|node| (node.id.clone(), node.netns.clone())).collect();
        let mut fabric = Self { vpc, nodes, made: Vec::new(), ports: BTreeMap::new() };
        match fabric.ensure_nodes() {
            Ok(()) => Ok(fabric),
            Err(error) => {
                fabric.remove();
                Err(error)
            }
        }
    }

    fn ensure_nodes(&mut self) -> Result<(), FabricError> {
        for path in self.nodes.values() {
            if node::ensure(path)? {
                self.made.push(path.clone());
            }
        }
        Ok(())
    }

    /// A listening socket inside the VPC.
    pub(crate) fn listen(&self, address: &str) -> Result<TcpListener, FabricError> {
        self.vpc.listen(address)
    }

    /// Watches for ports that die. Must be called within the runtime.
    pub(crate) fn watch(&self, orders: Sender<Order>) -> Result<tokio::task::JoinHandle<()>, FabricError> {
        let (monitor, _) = LinkMonitor::start(self.vpc.netns())?;
        Ok(tokio::spawn(watch(monitor, orders)))
    }

    /// Makes an ENI's link in its node.
    pub(crate) fn plug(&mut self, nic: &Nic) -> Result<(), FabricError> {
        let path = self.nodes.get(nic.instance.as_str());
        let path = path.ok_or_else(|| FabricError::Unknown(format!("instance {}", nic.instance)))?;
        let port = port::plug(&mut self.vpc, nic, path)?;
        self.ports.insert(nic.eni.clone(), port);
        Ok(())
    }

    /// Makes the guard of an ENI's port fit its addresses. One without a port has nothing to guard.
    fn guard(&mut self, nic: &Nic) -> Result<(), FabricError> {
        match self.ports.get_mut(&nic.eni) {
            Some(port) => port.fit(&mut self.vpc, nic),
            None => Ok(()),
        }
    }

    fn unplug(&mut self, eni: &EniId) -> Result<(), FabricError> {
        match self.ports.remove(eni) {
            Some(port) => port::unplug(&mut self.vpc, &port),
            None => Ok(()),
        }
    }

    /// The ENIs whose ports are gone, by what is told of the VPC's links. Their ports are forgotten.
    fn dead(&mut self, is_dead: impl Fn(u32) -> bool) -> Vec<EniId> {
        let dead = self.ports.iter().filter(|(_, port)| is_dead(port.index)).map(|(eni, _)| eni.clone());
        let dead: Vec<EniId> = dead.collect();
        for eni in &dead {
            let Some(port) = self.ports.remove(eni) else { continue };
            if let Err(error) = port.forget(&mut self.vpc) {
                tracing::warn!(%eni, error = chain(&error), "failed to forget a dead port's addresses");
            }
        }
        dead
    }

    /// Takes down everything that was made.
    pub(crate) fn remove(mut self) {
        for (eni, port) in std::mem::take(&mut self.ports) {
            if let Err(error) = port::unplug(&mut self.vpc, &port) {
                tracing::warn!(%eni, error = chain(&error), "failed to unplug");
            }
        }
        for path in &self.made {
            node::remove(path);
        }
        self.vpc.remove();
    }

    /// Does orders on a thread of its own until told to stop.
    pub(crate) fn run(self, orders: Receiver<Order>, live: Arc<Live>) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("fabric".to_owned()).spawn(move || self.obey(&orders, &live))
    }

    fn obey(mut self, orders: &Receiver<Order>, live: &Live) {
        for order in orders {
            match order {
                Order::Act(FabricAction::Plug(nic)) => match self.plug(&nic) {
                    Ok(()) => live.with(|world, now| world.plugged(&nic.eni, now)),
                    Err(error) => {
                        tracing::error!(eni = %nic.eni, instance = %nic.instance, error = chain(&error), "failed to plug");
                        live.with(|world, now| world.plug_failed(&nic.eni, now));
                    }
                },
                Order::Act(FabricAction::Unplug(eni)) => {
                    if let Err(error) = self.unplug(&eni) {
                        tracing::error!(%eni, error = chain(&error), "failed to unplug");
                    }
                    live.with(|world, now| world.unplugged(&eni, now));
                }
                Order::Act(FabricAction::Guard(nic)) => {
                    if let Err(error) = self.guard(&nic) {
                        tracing::error!(eni = %nic.eni, error = chain(&error), "failed to change a port's guard");
                    }
                }
                // Nobody may wait any more.
                Order::Mark(done) => drop(done.send(())),
                Order::Gone(index) => tell_lost(live, &self.dead(|port| port == index)),
                Order::Look => match self.vpc.netlink.links() {
                    Ok(links) => {
                        tell_lost(live, &self.dead(|port| links.iter().all(|link| link.index != port)));
                    }
                    Err(error) => tracing::error!(error = chain(&error), "failed to look for dead ports"),
                },
                Order::Stop => break,
            }
        }
        self.remove();
    }
}

fn tell_lost(live: &Live, enis: &[EniId]) {
    for eni in enis {
        tracing::info!(%eni, "the link died with its namespace");
        live.with(|world, now| world.link_lost(eni, now));
    }
}

async fn watch(mut monitor: LinkMonitor, orders: Sender<Order>) {
    // Ports that died before the watch began; and what a lost event would have told. The list that comes
    // with the event is not used: ports may have been made since it was read.
    let mut order = Order::Look;
    loop {
        if orders.send(order).is_err() {
            return;
        }
        order = loop {
            match monitor.next().await {
                Some(LinkEvent::Gone { index, .. }) => break Order::Gone(index),
                Some(LinkEvent::Resync(_)) => break Order::Look,
                Some(LinkEvent::Changed(_)) => {}
                None => return,
            }
        };
    }
}
