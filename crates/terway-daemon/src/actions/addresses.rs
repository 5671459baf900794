//! Addresses and prefixes of an ENI that exists: giving it more, which the cloud does kind by kind, and taking
//! some off it, which is done only when a later look shows them no more.

use std::time::Duration;

use terway_cloud::{Assign, CloudResult, EniDescription, EniFilter};
use terway_pool::CloudAnswer;
use terway_types::{AddressCounts, AddressSet, CloudFailure, CloudFailureKind, EniId, IntentToken};
use tokio::time::Instant;

use super::Actions;

/// How long addresses may take to disappear.
const LEAVE: Duration = Duration::from_mins(1);

impl Actions {
    /// One call per kind, each with a token derived from the intent's, so that a repeated operation finds what
    /// an earlier one was given. The first refusal ends it; what was given before it is told all the same. Where it is
    /// not known whether anything was given, only the whole operation repeated finds out.
    pub(super) async fn assign(
        &self,
        eni: &EniId,
        token: &IntentToken,
        counts: AddressCounts,
    ) -> CloudResult<CloudAnswer> {
        let mut added = AddressSet::default();
        let mut short = None;
        for (suffix, what) in kinds(counts) {
            let derived = IntentToken(format!("{token}{suffix}"));
            match self.cloud.assign(eni, &derived, what).await {
                Ok(given) => {
                    added.ipv4.extend(given.ipv4);
                    added.ipv6.extend(given.ipv6);
                    added.prefixes.extend(given.prefixes);
                }
                Err(failure) if added.is_empty() || failure.kind == CloudFailureKind::Ambiguous => {
                    return Err(failure);
                }
                Err(failure) => {
                    short = Some(failure);
                    break;
                }
            }
        }
        added.ipv4.sort_unstable();
        added.ipv6.sort_unstable();
        added.prefixes.sort_unstable();
        Ok(CloudAnswer::Assigned { added, short })
    }

    /// Accepted and seen to be done. An ENI that the cloud lists no more has no addresses, if it says so twice.
    pub(super) async fn unassign(&self, eni: &EniId, addresses: &AddressSet) -> CloudResult<CloudAnswer> {
        self.cloud.unassign(eni, addresses).await?;
        let deadline = Instant::now() + LEAVE;
        let filter = EniFilter { ids: vec![eni.clone()], ..EniFilter::default() };
        let mut pause = self.pace.shortest;
        let mut absent_since = None;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.pace.longest.max(self.pace.shortest));
            let began = Instant::now();
            let failure = match self.cloud.describe_enis(&filter).await {
                Ok(found) => match found.first() {
                    Some(found) if has_any(found, addresses) => {
                        absent_since = None;
                        still_there(eni)
                    }
                    Some(_) => return Ok(CloudAnswer::Unassigned),
                    None => {
                        let since = *absent_since.get_or_insert(began);
                        if began.duration_since(since) >= self.pace.apart {
                            return Ok(CloudAnswer::Unassigned);
                        }
                        still_there(eni)
                    }
                },
                Err(failure) => super::in_doubt(failure),
            };
            if Instant::now() >= deadline {
                return Err(failure);
            }
        }
    }
}

/// The calls it takes, and what tells their tokens apart.
fn kinds(counts: AddressCounts) -> impl Iterator<Item = (&'static str, Assign)> {
    let AddressCounts { ipv4, ipv6, ipv4_prefixes, ipv6_prefixes } = counts;
    [
        ("-4", Assign::Ipv4(ipv4)),
        ("-6", Assign::Ipv6(ipv6)),
        ("-p4", Assign::Ipv4Prefixes(ipv4_prefixes)),
        ("-p6", Assign::Ipv6Prefixes(ipv6_prefixes)),
    ]
    .into_iter()
    .filter(|(_, what)| what.amount() > 0)
}

fn has_any(eni: &EniDescription, addresses: &AddressSet) -> bool {
    let has = &eni.assigned;
    addresses.ipv4.iter().any(|address| has.ipv4.contains(address))
        || addresses.ipv6.iter().any(|address| has.ipv6.contains(address))
        || addresses.prefixes.iter().any(|prefix| has.prefixes.contains(prefix))
}

fn still_there(eni: &EniId) -> CloudFailure {
    CloudFailure {
        kind: CloudFailureKind::Ambiguous,
        action: "DescribeNetworkInterfaces".to_owned(),
        vendor_code: None,
        request_id: None,
        message: format!("addresses of {eni} were taken off it and are still shown"),
    }
}
