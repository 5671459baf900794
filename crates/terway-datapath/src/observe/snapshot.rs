//! What all attachments of a node have in the same places: policy routing rules and translation. The kernel lists
//! all or none of them, so who looks at many attachments reads them once, and only if one of them needs it. The way to
//! the node's switches is walked once for all.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::describe::NamespaceLayout;
use crate::kernel::sysctl::Sysctl;
use crate::kernel::{KernelError, Netlink, Netns, Rule};
use crate::mark::Mark;
use crate::source_nat::{self, Translation};

/// What was read so far. It gets old: what speaks for a drift has to be looked at anew.
#[derive(Debug, Default)]
pub struct Snapshot {
    rules: Option<HashMap<IpAddr, Vec<Rule>>>,
    source_nat: Option<source_nat::All>,
    pub(super) switches: Sysctl,
}

impl Snapshot {
    /// The rules about what the wanted ones are about.
    pub(super) fn rules(
        &mut self,
        wanted: &NamespaceLayout,
        netlink: &mut Netlink,
    ) -> Result<Vec<Rule>, KernelError> {
        let about = |from: Option<ipnetwork::IpNetwork>, to| from.or(to).map(|prefix| prefix.ip());
        let mut addresses: Vec<IpAddr> =
            wanted.rules.iter().filter_map(|rule| about(rule.from, rule.to)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let known = match &mut self.rules {
            Some(known) => known,
            none => {
                let mut known: HashMap<_, Vec<_>> = HashMap::new();
                for rule in netlink.rules()? {
                    if let Some(address) = about(rule.from, rule.to) {
                        known.entry(address).or_default().push(rule);
                    }
                }
                none.insert(known)
            }
        };
        Ok(addresses.iter().filter_map(|address| known.get(address)).flatten().cloned().collect())
    }

    /// What is translated for an attachment.
    pub(super) fn source_nat(&mut self, mark: &Mark, netns: &Netns) -> Result<Translation, KernelError> {
        let known = match &mut self.source_nat {
            Some(known) => known,
            none => none.insert(source_nat::all(netns)?),
        };
        Ok(known.of(mark))
    }
}
