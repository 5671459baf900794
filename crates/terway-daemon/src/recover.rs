//! `terwayd recover`: a new ledger for a node whose ledger is damaged or lost, from what the cloud lists and what
//! the kernel shows. The old file is put aside, never deleted. What cannot be known for certain is said, and
//! recorded in the way that can do least harm: what may be in use is not given to anybody.

mod kernel;
mod rebuild;
mod routed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terway_cloud::{Cloud, EniSource, InstanceIdentity, Metadata};
use terway_ledger::{Ledger, OpenError, create_with, set_aside};
use terway_pool::SeenEni;
use terway_types::{Fault, FaultCode, NodeMode, Subnets, Timestamp};

pub use self::kernel::{Traces, read as kernel_traces};
pub use self::rebuild::{Rebuilt, rebuild};
pub use self::routed::rebuild_routed;
use crate::bring_up::LEDGER;
use crate::instance_lock::InstanceLock;
use crate::node_kind;
use crate::seen::Eyes;
use crate::subnets::SubnetBook;

/// Everything a recovery needs.
#[derive(Debug)]
pub struct Recovery {
    /// Where the ledger lies.
    pub state_dir: PathBuf,
    /// The mode the new ledger is for.
    pub mode: NodeMode,
    /// The ranges that the VPC's route table leads to the node.
    pub pod_ranges: Subnets,
    /// Who the node is.
    pub metadata: Arc<dyn Metadata>,
    /// Whether the node's label says that it is a Lingjun node.
    pub lingjun: bool,
    /// This node's marks.
    pub marks: BTreeMap<String, String>,
    /// Tags without which an ENI is not ours all the same.
    pub filter: BTreeMap<String, String>,
    /// Rest of ENIs and addresses whose last holder is unknown.
    pub quarantine: Duration,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

impl Recovery {
    /// Does it, and answers the lines that tell about it. Refuses while a daemon uses the state directory, and
    /// where the ledger is sound.
    pub async fn run(
        &self,
        connect: impl Fn(&InstanceIdentity, EniSource) -> Result<Arc<dyn Cloud>, Fault>,
        traces: &Traces,
        now: Timestamp,
    ) -> Result<Vec<String>, Fault> {
        let _lock = InstanceLock::take(&self.state_dir).map_err(|error| error.fault())?;
        let damage = self.damage()?;
        let rebuilt = match self.mode {
            NodeMode::VpcRoute => rebuild_routed(self.pod_ranges, traces, now),
            NodeMode::Exclusive | NodeMode::Shared => {
                rebuild(self.mode, &self.seen(connect).await?, traces, now, self.quarantine)
            }
        };
        let mut lines = vec![match &damage {
            Some(damage) => format!("the ledger is damaged: {damage}"),
            None => "there is no ledger".to_owned(),
        }];
        lines.extend(rebuilt.lines());
        if self.dry_run {
            lines.push("nothing was changed: --dry-run".to_owned());
        } else {
            lines.extend(self.write(&rebuilt, damage.is_some(), now)?);
        }
        Ok(lines)
    }

    /// What the cloud shows.
    async fn seen(
        &self,
        connect: impl Fn(&InstanceIdentity, EniSource) -> Result<Arc<dyn Cloud>, Fault>,
    ) -> Result<Vec<SeenEni>, Fault> {
        let identity = self.metadata.identity().await.map_err(|failure| terway_cloud::fault(&failure))?;
        let of_source = |source| connect(&identity, source);
        let (cloud, _) = node_kind::reach(&identity, self.lingjun, of_source).await?;
        let subnets = SubnetBook::new(Arc::clone(&cloud), &[]);
        let eyes = Eyes {
            instance: &identity.id,
            primary: identity.primary_mac,
            marks: &self.marks,
            filter: &self.filter,
            subnets: &subnets,
        };
        eyes.look(&*cloud).await.map_err(|failure| terway_cloud::fault(&failure))
    }

    /// What is wrong with the ledger; nothing if there is none. A sound one is not for recovery.
    fn damage(&self) -> Result<Option<String>, Fault> {
        let path = self.state_dir.join(LEDGER);
        let exists = path.try_exists().map_err(|error| {
            Fault::new(FaultCode::StateUnwritable, format!("failed to look at {}", path.display()))
                .caused_by(&error)
        })?;
        if !exists {
            return Ok(None);
        }
        match Ledger::open(&path) {
            Err(OpenError::Corrupt { detail, .. }) => Ok(Some(detail)),
            Err(error) => Err(error.fault()),
            Ok(mut ledger) => {
                if let Err(error) = ledger.snapshot() {
                    return Ok(Some(error.to_string()));
                }
                let what = format!("ledger {} is sound: there is nothing to recover", path.display());
                Err(Fault::new(FaultCode::ConfigInvalid, what)
                    .remedy("start terwayd; it goes on where it was"))
            }
        }
    }

    fn write(&self, rebuilt: &Rebuilt, damaged: bool, now: Timestamp) -> Result<Vec<String>, Fault> {
        let path = self.state_dir.join(LEDGER);
        let mut lines = Vec::new();
        if damaged {
            let aside = set_aside(&path, now.0 / 1000).map_err(|error| error.fault())?;
            lines.push(format!("the damaged ledger is kept as {}", aside.display()));
        }
        create_with(&path, &rebuilt.snapshot, Some(self.mode)).map_err(|error| error.fault())?;
        lines.push(format!("wrote {} for {} mode; start terwayd", path.display(), self.mode.name()));
        Ok(lines)
    }
}
