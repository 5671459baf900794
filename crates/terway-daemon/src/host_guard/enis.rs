//! ENIs of pods on the node: addresses and ways that services of the node put on them come off again. Before anything
//! else is looked at, because with them the node's own address and way out look like others.

use std::collections::BTreeSet;
use std::time::Instant;

use terway_datapath::intruder;
use terway_datapath::kernel::{KernelError, Link, Netlink, NicRule};
use terway_types::MacAddr;

use super::losses::{Losses, Verdict};
use super::round::Report;

/// The ENIs to look at.
#[derive(Debug, Default)]
pub(super) struct Enis {
    pub(super) macs: BTreeSet<MacAddr>,
    pub(super) rule: NicRule,
}

impl Enis {
    /// Looks at them, and takes off what has no business there unless that was done too often.
    pub(super) fn clear(
        &self,
        host: &mut Netlink,
        links: &[Link],
        losses: &mut Losses<MacAddr>,
        now: Instant,
        report: &mut Report,
    ) -> Result<(), KernelError> {
        let mut due = Vec::new();
        for intruder in intruder::find(host, links, &self.macs, &self.rule)? {
            match losses.judge(&intruder.mac, &intruder.to_string(), now) {
                Verdict::Repair => due.push(intruder),
                Verdict::Wait { until, news } => {
                    report.fought.extend(news.then(|| intruder.to_string()));
                    report.enis_later = report.enis_later.into_iter().chain([until]).min();
                }
            }
        }
        intruder::expel(host, &due)?;
        for intruder in &due {
            losses.repaired(&intruder.mac, &intruder.to_string(), now);
            report.expelled.push(intruder.to_string());
        }
        Ok(())
    }
}
