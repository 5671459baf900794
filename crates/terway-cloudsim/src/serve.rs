//! Brings a world to life: fabric, clock, servers. Also for tests that want it inside their own process.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use axum::Router;
use serde::Serialize;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinHandle};

use crate::api::{self, Caller, Lines};
use crate::fabric::{self, Fabric, FabricError, Order};
use crate::live::{Clock, Live, system_clock};
use crate::model::{FabricAction, World};

/// Where the world lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In network namespaces, with real links. Needs CAP_NET_ADMIN and CAP_SYS_ADMIN.
    Fabric,
    /// Without links; API and metadata service share this TCP address.
    Loopback(SocketAddr),
}

/// How to bring a world to life.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it lives.
    pub place: Place,
    /// The path of the control socket, if one is wanted.
    pub control: Option<PathBuf>,
    /// The world's clock.
    pub clock: Clock,
}

impl Options {
    /// In `place`, by the machine's clock, without control socket.
    pub fn new(place: Place) -> Self {
        Self { place, control: None, clock: system_clock }
    }
}

/// A world cannot be brought to life.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data path failed.
    #[error("failed to make the fabric")]
    Fabric(#[from] FabricError),
    /// A server's socket failed.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("failed to start the fabric's thread")]
    Thread(#[source] std::io::Error),
}

/// Where the servers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// The base URL of the vendor's API, whichever it is.
    pub ecs: String,
    /// The base URL of the metadata service.
    pub metadata: String,
}

/// A living world. Call [`Running::stop`] to end it: dropping it leaves namespaces behind.
#[derive(Debug)]
pub struct Running {
    live: Arc<Live>,
    endpoints: Endpoints,
    tasks: Vec<AbortHandle>,
    fabric: Option<(Sender<Order>, std::thread::JoinHandle<()>)>,
    control: Option<PathBuf>,
}

/// Starts everything; when it returns, the instances are up and the servers listen.
pub async fn serve(world: World, options: Options) -> Result<Running, ServeError> {
    let mut running = match options.place {
        Place::Fabric => with_fabric(world, options.clock)?,
        Place::Loopback(address) => without_fabric(world, options.clock, address).await?,
    };
    running.spawn(Arc::clone(&running.live).keep_time());
    if let Some(path) = options.control
        && let Err(error) = running.open_control(path)
    {
        running.stop().await;
        return Err(error);
    }
    Ok(running)
}

fn with_fabric(mut world: World, clock: Clock) -> Result<Running, ServeError> {
    let vendor = world.config().cloud;
    let mut fabric = Fabric::create(world.config())?;
    match prepare(&mut world, &mut fabric, clock) {
        Ok((ecs, metadata)) => {
            let (orders, inbox) = channel();
            let watcher = match fabric.watch(orders.clone()) {
                Ok(watcher) => watcher,
                Err(error) => {
                    fabric.remove();
                    return Err(error.into());
                }
            };
            let live = Live::new(world, clock, Some(orders.clone()));
            let thread = fabric.run(inbox, Arc::clone(&live)).map_err(ServeError::Thread)?;
            let endpoints = Endpoints {
                ecs: format!("http://{}:80", fabric::API),
                metadata: format!("http://{}:80", fabric::metadata_address(vendor)),
            };
            let tasks = vec![watcher.abort_handle()];
            let mut running =
                Running { live, endpoints, tasks, fabric: Some((orders, thread)), control: None };
            running.answer(ecs, api::cloud(vendor, Arc::clone(&running.live)));
            running.answer(metadata, api::metadata(vendor, Arc::clone(&running.live)));
            Ok(running)
        }
        Err(error) => {
            fabric.remove();
            Err(error)
        }
    }
}

/// Boots the instances and makes the servers' sockets inside the VPC.
fn prepare(
    world: &mut World,
    fabric: &mut Fabric,
    clock: Clock,
) -> Result<(TcpListener, TcpListener), ServeError> {
    let now = clock();
    world.advance(now);
    for action in world.take_actions() {
        if let FabricAction::Plug(nic) = action {
            fabric.plug(&nic)?;
            world.plugged(&nic.eni, now);
        }
    }
    let socket = |host: &str| {
        let address = format!("{host}:80");
        let listener = fabric.listen(&address)?;
        TcpListener::from_std(listener).map_err(|source| ServeError::Listen { address, source })
    };
    Ok((socket(fabric::API)?, socket(fabric::metadata_address(world.config().cloud))?))
}

async fn without_fabric(world: World, clock: Clock, address: SocketAddr) -> Result<Running, ServeError> {
    let failed = |source| ServeError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let url = format!("http://{}", listener.local_addr().map_err(failed)?);
    let vendor = world.config().cloud;
    let live = Live::new(world, clock, None);
    let router = api::cloud(vendor, Arc::clone(&live)).merge(api::metadata(vendor, Arc::clone(&live)));
    let endpoints = Endpoints { ecs: url.clone(), metadata: url };
    let mut running = Running { live, endpoints, tasks: Vec::new(), fabric: None, control: None };
    running.answer(listener, router);
    Ok(running)
}

impl Running {
    /// The world itself, to look at or to meddle with.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Where the servers are.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Ends the servers and takes down everything that was made.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        if let Some((orders, thread)) = self.fabric.take() {
            // A thread that has ended already took everything down.
            let _ = orders.send(Order::Stop);
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the fabric's thread panicked; namespaces may be left");
            }
        }
        if let Some(path) = self.control.take() {
            remove_socket(&path);
        }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let task: JoinHandle<()> = tokio::spawn(task);
        self.tasks.push(task.abort_handle());
    }

    fn answer(&mut self, listener: TcpListener, router: Router) {
        let service = router.into_make_service_with_connect_info::<Caller>();
        self.spawn(async move {
            if let Err(error) = axum::serve(Lines(listener), service).await {
                tracing::error!(%error, "a server ended");
            }
        });
    }

    fn open_control(&mut self, path: PathBuf) -> Result<(), ServeError> {
        remove_socket(&path);
        let failed = |source| ServeError::Listen { address: path.display().to_string(), source };
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let router = api::control(Arc::clone(&self.live));
        self.control = Some(path);
        self.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the control server ended");
            }
        });
        Ok(())
    }
}

/// A socket that is not there is as good as removed; another failure shows when the path is bound.
fn remove_socket(path: &Path) {
    let _ = std::fs::remove_file(path);
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "API {}, metadata {}", self.ecs, self.metadata)
    }
}
