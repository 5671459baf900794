//! From a checked configuration to a running pool: ask who this node is and what it may have (or remember it),
//! open the ledger, decide the mode, start the driver, feed it the node's links, and settle spooled releases
//! before anyone is served.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use terway_cloud::{CallSink, Cloud, EniSource, EniWatch, InstanceIdentity, Metadata, WatchPace};
use terway_ledger::{Ledger, LedgerReader};
use terway_types::{Fault, FaultCode, MacAddr, NodeMode, Subnets};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::watch;

use crate::actions::{Actions, Owner, Spawner};
use crate::call_log::CallLog;
use crate::clock;
use crate::configuration::Configuration;
use crate::driver::{self, DriverHandle, Fuse, Parts};
use crate::evidence;
use crate::facts_cache::FactsCache;
use crate::inventory::Witness;
use crate::links::{NicChange, Places};
use crate::live::Live;
use crate::metered::Metered;
use crate::mode::Standing;
use crate::node::{InterfaceSettings, Node, Serving};
use crate::node_facts::{Learned, NodeFacts, discover};
use crate::reconfigure::Keeper;
use crate::recover::Traces;
use crate::settings::Settings;
use crate::spool::Spool;
use crate::subnets::SubnetBook;
use crate::targets::{Holder, targets};
use crate::{node_kind, pod_ranges};

/// The ledger's file in the state directory.
pub const LEDGER: &str = "ledger.redb";

/// What an operator of VPC mode should know.
const VPC_MODE_DEPRECATED: &str = "--daemon-mode VPC is deprecated: pods have no ENIs, security groups or vSwitches of their \
                                   own, and a VPC's route table has few places; new node pools should use ENIMultiIP or ENIOnly";

/// What the client of the cloud must be able to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way<'a> {
    /// Where the node's ENIs come from.
    pub source: EniSource,
    /// Where the metadata service is away: the cloud's name as an earlier life found it.
    pub remembered: Option<&'a str>,
}

/// Makes the client of the cloud once the node's region is known; every call is to be told.
pub type Connect =
    dyn Fn(&InstanceIdentity, Way<'_>, Arc<dyn CallSink>) -> Result<Arc<dyn Cloud>, Fault> + Send + Sync;
/// Starts the watch over the node's links; the primary NIC's MAC is to be left out.
pub type WatchLinks = dyn Fn(MacAddr) -> Result<Receiver<NicChange>, Fault> + Send + Sync;
/// The hardware addresses of the node's links.
pub type HostMacs = dyn Fn() -> Vec<MacAddr> + Send + Sync;

/// What the kernel shows of attachments.
pub type KernelTraces = dyn Fn() -> Result<Traces, Fault> + Send + Sync;

/// Everything it takes to run a pool.
pub struct BringUp {
    /// The operator's file.
    pub configuration: Configuration,
    /// The mode the flags ask for.
    pub wanted: NodeMode,
    /// The ranges that the VPC's route table leads to the node.
    pub pod_ranges: Subnets,
    /// Whether the node's label says that it is a Lingjun node.
    pub lingjun: bool,
    /// The node's name and cluster, for tags.
    pub owner: Owner,
    /// Where ledger and spool live.
    pub state_dir: PathBuf,
    /// Kernel link kinds that count as a NIC besides those without any.
    pub nic_kinds: Vec<String>,
    /// The node's root folder.
    pub root: PathBuf,
    /// Who the node is.
    pub metadata: Arc<dyn Metadata>,
    /// The way to the cloud.
    pub connect: Box<Connect>,
    /// The way to the node's links.
    pub links: Box<WatchLinks>,
    /// The node's links as they are now.
    pub macs: Box<HostMacs>,
    /// What the kernel shows of attachments.
    pub traces: Box<KernelTraces>,
    /// How often ENIs on their way are looked at.
    pub pace: WatchPace,
    /// For crash tests.
    pub fuse: Fuse,
}

impl fmt::Debug for BringUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BringUp").field("configuration", &self.configuration).finish_non_exhaustive()
    }
}

/// The way to the cloud, and what is known of the node.
struct Ground {
    cloud: Arc<dyn Cloud>,
    calls: Arc<CallLog>,
    facts: NodeFacts,
    /// Whether the facts are those of an earlier life.
    remembered: bool,
}

/// What an attempt goes by.
struct Basis {
    configuration: Configuration,
    standing: Standing,
    cloud: Arc<dyn Cloud>,
    calls: Arc<CallLog>,
    subnets: Arc<SubnetBook>,
    live: Live,
}

