//! A caller of the daemon's socket without a plugin and without a kernel's part: for histories of many calls, each
//! with what it was told and when.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use terway_rpc::client::DaemonClient;
use terway_rpc::wire;
use terway_types::{Fault, FaultCode};
use tokio::runtime::{Builder, Runtime};

use crate::linear::{Answer, Ask, Call};

/// The network all calls belong to.
const NETWORK: &str = "terway";

/// One caller; calls of one caller follow each other.
#[derive(Debug)]
pub struct Caller {
    runtime: Runtime,
    start: Instant,
    patience: Duration,
    client: Option<DaemonClient>,
}

impl Caller {
    /// A caller whose calls may take `patience`; its clock counts from `start`.
    pub fn new(start: Instant, patience: Duration) -> Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().build().context("failed to make a runtime")?;
        Ok(Self { runtime, start, patience, client: None })
    }

    /// Makes one call. `None` when nobody took it, so that it cannot have changed anything.
    pub fn call(&mut self, socket: &Path, ask: Ask) -> Option<Call> {
        let client = if let Some(client) = &self.client {
            client.clone()
        } else {
            let client = self.runtime.block_on(DaemonClient::connect(socket, self.patience)).ok()?;
            self.client.insert(client).clone()
        };
        let from = self.now();
        let outcome = self.runtime.block_on(ask_of(&client, &ask));
        let to = self.now();
        let answer = outcome.unwrap_or_else(|fault| match fault.code {
            // The connection broke: what was sent may have been done.
            FaultCode::DaemonUnreachable => {
                self.client = None;
                Answer::Unknown
            }
            _ => Answer::Refused,
        });
        Some(Call { ask, answer, from, to })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

async fn ask_of(client: &DaemonClient, ask: &Ask) -> Result<Answer, Fault> {
    match ask {
        Ask::Add(container) => {
            let request = wire::AllocateRequest {
                pod_name: container.clone(),
                pod_namespace: "default".to_owned(),
                container_id: container.clone(),
                netns: format!("/run/netns/{container}"),
                ifname: "eth0".to_owned(),
                network: NETWORK.to_owned(),
                ..wire::AllocateRequest::default()
            };
            let reply = client.alloc_ip(request).await?;
            let pair = reply.interfaces.into_iter().next().and_then(|interface| interface.basic?.pod_ip);
            let address = pair.and_then(|pair| pair.ipv4.parse().ok());
            address
                .map(Answer::Holds)
                .ok_or_else(|| Fault::new(FaultCode::Internal, "a reply without an address"))
        }
        Ask::Del(container) => {
            let request = wire::ReleaseRequest {
                container_id: container.clone(),
                network: NETWORK.to_owned(),
                ifname: "eth0".to_owned(),
                ..wire::ReleaseRequest::default()
            };
            let reply = client.release_ip(request).await?;
            Ok(Answer::Released(reply.ipv4_address.parse().ok()))
        }
        Ask::Collect(valid) => {
            let attachment = |container: &String| wire::Attachment {
                network: NETWORK.to_owned(),
                container_id: container.clone(),
                ifname: "eth0".to_owned(),
            };
            let valid = valid.iter().map(attachment).collect();
            let request = wire::CollectGarbageRequest { network: NETWORK.to_owned(), valid };
            let reply = client.collect_garbage(request).await?;
            let released: BTreeSet<_> =
                reply.released.into_iter().map(|released| released.container_id).collect();
            Ok(Answer::Collected(released))
        }
    }
}
