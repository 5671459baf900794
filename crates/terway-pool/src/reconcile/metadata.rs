//! Compares a look at the node's metadata with the books. Metadata is a witness only: it makes certain what the
//! kernel says, or what the cloud says of an ENI that the books do not know.

use std::collections::BTreeSet;
use std::time::Duration;

use terway_types::{EniPhase, IntentToken, MacAddr, Timestamp};

use super::enis::Known;
use super::sightings::Sightings;

/// What the metadata shows of a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Listed, and not in the books.
    Listed,
    /// In the books, and not listed.
    Unlisted,
}

/// What looks at the metadata have shown.
pub(crate) type MetadataSightings = Sightings<MacAddr, Listing>;

impl MetadataSightings {
    /// When the first of the looks began that list this NIC, while the books do not know it.
    pub(crate) fn listed(&self, mac: MacAddr) -> Option<Timestamp> {
        self.first(&mac, &Listing::Listed)
    }
}

/// Compares one look with the books. Answers the ENIs for which the rule `NicLost` holds: neither kernel nor
/// metadata has their netdev.
pub(crate) fn compare_nics<'b>(
    books: impl Iterator<Item = Known<'b>>,
    macs: &[MacAddr],
    (began, now): (Timestamp, Timestamp),
    consistency: Duration,
    sightings: &mut MetadataSightings,
) -> Vec<IntentToken> {
    let Some(mut look) = sightings.look(began, now, consistency) else { return Vec::new() };
    let listed: BTreeSet<_> = macs.iter().copied().collect();
    let (mut unknown, mut findings) = (listed.clone(), Vec::new());
    for known in books {
        let Some(mac) = known.record.mac else { continue };
        unknown.remove(&mac);
        let at_rest = known.record.phase == EniPhase::Ready && !known.used && !known.home;
        if known.busy || !look.is_witness(known.record.since) {
            look.passes(mac);
            continue;
        }
        if !at_rest {
            continue;
        }
        let differences = if listed.contains(&mac) { Vec::new() } else { vec![Listing::Unlisted] };
        let verdicts = look.shows(mac, differences, known.record.since, None);
        if verdicts.iter().any(|verdict| verdict.confirmed) {
            findings.push(known.record.token.clone());
        }
    }
    for mac in unknown {
        look.shows(mac, vec![Listing::Listed], Timestamp(0), None);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, record};

    const CONSISTENCY: Duration = Duration::from_millis(10);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn lost(phase: EniPhase, home: bool, busy: bool, macs: &[MacAddr]) -> [usize; 2] {
        let mut record = record("t", phase);
        record.mac = Some(MAC);
        let used = matches!(record.phase, EniPhase::InUse(_));
        let mut seen = MetadataSightings::default();
        [100, 110].map(|at| {
            let known = Known { record: &record, home, busy, shared: false, used, flagged: false };
            let times = (Timestamp(at), Timestamp(at));
            compare_nics([known].into_iter(), macs, times, CONSISTENCY, &mut seen).len()
        })
    }

    #[test]
    fn only_an_idle_one_that_the_kernel_does_not_have_either_is_lost() {
        assert_eq!(lost(EniPhase::Ready, false, false, &[]), [0, 1]);
        assert_eq!(lost(EniPhase::Ready, true, false, &[]), [0, 0]);
        assert_eq!(lost(EniPhase::Ready, false, true, &[]), [0, 0]);
        assert_eq!(lost(EniPhase::Ready, false, false, &[MAC]), [0, 0]);
        assert_eq!(lost(EniPhase::Attached, false, false, &[]), [0, 0], "it may not be plugged in yet");
        assert_eq!(lost(EniPhase::InUse(key(1)), false, false, &[]), [0, 0]);
    }

    #[test]
    fn it_remembers_since_when_an_unknown_nic_is_listed() {
        let mut seen = MetadataSightings::default();
        let mut look = |at, macs: &[MacAddr]| {
            let times = (Timestamp(at), Timestamp(at));
            compare_nics(std::iter::empty(), macs, times, CONSISTENCY, &mut seen);
            seen.listed(MAC)
        };
        assert_eq!(look(100, &[MAC]), Some(Timestamp(100)));
        assert_eq!(look(110, &[MAC]), Some(Timestamp(100)));
        assert_eq!(look(120, &[]), None);
    }
}