impl BringUp {
    /// One attempt. Leaves nothing running when it fails, only what it learned.
    pub async fn attempt(&self, node: &Node, learned: &mut Learned) -> Result<(Arc<Serving>, Spool), Fault> {
        let spool = Spool::open(&self.state_dir, clock::system()).map_err(|error| {
            let what = format!("failed to make the spool in {}", self.state_dir.display());
            Fault::new(FaultCode::StateUnwritable, what).caused_by(&error)
        })?;
        self.admit()?;
        // First: what is wrong with the disk does not wait for the cloud to be told.
        let mut ledger = Ledger::open(&self.state_dir.join(LEDGER)).map_err(|error| error.fault())?;
        let standing = Standing::of(&mut ledger, self.wanted)?;
        let configuration = self.configuration.changed().ok().flatten().unwrap_or(self.configuration.clone());
        let settings =
            configuration.settings(standing.mode).map_err(|error| error.fault("mend the keys named"))?;
        pod_ranges::check(&self.pod_ranges, standing.mode, &settings)
            .map_err(|error| error.fault("mend the flags named"))?;
        let Ground { cloud, calls, facts, remembered } =
            self.ground(node, standing.mode, &settings, learned).await?;
        standing.permit(&facts, settings.exclusive_min_enis)?;
        let history = ledger.reader();
        let subnets = Arc::new(SubnetBook::new(Arc::clone(&cloud), &facts.vswitches));
        let live = Live { settings, facts, remembered };
        let basis = Basis { configuration, standing, cloud, calls, subnets, live };
        let driver = self.start_driver(ledger, &basis, node)?;
        let links = match (self.links)(basis.live.facts.identity.primary_mac) {
            Ok(links) => links,
            Err(fault) => return Err(abandon(driver, fault).await),
        };
        let places = Arc::<Places>::default();
        tokio::spawn(feed(links, driver.clone(), Arc::clone(&places)));
        if let Err(fault) = spool.drain(&driver, &node.turns, &node.metrics).await {
            return Err(abandon(driver, fault).await);
        }
        let serving = self.look_after(basis, driver, history, places, node);
        Ok((Arc::new(serving), spool))
    }

    /// Refuses to begin anew in VPC mode beside pods that a ledger must have known: it would give their addresses away a
    /// second time. Asked before a ledger is made, so that a recovery can make one.
    fn admit(&self) -> Result<(), Fault> {
        let known = self.state_dir.join(LEDGER).try_exists().unwrap_or(true);
        if known || self.wanted != NodeMode::VpcRoute {
            return Ok(());
        }
        let mut unknown = (self.traces)()?.holders.into_iter().filter(|(_, routed)| !routed.is_empty());
        let Some((key, routed)) = unknown.next() else { return Ok(()) };
        let address = routed.first().map(ToString::to_string).unwrap_or_default();
        let what = format!(
            "there is no ledger, and {key} lives here with {address}: a new one would give the address again"
        );
        Err(Fault::new(FaultCode::LedgerCorrupt, what))
    }

