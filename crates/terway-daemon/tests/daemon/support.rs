//! A node's files, and lives of the daemon on it, each in a runtime of its own that dies with it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use terway_cloud::{Cloud, WatchPace};
use terway_daemon::actions::Owner;
use terway_daemon::bring_up::BringUp;
use terway_daemon::clock;
use terway_daemon::configuration::Configuration;
use terway_daemon::conflist::Conflist;
use terway_daemon::daemon::Daemon;
use terway_daemon::driver::Fuse;
use terway_daemon::flags::Listen;
use terway_daemon::metrics::Metrics;
use terway_daemon::node::Node;
use terway_daemon::recover::Traces;
use terway_rpc::{DaemonClient, wire};
use terway_types::{Fault, MacAddr, NodeMode, Subnets};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::cloud::{FakeCloud, PRIMARY};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A node: what survives the daemon.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    pub(crate) cloud: FakeCloud,
    /// What the flags ask for.
    pub(crate) mode: NodeMode,
    /// Its ranges in VPC mode.
    pub(crate) pod_ranges: Subnets,
    /// The hardware addresses of the node's links at start.
    pub(crate) macs: Vec<MacAddr>,
}

/// One life of the daemon.
pub(crate) struct Life {
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
    socket: PathBuf,
    pub(crate) node: Arc<Node>,
}

impl Site {
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (cloud, mode, macs) = (FakeCloud::default(), NodeMode::Exclusive, vec![PRIMARY]);
        let site = Self { directory, cloud, mode, pod_ranges: Subnets::default(), macs };
        site.configure(config);
        std::fs::create_dir(site.path("net.d")).unwrap();
        let list = r#"{"cniVersion": "1.0.0", "name": "terway", "plugins": [{"type": "terway"}]}"#;
        std::fs::write(site.path("source.conflist"), list).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the operator's file, whole or not at all.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::create_dir_all(self.path("etc")).unwrap();
        std::fs::write(self.path("etc/eni_conf.new"), config).unwrap();
        std::fs::rename(self.path("etc/eni_conf.new"), self.path("etc/eni_conf")).unwrap();
    }

    fn daemon(&self, fuse: Fuse) -> Daemon {
        let (cloud, links, macs) = (self.cloud.clone(), self.cloud.clone(), self.macs.clone());
        Daemon {
            guarding: None,
            bring_up: BringUp {
                configuration: Configuration::read(self.path("etc/eni_conf")).unwrap(),
                wanted: self.mode,
                pod_ranges: self.pod_ranges,
                lingjun: false,
                owner: Owner { cluster: "c1".to_owned(), node: "n1".to_owned() },
                state_dir: self.path("state"),
                nic_kinds: vec!["veth".to_owned()],
                root: PathBuf::from("/"),
                metadata: Arc::new(self.cloud.clone()),
                connect: Box::new(move |_, _, calls| {
                    cloud.tell(calls);
                    Ok(Arc::new(cloud.clone()) as Arc<dyn Cloud>)
                }),
                links: Box::new(move |_| Ok(links.links())),
                macs: Box::new(move || macs.clone()),
                traces: Box::new(|| Ok(Traces::default())),
                pace: WatchPace {
                    shortest: Duration::from_millis(1),
                    longest: Duration::from_millis(10),
                    apart: Duration::from_millis(1),
                    stale: Duration::from_secs(30),
                },
                fuse,
            },
            socket: self.path("run/eni.socket"),
            readonly: Some(Listen::Unix(self.path("run/debug.socket"))),
            conflist: Some(Conflist { source: self.path("source.conflist"), directory: self.path("net.d") }),
        }
    }

    /// Starts a life; it listens when this returns.
    pub(crate) fn start(&self) -> Life {
        self.start_with(Fuse::NONE)
    }

    pub(crate) fn start_with(&self, fuse: Fuse) -> Life {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let daemon = self.daemon(fuse);
        let socket = daemon.socket.clone();
        let (node, state) = Node::new(Arc::new(Metrics::default()), clock::system(), self.path("eni_conf"));
        let node = Arc::new(node);
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(daemon.run(Arc::clone(&node), state, async {
            let _ = stopped.await;
        }));
        let life = Life { runtime, stop: Some(stop), task: Some(task), socket, node };
        life.until("the socket is listened at", async |life| life.status().await.ok());
        life
    }

    /// Starts a life and waits until it serves.
    pub(crate) fn serve(&self) -> Life {
        let life = self.start();
        life.until_ready();
        life
    }
}

pub(crate) fn container(name: &str) -> wire::AllocateRequest {
    wire::AllocateRequest {
        pod_name: format!("pod-{name}"),
        pod_namespace: "default".to_owned(),
        container_id: name.to_owned(),
        netns: format!("/run/netns/{name}"),
        ifname: "eth0".to_owned(),
        ..Default::default()
    }
}

