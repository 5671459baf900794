//! The node's mode: decided once, kept in the ledger, never changed. What a node owns is of its mode's kind; a
//! node that changed would have to give up its pods first.

use terway_ledger::Ledger;
use terway_types::{Fault, FaultCode, LedgerSnapshot, NodeMode};

use crate::node_facts::NodeFacts;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The mode it goes by.
    pub mode: NodeMode,
    /// The mode its flags ask for.
    pub wanted: NodeMode,
    /// Whether it was decided before.
    pub kept: bool,
}

impl Standing {
    /// What the ledger keeps, or what the flags ask for where nothing is kept yet.
    pub fn of(ledger: &mut Ledger, wanted: NodeMode) -> Result<Self, Fault> {
        let kept = ledger.mode().map_err(|error| error.fault())?;
        let implied = match kept {
            Some(mode) => Some(mode),
            None => implied(&ledger.snapshot().map_err(|error| error.fault())?),
        };
        Ok(Self { mode: implied.unwrap_or(wanted), wanted, kept: implied.is_some() })
    }

    /// Refuses to begin as a node of whole ENIs on an instance that carries too few of them. A node that is one
    /// already goes on: its pods are there.
    pub fn permit(self, facts: &NodeFacts, exclusive_min_enis: u32) -> Result<(), Fault> {
        let enis = facts.limits.enis;
        if self.kept || self.mode != NodeMode::Exclusive || enis >= exclusive_min_enis {
            return Ok(());
        }
        let kind = &facts.identity.instance_type;
        let what = format!(
            "instance type {kind} carries {enis} ENIs with its primary one; to give pods whole ENIs it needs {exclusive_min_enis}"
        );
        Err(Fault::new(FaultCode::ConfigInvalid, what).remedy(
            "use a larger instance type, --daemon-mode ENIMultiIP, or a smaller `exclusive_min_enis`",
        ))
    }

    /// Decides, durably.
    pub fn latch(self, ledger: &mut Ledger) -> Result<(), Fault> {
        ledger.latch_mode(self.mode).map(drop).map_err(|error| error.fault())
    }

    /// What to tell where the flags ask for another mode than the kept one.
    pub fn refusal(self) -> Option<String> {
        (self.mode != self.wanted).then(|| {
            format!(
                "this node is in {} mode since it began; a change to {} was refused and changes nothing (drain the node and give it an empty --state-dir to change)",
                self.mode.name(),
                self.wanted.name()
            )
        })
    }
}

/// The mode of a ledger from before modes were kept: only whole ENIs were given then.
fn implied(snapshot: &LedgerSnapshot) -> Option<NodeMode> {
    let shared = !snapshot.addresses.is_empty() || !snapshot.prefixes.is_empty();
    let any = shared || !snapshot.enis.is_empty() || !snapshot.attachments.is_empty();
    any.then_some(if shared { NodeMode::Shared } else { NodeMode::Exclusive })
}
