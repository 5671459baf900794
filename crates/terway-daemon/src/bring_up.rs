//! From a checked configuration to a running pool: ask who this node is and what it may have, open the
//! ledger, start the driver, feed it the node's links, and settle spooled releases before anyone is served.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use terway_cloud::{Cloud, EniFilter, EniWatch, InstanceIdentity, Metadata, WatchPace};
use terway_ledger::Ledger;
use terway_pool::Pool;
use terway_types::{Fault, FaultCode, MacAddr};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver};

use crate::actions::{Actions, INTENT_TAG, Owner, Spawner};
use crate::clock;
use crate::driver::{self, DriverHandle, Fuse, Parts};
use crate::links::NicChange;
use crate::metered::Metered;
use crate::metrics::Metrics;
use crate::node::{InterfaceSettings, Node, Serving};
use crate::node_facts::{NodeFacts, discover};
use crate::settings::Settings;
use crate::spool::Spool;

/// Makes the client of the cloud once the node's region is known.
pub type Connect = dyn Fn(&InstanceIdentity) -> Result<Arc<dyn Cloud>, Fault> + Send + Sync;
/// Starts the watch over the node's links; the primary NIC's MAC is to be left out.
pub type WatchLinks = dyn Fn(MacAddr) -> Result<Receiver<NicChange>, Fault> + Send + Sync;

/// Everything it takes to run a pool.
pub struct BringUp {
    /// The checked configuration.
    pub settings: Settings,
    /// The node's name and cluster, for tags.
    pub owner: Owner,
    /// Where ledger and spool live.
    pub state_dir: PathBuf,
    /// Kernel link kinds that count as a NIC besides those without any.
    pub nic_kinds: Vec<String>,
    /// Who the node is.
    pub metadata: Arc<dyn Metadata>,
    /// The way to the cloud.
    pub connect: Box<Connect>,
    /// The way to the node's links.
    pub links: Box<WatchLinks>,
    /// How often ENIs on their way are looked at.
    pub pace: WatchPace,
    /// For crash tests.
    pub fuse: Fuse,
}

impl fmt::Debug for BringUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BringUp").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl BringUp {
    /// One attempt. Leaves nothing running when it fails.
    pub async fn attempt(&self, node: &Node) -> Result<(Arc<Serving>, Spool), Fault> {
        let spool = Spool::open(&self.state_dir).map_err(|error| {
            let what = format!("failed to make the spool in {}", self.state_dir.display());
            Fault::new(FaultCode::StateUnwritable, what).caused_by(&error)
        })?;
        // First: what is wrong with the disk does not wait for the cloud to be told.
        let ledger = Ledger::open(&self.state_dir.join("ledger.redb")).map_err(|error| error.fault())?;
        let identity = self.metadata.identity().await.map_err(|failure| terway_cloud::fault(&failure))?;
        let cloud: Arc<dyn Cloud> =
            Arc::new(Metered::new((self.connect)(&identity)?, Arc::clone(&node.metrics)));
        let facts = discover(&*cloud, identity, &self.settings).await?;
        let driver = self.start_driver(ledger, &cloud, &facts, Arc::clone(&node.metrics))?;
        let links = match (self.links)(facts.identity.primary_mac) {
            Ok(links) => links,
            Err(fault) => return Err(abandon(driver, fault).await),
        };
        tokio::spawn(feed(links, driver.clone()));
        if let Err(fault) = spool.drain(&driver, &node.turns, &node.metrics).await {
            return Err(abandon(driver, fault).await);
        }
        tokio::spawn(count_orphans(
            Arc::clone(&cloud),
            self.owner.clone(),
            driver.clone(),
            Arc::clone(&node.metrics),
        ));
        let interface = InterfaceSettings {
            service_cidrs: self.settings.service_cidrs.clone(),
            nic_kinds: self.nic_kinds.clone(),
            ipv6: self.settings.ipv6,
        };
        let provider = cloud.provider();
        Ok((Arc::new(Serving { driver, facts, provider, interface }), spool))
    }

    fn start_driver(
        &self,
        ledger: Ledger,
        cloud: &Arc<dyn Cloud>,
        facts: &NodeFacts,
        metrics: Arc<Metrics>,
    ) -> Result<DriverHandle, Fault> {
        let (settings, warnings) = facts.pool(&self.settings, &self.owner.cluster, &self.owner.node)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let watch = EniWatch::with_pace(Arc::clone(cloud), self.pace);
        let instance = facts.identity.id.clone();
        let mut tags = self.settings.eni_tags.clone();
        tags.extend(self.owner.marks());
        let actions = Arc::new(Actions::new(Arc::clone(cloud), watch, instance, tags, &facts.vswitches));
        let runtime = Handle::current();
        let parts =
            Parts { ledger: Box::new(ledger), settings, clock: clock::system, metrics, fuse: self.fuse };
        driver::start(parts, |driver| Spawner { actions, runtime, driver: driver.clone() }).map_err(|error| {
            Fault::new(FaultCode::Internal, "failed to start the pool's thread").caused_by(&error)
        })
    }
}

/// Ends a driver nobody was told of.
async fn abandon(driver: DriverHandle, fault: Fault) -> Fault {
    let _ = tokio::task::spawn_blocking(move || driver.stop()).await;
    fault
}

async fn feed(mut links: Receiver<NicChange>, driver: DriverHandle) {
    while let Some(NicChange { mac, present }) = links.recv().await {
        tracing::debug!(%mac, present, "NIC changed");
        driver.link(mac, present);
    }
}

/// ENIs that carry our tags and that the ledger does not know: it was lost once. They are left alone.
async fn count_orphans(cloud: Arc<dyn Cloud>, owner: Owner, driver: DriverHandle, metrics: Arc<Metrics>) {
    let filter = EniFilter { tags: owner.marks(), ..EniFilter::default() };
    let Ok(found) = cloud.describe_enis(&filter).await else { return };
    let Ok(view) = driver.look(Pool::view).await else { return };
    let known = |intent: Option<&String>| {
        intent.is_some_and(|intent| view.enis.iter().any(|eni| eni.record.token.as_str() == intent))
    };
    let orphans: Vec<_> = found.iter().filter(|eni| !known(eni.tags.get(INTENT_TAG))).collect();
    metrics.orphans(orphans.len());
    for eni in orphans {
        tracing::warn!(eni = %eni.id, status = ?eni.status, "an ENI with this node's tags is unknown to the ledger; it is left alone");
    }
}

/// Watches the links of the namespace this process runs in.
pub fn kernel_links(nic_kinds: Vec<String>) -> Box<WatchLinks> {
    use terway_datapath::kernel::{Netns, NicRule};
    Box::new(move |primary| {
        let netns = Netns::current().map_err(|error| {
            Fault::new(FaultCode::KernelRefused, "failed to open the node's network namespace")
                .caused_by(&error)
        })?;
        let (changes, receiver) = mpsc::channel(64);
        let nics = crate::links::Nics::new(NicRule::with_kinds(nic_kinds.clone()), primary);
        tokio::spawn(crate::links::watch(netns, nics, changes));
        Ok(receiver)
    })
}