impl Life {
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) async fn client(&self) -> Result<DaemonClient, Fault> {
        DaemonClient::connect(&self.socket, Duration::from_secs(10)).await.map_err(Fault::from)
    }

    /// A client whose calls, and not its connecting, end that soon.
    pub(crate) async fn client_for(&self, deadline: Duration) -> Result<DaemonClient, Fault> {
        Ok(self.client().await?.within(deadline))
    }

    /// Waits for a condition.
    pub(crate) fn until<T>(&self, what: &str, mut probe: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        self.run(async {
            let end = Instant::now() + PATIENCE;
            loop {
                if let Some(found) = probe(self).await {
                    return found;
                }
                assert!(Instant::now() < end, "it never came true that {what}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    }

    pub(crate) fn until_ready(&self) {
        self.until("the pool runs", async |life| life.status().await.ok()?.ready.then_some(()));
    }

    /// Waits until this many ENIs are in each of these phases, and none in others.
    pub(crate) fn until_phases(&self, wanted: &[(&str, usize)]) -> Vec<wire::EniView> {
        self.until(&format!("the ENIs are {wanted:?}"), async |life| {
            let enis = life.status().await.ok()?.pool?.enis;
            let count = |phase: &str| enis.iter().filter(|eni| eni.phase == phase).count();
            let fits = wanted.iter().all(|(phase, wanted)| count(phase) == *wanted);
            (fits && enis.len() == wanted.iter().map(|(_, count)| count).sum::<usize>()).then_some(enis)
        })
    }

    /// Follows the pool until so many attachments wait.
    pub(crate) async fn watch_waiters(&self, wanted: usize) {
        let watch = async {
            let mut views = self.client().await.unwrap().watch_pool().await.unwrap();
            while views.message().await.unwrap().unwrap().waiters.len() != wanted {}
        };
        tokio::time::timeout(PATIENCE, watch).await.expect("the stream tells of waiters");
    }

    /// Waits for an event with this reason; its message.
    pub(crate) fn until_event(&self, reason: &str) -> String {
        self.until(&format!("{reason} is told"), async |life| {
            let events = life.client().await.ok()?.events(wire::EventsRequest {}).await.ok()?.events;
            events.into_iter().rev().find(|event| event.reason == reason).map(|event| event.message)
        })
    }

    pub(crate) async fn status(&self) -> Result<wire::StatusReply, Fault> {
        self.client().await?.status(wire::StatusRequest {}).await
    }

    /// ADD. Answers the ENI's id.
    pub(crate) async fn allocate(&self, name: &str) -> Result<String, Fault> {
        let reply = self.client().await?.alloc_ip(container(name)).await?;
        Ok(reply.interfaces[0].eni.clone().unwrap().id)
    }

    /// ADD. Answers the gateway that the pod is told.
    pub(crate) async fn gateway(&self, name: &str) -> Result<String, Fault> {
        let reply = self.client().await?.alloc_ip(container(name)).await?;
        let eni = reply.interfaces[0].eni.clone().unwrap();
        Ok(eni.gateway.unwrap().ipv4)
    }

    /// DEL.
    pub(crate) async fn release(&self, name: &str) -> Result<(), Fault> {
        let request = wire::ReleaseRequest { container_id: name.to_owned(), ..Default::default() };
        self.client().await?.release_ip(request).await.map(drop)
    }

    /// What an attachment holds.
    pub(crate) async fn info(&self, name: &str) -> Result<Option<String>, Fault> {
        let request = wire::InfoRequest { container_id: name.to_owned(), ..Default::default() };
        let reply = self.client().await?.get_ip_info(request).await?;
        Ok(reply.interfaces.first().map(|found| found.eni.clone().unwrap().id))
    }

    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// Ends this life as SIGTERM does.
    pub(crate) fn stop(self) {
        self.stop_then(|| ());
    }

    /// The same, and something more before the last of it is dropped.
    pub(crate) fn stop_then<T>(mut self, more: impl FnOnce() -> T) -> T {
        let _ = self.stop.take().unwrap().send(());
        let task = self.task.take().unwrap();
        self.run(task).unwrap().unwrap();
        more()
    }

    /// Ends this life as SIGKILL does: all tasks are dropped where they are. The pool's thread must have
    /// ended already, by its fuse.
    pub(crate) fn vanish(mut self, site: &Site) {
        self.task.take().unwrap().abort();
        // In another process the kernel would see to it that the ledger's lock is gone.
        self.until("the pool's thread has ended", async |_| {
            terway_ledger::Ledger::open(&site.path("state/ledger.redb")).ok().map(drop)
        });
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}
