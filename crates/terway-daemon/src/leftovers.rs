//! Takes away what attachments that are gone left on the node, at the daemon's start and then every minute: links of
//! pods, marks and settings of ENIs that came home, translations, rules, and routes of ENIs' tables.
//!
//! Nothing goes without proof that it is ours (our mark, our protocol number, our tables) and that nobody lives by it:
//! the ledger has no such attachment, and either no link of it is there any more, or the history tells its release. A
//! link that leads to a pod of a lost ledger stays, and is told.
//!
//! Task: one, until the pool's thread has ended. Invariant: what is removed is removed under its attachment's lock.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terway_datapath::kernel::{Netns, NicRule};
use terway_datapath::leftovers::{self, Traces, find};
use terway_datapath::remove::{Removal, remove};
use terway_datapath::{attachment_lock, rules};
use terway_ledger::{HistoryQuery, LedgerReader};
use terway_types::{AttachmentKey, AttachmentRecord, Fault, FaultCode};

use crate::driver::DriverHandle;
use crate::events::Events;
use crate::metrics::Metrics;

/// How often.
const SLOW: Duration = Duration::from_mins(1);

/// The sweeper.
#[derive(Debug)]
pub struct Leftovers {
    /// Who knows the attachments.
    pub driver: DriverHandle,
    /// Who knows those that were.
    pub history: LedgerReader,
    /// Where the locks of attachments are.
    pub run_dir: PathBuf,
    /// Link kinds that count as a NIC besides those without any.
    pub nic_kinds: Vec<String>,
    /// Where the operator hears of it.
    pub events: Arc<Events>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

impl Leftovers {
    /// Sweeps until the pool's thread has ended.
    pub async fn keep(self) {
        let mut told = HashSet::new();
        while !self.driver.ended() {
            if let Err(fault) = self.sweep(&mut told).await {
                tracing::warn!(%fault, "cannot look for what vanished attachments left");
            }
            tokio::time::sleep(SLOW).await;
        }
    }

    async fn sweep(&self, told: &mut HashSet<AttachmentKey>) -> Result<(), Fault> {
        let host = Netns::current().map_err(|error| {
            Fault::new(FaultCode::NetnsInvalid, "this node's namespace cannot be used").caused_by(&error)
        })?;
        let mut gone = Vec::new();
        for (key, traces) in self.strangers(&host).await? {
            if !traces.links.is_empty() && !self.was_released(&key).await? {
                self.tell(&key, &traces, told);
            } else if self.clear(&key, &host).await? {
                gone.push(format!("{} of {key}", words(&traces)));
            }
        }
        let at = host.clone();
        let swept = blocking(move || rules::sweep(&at).map_err(|error| error.fault())).await?;
        gone.extend(swept.iter().map(|address| format!("rules of {address}")));
        gone.extend(self.clear_classes(host).await?.iter().map(|address| format!("the class of {address}")));
        if !gone.is_empty() {
            self.metrics.host_repairs("swept", gone.len());
            let what = gone.join(", ");
            self.events.note("LeftoversRemoved", format!("attachments that are gone had left: {what}"));
        }
        Ok(())
    }

    /// Has packets of addresses that nobody has any more be of no class. The kernel is asked before the ledger.
    async fn clear_classes(&self, host: Netns) -> Result<Vec<IpAddr>, Fault> {
        let at = host.clone();
        let mut stale = blocking(move || leftovers::classes(&at).map_err(|error| error.fault())).await?;
        if stale.is_empty() {
            return Ok(Vec::new());
        }
        let has = |held: &AttachmentRecord, address: IpAddr| held.addresses.iter().any(|own| own == address);
        let looked = self.driver.look(move |pool, _| {
            stale.retain(|address, _| !pool.attachments().any(|(held, _)| has(held, *address)));
            stale
        });
        let stale = looked.await?;
        let addresses = stale.keys().copied().collect();
        blocking(move || leftovers::clear_classes(&host, &stale).map_err(|error| error.fault())).await?;
        Ok(addresses)
    }

    /// The traces of attachments the ledger does not have. The kernel is asked before the ledger.
    async fn strangers(&self, host: &Netns) -> Result<BTreeMap<AttachmentKey, Traces>, Fault> {
        let enis = self.driver.look(|pool, _| pool.enis().filter_map(|eni| eni.mac).collect()).await?;
        let host = host.clone();
        let traces = blocking(move || find(&host, &enis).map_err(|error| error.fault())).await?;
        let unknown =
            |(key, _): &(AttachmentKey, Traces), pool: &terway_pool::Pool| pool.attachment(key).is_none();
        self.driver
            .look(move |pool, _| traces.into_iter().filter(|trace| unknown(trace, pool)).collect())
            .await
    }

    async fn was_released(&self, key: &AttachmentKey) -> Result<bool, Fault> {
        let (reader, key) = (self.history.clone(), key.clone());
        let query = HistoryQuery { key: Some(key), limit: Some(1), ..HistoryQuery::default() };
        let found = blocking(move || reader.history(&query).map_err(|error| error.fault()));
        Ok(!found.await?.is_empty())
    }

    /// Removes what there is of an attachment, unless it has come back or the plugin works on it; says whether it did.
    async fn clear(&self, key: &AttachmentKey, host: &Netns) -> Result<bool, Fault> {
        let lock = match attachment_lock::acquire(&self.run_dir, key, Duration::ZERO) {
            Err(fault) if fault.code == FaultCode::AttachmentBusy => return Ok(false),
            lock => lock?,
        };
        let asked = key.clone();
        if self.driver.look(move |pool, _| pool.attachment(&asked).is_some()).await? {
            return Ok(false);
        }
        let (key, host, rule) = (key.clone(), host.clone(), NicRule::with_kinds(&self.nic_kinds));
        blocking(move || {
            let removal = Removal { key, mac: None, addresses: Vec::new(), host_links: Vec::new() };
            remove(&removal, &host, None, &rule).map_err(|error| error.fault())?;
            lock.retire();
            Ok(true)
        })
        .await
    }

    fn tell(&self, key: &AttachmentKey, traces: &Traces, told: &mut HashSet<AttachmentKey>) {
        if told.insert(key.clone()) {
            let message = format!(
                "this ledger never knew {key}, whose mark is on {}; it stays, as a pod may live by it: `terwayd \
                 recover` makes a ledger of what is there, a DEL removes it",
                words(traces)
            );
            self.events.note("AttachmentUnknown", message);
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Fault::new(FaultCode::Internal, "looking at the node's network panicked").caused_by(&error)
    })?
}

fn words(traces: &Traces) -> String {
    let links = traces.links.iter().map(|name| format!("link {name}"));
    let nics = traces.nics.iter().map(|name| format!("the mark of ENI {name}"));
    let translation = traces.translated.then(|| "translation rules".to_owned());
    links.chain(nics).chain(translation).collect::<Vec<_>>().join(" and ")
}
