//! Keeps the pool's targets in step with the operator's file and with the cloud: a valid change takes effect at
//! once, an invalid one is refused with everything that is wrong with it, and the last good one stays. Also
//! replaces facts of an earlier life of the daemon as soon as the cloud answers.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terway_cloud::{Cloud, InstanceIdentity, Metadata};
use terway_pool::Event;
use terway_types::{Fault, FaultCode, NodeMode};
use tokio::sync::watch;

use crate::actions::Owner;
use crate::configuration::{Configuration, keep_fixed};
use crate::driver::DriverHandle;
use crate::events::Events;
use crate::facts_cache::FactsCache;
use crate::live::Live;
use crate::node_facts::{Learned, NodeFacts, discover};
use crate::node_kind::NodeKind;
use crate::settings::Settings;
use crate::targets::{Holder, targets};
use crate::watched_dir::WatchedDir;

/// How often to look when nothing is heard.
const SLOW: Duration = Duration::from_mins(1);
/// Pause before a cloud that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(10);

/// Everything it takes.
#[derive(Debug)]
pub struct Keeper {
    /// The file as it is in force.
    pub configuration: Configuration,
    /// The node's mode.
    pub mode: NodeMode,
    /// Whether it is a Lingjun node, and where its ENIs come from.
    pub kind: NodeKind,
    /// The node's name and cluster.
    pub owner: Owner,
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// Who the node is.
    pub metadata: Arc<dyn Metadata>,
    /// What is in force.
    pub live: watch::Sender<Arc<Live>>,
    /// Who is told.
    pub driver: DriverHandle,
    /// Where events go.
    pub events: Arc<Events>,
    /// Where facts are kept for the next life.
    pub cache: FactsCache,
    /// What the cloud told about a change that is not in force yet.
    pub learned: Learned,
}

/// Why a change did not take effect.
enum Refusal {
    /// It is wrong.
    Wrong(String),
    /// The cloud did not answer; it may be right.
    NotYet(Fault),
}

impl Keeper {
    /// Keeps at it until dropped.
    pub async fn keep(mut self) -> Infallible {
        let mut refused: Option<Configuration> = None;
        loop {
            // Watch before looking, so that no change falls between.
            let watched = WatchedDir::new(&self.directory());
            let pause = self.look(&mut refused).await;
            match watched {
                Ok(watched) => watched.changed(pause).await,
                Err(_) => tokio::time::sleep(pause).await,
            }
        }
    }

    fn directory(&self) -> PathBuf {
        match self.configuration.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// Looks once; says when to look again at the latest.
    async fn look(&mut self, refused: &mut Option<Configuration>) -> Duration {
        let seen = refused.as_ref().unwrap_or(&self.configuration);
        let changed = match seen.changed() {
            Ok(changed) => changed,
            Err(error) => {
                let path = self.configuration.path.display();
                self.events.note(
                    "ConfigUnreadable",
                    format!("failed to read {path}: {error}; what was in force stays"),
                );
                return SLOW;
            }
        };
        let remembered = self.live.borrow().remembered;
        if changed.is_none() && !remembered {
            return SLOW;
        }
        let wanted = changed.clone().unwrap_or_else(|| self.configuration.clone());
        match self.apply(&wanted).await {
            Ok(messages) => {
                let reason = if changed.is_some() { "ConfigApplied" } else { "CloudBack" };
                self.events.note(reason, messages.join("; "));
                self.configuration = wanted;
                *refused = None;
                SLOW
            }
            Err(Refusal::Wrong(why)) => {
                self.events.note("ConfigRefused", format!("{why}; what was in force stays"));
                *refused = Some(wanted);
                if remembered { AGAIN } else { SLOW }
            }
            Err(Refusal::NotYet(fault)) => {
                self.events.note(
                    "ConfigWaits",
                    format!("cannot compare the configuration with the cloud yet: {fault}"),
                );
                AGAIN
            }
        }
    }

    /// Puts a configuration in force; answers what to say about it.
    async fn apply(&mut self, wanted: &Configuration) -> Result<Vec<String>, Refusal> {
        let new = wanted.settings(self.mode).map_err(|error| Refusal::Wrong(error.to_string()))?;
        let old = Arc::clone(&self.live.borrow());
        let (settings, fixed) = keep_fixed(&old.settings, new);
        let facts = self.facts(&old, &settings).await?;
        let holder = Holder { cluster: &self.owner.cluster, node: &self.owner.node };
        let (pool, warnings) = targets(&facts, &settings, self.mode, holder)
            .map_err(|fault| Refusal::Wrong(fault.to_string()))?;
        if let Err(error) = self.cache.store(&facts, self.cloud.provider()) {
            tracing::warn!(%error, "cannot keep the node's facts for the next start");
        }
        let mut messages =
            vec![format!("{} to {} idle, {} ENIs at most", pool.min_idle, pool.max_idle, pool.max_enis)];
        if !fixed.is_empty() {
            messages.push(format!("{} can only change with a restart of terwayd", fixed.join(", ")));
        }
        messages.extend(settings.warnings.iter().chain(&warnings).chain(&facts.remarks).cloned());
        self.live.send_replace(Arc::new(Live { settings, facts, remembered: false }));
        self.driver.tell(Event::Reconfigure(pool));
        Ok(messages)
    }

    async fn facts(&mut self, old: &Live, settings: &Settings) -> Result<NodeFacts, Refusal> {
        let identity = if old.remembered {
            self.identity(&old.facts.identity).await?
        } else {
            old.facts.identity.clone()
        };
        if self.mode == NodeMode::VpcRoute {
            return Ok(NodeFacts { identity, ..old.facts.clone() });
        }
        let facts = discover(&*self.cloud, identity, settings, self.kind, &mut self.learned).await;
        facts.map_err(|fault| match fault.code {
            FaultCode::ConfigInvalid => Refusal::Wrong(fault.to_string()),
            _ => Refusal::NotYet(fault),
        })
    }

    async fn identity(&self, remembered: &InstanceIdentity) -> Result<InstanceIdentity, Refusal> {
        let identity = self.metadata.identity().await;
        let identity = identity.map_err(|failure| Refusal::NotYet(terway_cloud::fault(&failure)))?;
        if identity.id != remembered.id {
            return Err(Refusal::Wrong(format!(
                "this is instance {}, and the state directory is of {}: start terwayd with an empty --state-dir",
                identity.id, remembered.id
            )));
        }
        Ok(identity)
    }
}
