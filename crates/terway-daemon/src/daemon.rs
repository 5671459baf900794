//! The daemon's life: listen at once, bring the pool up (trying again while cloud or disk refuse), serve,
//! and go away without touching a running pod.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use terway_rpc::wire::terway_backend_server::TerwayBackendServer;
use terway_rpc::wire::terway_tracing_server::TerwayTracingServer;
use terway_types::NodeMode;
use tokio::sync::{oneshot, watch};

use crate::arrivals::Ends;
use crate::bring_up::BringUp;
use crate::conflist::Conflist;
use crate::connections::Connections;
use crate::flags::Listen;
use crate::health;
use crate::host_guard::HostGuard;
use crate::inspection::Inspection;
use crate::leftovers::Leftovers;
use crate::node::{Node, Serving, State};
use crate::node_facts::Learned;
use crate::node_wide::NodeWide;
use crate::service::Backend;
use crate::socket;
use crate::spool::Spool;
use crate::symmetric::Symmetry;

/// First and longest pause between attempts to bring the pool up.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long calls under way may take to end at shutdown.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the daemon is made of.
#[derive(Debug)]
pub struct Daemon {
    /// How the pool comes up.
    pub bring_up: BringUp,
    /// The socket of the plugin and the CLI.
    pub socket: PathBuf,
    /// Where health and metrics are served; nowhere in some tests.
    pub readonly: Option<Listen>,
    /// The CNI configuration to keep in place.
    pub conflist: Option<Conflist>,
    /// What on the node is guarded by; nothing is in some tests.
    pub guarding: Option<Guarding>,
}

/// What the guard over attachments' state on the node goes by.
#[derive(Debug)]
pub struct Guarding {
    /// Where the plugin keeps the locks of attachments.
    pub run_dir: PathBuf,
    /// The node's root folder.
    pub root: PathBuf,
    /// Whether what gets lost is put back. What vanished attachments left is removed in any case.
    pub repairs: bool,
}

impl Guarding {
    /// Starts who looks after the kernel's state on a serving node.
    fn start(self, serving: &Serving, node: &Node) {
        let leftovers = Leftovers {
            driver: serving.driver.clone(),
            history: serving.history.clone(),
            run_dir: self.run_dir.clone(),
            nic_kinds: serving.interface.nic_kinds.clone(),
            events: Arc::clone(&node.events),
            metrics: Arc::clone(&node.metrics),
        };
        tokio::spawn(leftovers.keep());
        let node_wide = NodeWide::of(serving, node);
        let touched = Arc::clone(&node_wide.touched);
        tokio::spawn(node_wide.keep());
        if !self.repairs {
            node.events.note("HostGuardOff", "what others take away of pods' state on the node stays away");
            return;
        }
        node.looked.send_replace(false);
        let guard = HostGuard {
            driver: serving.driver.clone(),
            interface: serving.interface.clone(),
            run_dir: self.run_dir,
            root: self.root,
            node_wide: touched,
            looked: Arc::clone(&node.looked),
            events: Arc::clone(&node.events),
            metrics: Arc::clone(&node.metrics),
        };
        tokio::spawn(guard.keep());
    }
}

impl Daemon {
    /// Runs until `stop` resolves.
    pub async fn run(
        self,
        node: Arc<Node>,
        state: watch::Sender<State>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let connections = Connections::of(socket::listen(&self.socket)?)
            .with_context(|| format!("failed to wait for connections at {}", self.socket.display()))?;
        let _graceful = begin_periods(&node, &connections);
        let (farewell, farewell_heard) = oneshot::channel::<()>();
        let mut server = tokio::spawn(serve(connections, Arc::clone(&node), farewell_heard));
        if let Some(readonly) = self.readonly {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                if let Err(error) = health::serve(&readonly, node).await {
                    tracing::error!(error = format!("{error:#}"), "health and metrics are not served");
                }
            });
        }
        let keeping = keep_up(self.bring_up, self.conflist, self.guarding, Arc::clone(&node), &state);
        let end = tokio::select! {
            () = stop => Ok(()),
            never = keeping => match never {},
            ended = &mut server => Err(anyhow::anyhow!("the server at {} ended: {ended:?}", self.socket.display())),
        };
        tracing::info!("shutting down; running pods are not touched");
        let last = state.send_replace(State::Stopping);
        if let State::Serving(serving) = last {
            // Blocks until the ledger is closed; whoever waits for an ENI is answered before.
            tokio::task::spawn_blocking(move || serving.driver.stop())
                .await
                .context("the pool's thread panicked")?;
        }
        let _ = farewell.send(());
        let _ = tokio::time::timeout(FAREWELL, server).await;
        end
    }
}

/// For as long as what is returned is kept.
fn begin_periods(node: &Arc<Node>, connections: &Connections) -> Option<Ends> {
    let moves = Arc::clone(node);
    node.grace.watch(connections, move || moves.moves()).unwrap_or_else(|error| {
        tracing::warn!(%error, "moves of NICs take longer, for no grace period is begun before them");
        None
    })
}

async fn serve(
    connections: Connections,
    node: Arc<Node>,
    farewell: oneshot::Receiver<()>,
) -> Result<(), tonic::transport::Error> {
    tonic::transport::Server::builder()
        .add_service(TerwayBackendServer::new(Backend::new(Arc::clone(&node))))
        .add_service(TerwayTracingServer::new(Inspection::new(node)))
        .serve_with_incoming_shutdown(connections, async {
            let _ = farewell.await;
        })
        .await
}

/// Brings the pool up and keeps what belongs to a serving node in place.
async fn keep_up(
    bring_up: BringUp,
    conflist: Option<Conflist>,
    guarding: Option<Guarding>,
    node: Arc<Node>,
    state: &watch::Sender<State>,
) -> Infallible {
    let (serving, spool) = persist(&bring_up, &node, state).await;
    let driver = serving.driver.clone();
    if let Some(guarding) = guarding {
        guarding.start(&serving, &node);
    }
    let mode = serving.standing.mode;
    state.send_replace(State::Serving(serving));
    tracing::info!("serving");
    if let Some(conflist) = conflist {
        // Beside whole ENIs answers come back over the node by themselves.
        if mode == NodeMode::Shared {
            let symmetry = Symmetry { source: conflist.source.clone(), events: Arc::clone(&node.events) };
            tokio::spawn(symmetry.keep());
        }
        tokio::spawn(conflist.keep(mode, Arc::clone(&node.events)));
    }
    spool.keep(driver, &node.turns, &node.metrics).await
}

/// Tries until it works. Why it does not is what STATUS tells meanwhile, even where somebody must mend it:
/// a daemon that ended could not be asked.
async fn persist(bring_up: &BringUp, node: &Node, state: &watch::Sender<State>) -> (Arc<Serving>, Spool) {
    let (mut pause, mut learned) = (FIRST_PAUSE, Learned::default());
    loop {
        match bring_up.attempt(node, &mut learned).await {
            Ok(up) => return up,
            Err(fault) => {
                tracing::warn!(%fault, again_ms = pause.as_millis(), "cannot serve yet");
                state.send_replace(State::Starting(fault));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