    /// Who this node is and what it may have, from the cloud; where that is away, from an earlier life.
    async fn ground(
        &self,
        node: &Node,
        mode: NodeMode,
        settings: &Settings,
        learned: &mut Learned,
    ) -> Result<Ground, Fault> {
        let calls = Arc::new(CallLog::new(clock::system));
        let connect = |identity: &InstanceIdentity, way: Way<'_>| {
            let cloud = (self.connect)(identity, way, Arc::clone(&calls) as Arc<dyn CallSink>)?;
            let metered = Metered::new(cloud, Arc::clone(&node.metrics));
            Ok::<_, Fault>(Arc::new(metered) as Arc<dyn Cloud>)
        };
        let cache = FactsCache::of(&self.state_dir);
        match self.ask(&connect, mode, settings, learned).await {
            Ok((cloud, facts)) => {
                if let Err(error) = cache.store(&facts, cloud.provider()) {
                    tracing::warn!(%error, "cannot keep the node's facts for the next start");
                }
                for remark in &facts.remarks {
                    node.events.note("GatewayDiffers", remark);
                }
                Ok(Ground { cloud, calls, facts, remembered: false })
            }
            // What somebody must mend is not passed over.
            Err(fault) if matches!(fault.code, FaultCode::ConfigInvalid | FaultCode::CloudInvalid) => {
                Err(fault)
            }
            Err(fault) => {
                let Some((facts, provider)) = cache.load(&(self.macs)()) else { return Err(fault) };
                let message = format!("serving what is warm, by the facts of the start before: {fault}");
                node.events.note("CloudAway", message);
                let facts = self.with_ranges(facts);
                let way = Way { source: facts.kind.source, remembered: Some(&provider) };
                let cloud = connect(&facts.identity, way)?;
                Ok(Ground { cloud, calls, facts, remembered: true })
            }
        }
    }

    async fn ask(
        &self,
        connect: &(impl Fn(&InstanceIdentity, Way<'_>) -> Result<Arc<dyn Cloud>, Fault> + Sync),
        mode: NodeMode,
        settings: &Settings,
        learned: &mut Learned,
    ) -> Result<(Arc<dyn Cloud>, NodeFacts), Fault> {
        let identity = self.metadata.identity().await.map_err(|failure| terway_cloud::fault(&failure))?;
        let of_source = |source| connect(&identity, Way { source, ..Way::default() });
        let (cloud, kind) = node_kind::reach(&identity, self.lingjun, of_source).await?;
        let facts = match mode {
            NodeMode::VpcRoute => NodeFacts::without_enis(identity, kind),
            NodeMode::Exclusive | NodeMode::Shared => {
                discover(&*cloud, identity, settings, kind, learned).await?
            }
        };
        Ok((cloud, self.with_ranges(facts)))
    }

    fn with_ranges(&self, facts: NodeFacts) -> NodeFacts {
        NodeFacts { pod_ranges: self.pod_ranges, ..facts }
    }

    fn start_driver(&self, mut ledger: Ledger, basis: &Basis, node: &Node) -> Result<DriverHandle, Fault> {
        let Basis { standing, cloud, live, .. } = basis;
        let holder = Holder { cluster: &self.owner.cluster, node: &self.owner.node };
        let (targets, warnings) = targets(&live.facts, &live.settings, standing.mode, holder)?;
        standing.latch(&mut ledger)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        if let Some(refusal) = standing.refusal() {
            node.events.note("ModeChangeRefused", refusal);
        }
        let mut tags = live.settings.eni_tags.clone();
        tags.extend(self.owner.marks());
        let actions = Arc::new(Actions {
            cloud: Arc::clone(cloud),
            watch: EniWatch::with_pace(Arc::clone(cloud), self.pace),
            pace: self.pace,
            instance: live.facts.identity.id.clone(),
            tags,
            subnets: Arc::clone(&basis.subnets),
        });
        let runtime = Handle::current();
        let parts = Parts {
            ledger: Box::new(ledger),
            settings: targets,
            clock: clock::system,
            metrics: Arc::clone(&node.metrics),
            events: Arc::clone(&node.events),
            fuse: self.fuse,
        };
        let calls = Arc::clone(&basis.calls);
        driver::start(parts, |driver| {
            calls.attach(driver.clone());
            Spawner { actions, runtime, driver: driver.clone() }
        })
        .map_err(|error| {
            Fault::new(FaultCode::Internal, "failed to start the pool's thread").caused_by(&error)
        })
    }

    /// Starts everything that keeps a running pool informed.
    fn look_after(
        &self,
        basis: Basis,
        driver: DriverHandle,
        history: LedgerReader,
        places: Arc<Places>,
        node: &Node,
    ) -> Serving {
        let Basis { configuration, standing, cloud, subnets, live, .. } = basis;
        let interface = self.interface(&live, standing.mode);
        let routed = standing.mode == NodeMode::VpcRoute;
        if routed {
            node.events.note("VpcModeDeprecated", VPC_MODE_DEPRECATED);
        }
        let kind = live.facts.kind;
        let (sender, live) = watch::channel(Arc::new(live));
        let inspector = (!routed).then(|| Witness {
            cloud: Arc::clone(&cloud),
            metadata: Arc::clone(&self.metadata),
            driver: driver.clone(),
            subnets,
            marks: self.owner.marks(),
            live: live.clone(),
            metrics: Arc::clone(&node.metrics),
            clock: clock::system,
            apart: self.pace.longest,
        });
        let inspector = inspector.map(Witness::start);
        tokio::spawn(evidence::offer(driver.clone(), evidence::CONNECTIONS.into()));
        let keeper = Keeper {
            configuration,
            mode: standing.mode,
            kind,
            owner: self.owner.clone(),
            cloud: Arc::clone(&cloud),
            metadata: Arc::clone(&self.metadata),
            live: sender,
            driver: driver.clone(),
            events: Arc::clone(&node.events),
            cache: FactsCache::of(&self.state_dir),
            learned: Learned::default(),
        };
        tokio::spawn(async move { match keeper.keep().await {} });
        Serving {
            driver,
            live,
            provider: cloud.provider(),
            interface,
            places,
            standing,
            inspector,
            history,
            retired: AtomicBool::new(false),
        }
    }

    /// What the plugin is told of every pod's interface.
    fn interface(&self, live: &Live, mode: NodeMode) -> InterfaceSettings {
        InterfaceSettings {
            service_cidrs: live.settings.service_cidrs.clone(),
            nic_kinds: self.nic_kinds.clone(),
            ipv6: live.settings.ipv6,
            mode,
            node_mac: live.facts.identity.primary_mac,
            erdma: live.settings.erdma.then(|| self.root.clone()),
        }
    }
}

/// Ends a driver nobody was told of.
async fn abandon(driver: DriverHandle, fault: Fault) -> Fault {
    let _ = tokio::task::spawn_blocking(move || driver.stop()).await;
    fault
}

async fn feed(mut links: Receiver<NicChange>, driver: DriverHandle, places: Arc<Places>) {
    while let Some(change) = links.recv().await {
        let NicChange { mac, present, index } = change;
        tracing::debug!(%mac, present, index, "NIC changed");
        places.learn(change);
        driver.link(mac, present);
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

/// Reads the links of the namespace this process runs in; none where they cannot be read.
pub fn kernel_macs() -> Box<HostMacs> {
    use terway_datapath::kernel::Netlink;
    Box::new(|| {
        let links = Netlink::here().and_then(|mut netlink| netlink.links()).unwrap_or_default();
        links.into_iter().filter_map(|link| link.mac).collect()
    })
}
