//! Compares a look at the cloud with what the books say of ENIs. The table is in the module's docs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use terway_types::{
    Addresses, AfterClaim, EniId, EniPhase, EniRecord, IntentToken, SecurityGroupId, Timestamp,
};

use super::metadata::MetadataSightings;
use super::sightings::{Look, Sightings};
use crate::event::{Place, SeenEni};

/// What the books say of one ENI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) record: &'a EniRecord,
    /// Whether its netdev is in the host's namespace.
    pub(crate) home: bool,
    /// Whether an operation of ours is out on it.
    pub(crate) busy: bool,
    /// Whether it serves by its addresses. They have rules of their own, the primary one too.
    pub(crate) shared: bool,
    /// Whether somebody holds it or one of its addresses.
    pub(crate) used: bool,
    /// Whether an earlier look left a flag on it.
    pub(crate) flagged: bool,
}

/// How an ENI differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The cloud has made what is still to be made.
    Landed,
    Absent,
    Nowhere,
    Elsewhere,
    /// On its way, though we sent it nowhere.
    Moving,
    Here,
    Groups(Vec<SecurityGroupId>),
    Addresses(Addresses),
    /// Ours by its marks and not in the books.
    Orphan(Place),
}

/// What is to be done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    OrphanAttached,
    OrphanDetached,
    CreateLanded,
    Suspected,
    CloudContradicted,
    Vanished,
    DetachedOutside,
    Moved,
    AttachedOutside,
    UsedVanished,
    UsedDetached,
    UsedMoved,
    Regrouped,
    Readdressed,
    UsedReaddressed,
    Cleared,
}

impl Rule {
    /// The rule's name; also the reason of the event that tells of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OrphanAttached => "OrphanAttached",
            Self::OrphanDetached => "OrphanDetached",
            Self::CreateLanded => "CreateLanded",
            Self::Suspected => "Suspected",
            Self::CloudContradicted => "CloudContradicted",
            Self::Vanished => "Vanished",
            Self::DetachedOutside => "DetachedOutside",
            Self::Moved => "Moved",
            Self::AttachedOutside => "AttachedOutside",
            Self::UsedVanished => "UsedVanished",
            Self::UsedDetached => "UsedDetached",
            Self::UsedMoved => "UsedMoved",
            Self::Regrouped => "Regrouped",
            Self::Readdressed => "Readdressed",
            Self::UsedReaddressed => "UsedReaddressed",
            Self::Cleared => "Cleared",
        }
    }
}

/// A difference and the rule for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding<'a> {
    pub(crate) rule: Rule,
    /// The ENI in the books; none for one that is not there.
    pub(crate) token: Option<IntentToken>,
    /// The ENI as the cloud has it, if it has it.
    pub(crate) seen: Option<&'a SeenEni>,
}

/// What sightings are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Known(IntentToken),
    Unknown(EniId),
}

/// What looks at the cloud have shown of ENIs.
pub(crate) type CloudSightings = Sightings<Subject, Difference>;

/// When a look was taken, and what it is measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) began: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) consistency: Duration,
    /// When an ENI last left the books. A look that began before may show it still.
    pub(crate) forgotten: Timestamp,
}

/// The cloud's view, by what is looked up in it.
struct View<'a> {
    by_id: BTreeMap<&'a EniId, &'a SeenEni>,
    by_token: BTreeMap<&'a IntentToken, &'a SeenEni>,
}

impl<'a> View<'a> {
    fn of(enis: &'a [SeenEni]) -> Self {
        let others = || enis.iter().filter(|seen| !seen.primary);
        let token = |seen: &'a SeenEni| Some((seen.token.as_ref().filter(|_| seen.ours)?, seen));
        Self {
            by_id: others().map(|seen| (&seen.id, seen)).collect(),
            by_token: others().filter_map(token).collect(),
        }
    }

    fn find(&self, record: &EniRecord) -> Option<&'a SeenEni> {
        match &record.id {
            Some(id) => self.by_id.get(id).copied(),
            None => self.by_token.get(&record.token).copied(),
        }
    }
}

/// Compares one look with the books. A look that began before the last one taken finds nothing.
pub(crate) fn compare<'a, 'b>(
    books: impl Iterator<Item = Known<'b>>,
    enis: &'a [SeenEni],
    times: Times,
    sightings: &mut CloudSightings,
    nics: &MetadataSightings,
) -> Option<Vec<Finding<'a>>> {
    let mut look = sightings.look(times.began, times.now, times.consistency)?;
    let view = View::of(enis);
    let (mut findings, mut known_ids, mut known_macs) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for known in books {
        let seen = view.find(known.record);
        known_ids.extend(seen.map(|seen| &seen.id));
        known_macs.extend(known.record.mac);
        compare_known(&known, seen, times, &mut look, &mut findings);
    }
    for seen in view.by_id.into_values().filter(|seen| seen.ours && !known_ids.contains(&seen.id)) {
        // Two records with one hardware address would be two owners: the older one has to go first.
        if !known_macs.contains(&seen.mac) {
            compare_orphan(seen, times, nics, &mut look, &mut findings);
        }
    }
    Some(findings)
}

fn compare_known<'a>(
    known: &Known<'_>,
    seen: Option<&'a SeenEni>,
    times: Times,
    look: &mut Look<'_, Subject, Difference>,
    findings: &mut Vec<Finding<'a>>,
) {
    let token = &known.record.token;
    let since = last_change(known.record);
    let differences = differences(known, seen);
    let misses = differences.contains(&Difference::Absent);
    if known.busy || !look.is_witness(since) || (misses && !look.may_miss(since)) {
        return look.passes(Subject::Known(token.clone()));
    }
    let as_it_should_be = differences.iter().all(|difference| matches!(difference, Difference::Groups(_)));
    if as_it_should_be && known.flagged {
        findings.push(Finding { rule: Rule::Cleared, token: Some(token.clone()), seen });
    }
    for verdict in look.shows(Subject::Known(token.clone()), differences, since, None) {
        if let Some(rule) = rule(known, &verdict.difference, verdict.confirmed, times.now) {
            findings.push(Finding { rule, token: Some(token.clone()), seen });
        }
    }
}

/// From when on looks are witnesses. Detaching and deleting take turns while the cloud has the ENI attached, and
/// neither can have brought it to another instance.
fn last_change(record: &EniRecord) -> Timestamp {
    match record.phase {
        EniPhase::Detaching | EniPhase::Deleting => Timestamp(0),
        _ => record.since,
    }
}

/// How the cloud's view differs from the record.
fn differences(known: &Known<'_>, seen: Option<&SeenEni>) -> Vec<Difference> {
    use Difference as D;
    use EniPhase as P;
    let place = seen.map(|seen| seen.place);
    let then = known.record.claim.as_ref().map(|claim| claim.then);
    let difference = match &known.record.phase {
        // One that the control plane named is looked for by an operation of its own.
        P::Creating if known.record.id.is_some() => None,
        P::Creating => matches!(place, Some(Place::Here | Place::Nowhere)).then_some(D::Landed),
        P::Attaching | P::Regrouping => None,
        P::Detaching | P::Deleting => (place == Some(Place::Elsewhere)).then_some(D::Elsewhere),
        P::Detached | P::Kept => match place {
            None => Some(D::Absent),
            Some(Place::Elsewhere) => Some(D::Elsewhere),
            // Its own operation makes sure that it leaves.
            Some(Place::Here) if then == Some(AfterClaim::Forget) => None,
            Some(Place::Here) => Some(D::Here),
            Some(Place::Moving) => None,
            Some(Place::Nowhere) => return details(known, seen),
        },
        P::Attached | P::Ready | P::InUse(_) | P::Quarantined { .. } => match place {
            None => Some(D::Absent),
            Some(Place::Elsewhere) => Some(D::Elsewhere),
            Some(Place::Nowhere) => Some(D::Nowhere),
            Some(Place::Moving) => Some(D::Moving),
            Some(Place::Here) => return details(known, seen),
        },
    };
    difference.into_iter().collect()
}

/// How an ENI differs that is where it should be.
fn details(known: &Known<'_>, seen: Option<&SeenEni>) -> Vec<Difference> {
    let (record, Some(seen)) = (known.record, seen) else { return Vec::new() };
    let sorted = |groups: &[SecurityGroupId]| groups.iter().cloned().collect::<BTreeSet<_>>();
    let groups = sorted(&record.security_groups) != sorted(&seen.security_groups);
    let has = |address| {
        seen.addresses.iter().any(|own| own == address) || seen.assigned.singles().any(|own| own == address)
    };
    let lost = record.addresses.iter().any(|address| !has(address));
    let gained = !known.used
        && (record.addresses.v4.is_none() && seen.addresses.v4.is_some()
            || record.addresses.v6.is_none() && seen.addresses.v6.is_some());
    let groups = groups.then(|| Difference::Groups(seen.security_groups.clone()));
    let addresses = (!known.shared && (lost || gained)).then_some(Difference::Addresses(seen.addresses));
    groups.into_iter().chain(addresses).collect()
}

/// The rule for a difference, if one holds by now.
fn rule(known: &Known<'_>, difference: &Difference, confirmed: bool, now: Timestamp) -> Option<Rule> {
    use Difference as D;
    use EniPhase as P;
    let phase = &known.record.phase;
    let attached = matches!(phase, P::Attached | P::Ready | P::InUse(_) | P::Quarantined { .. });
    Some(match difference {
        D::Groups(_) => return confirmed.then_some(Rule::Regrouped),
        _ if !confirmed => return attached.then_some(Rule::Suspected),
        D::Landed => Rule::CreateLanded,
        D::Addresses(_) if known.used => Rule::UsedReaddressed,
        D::Addresses(_) => Rule::Readdressed,
        D::Here => Rule::AttachedOutside,
        _ if known.home => Rule::CloudContradicted,
        D::Absent if known.used => Rule::UsedVanished,
        D::Absent => Rule::Vanished,
        D::Nowhere if known.used => Rule::UsedDetached,
        // It would come back as if it had never been used.
        D::Nowhere if matches!(phase, P::Quarantined { until } if *until > now) => Rule::Suspected,
        D::Nowhere => Rule::DetachedOutside,
        D::Elsewhere if known.used => Rule::UsedMoved,
        D::Elsewhere => Rule::Moved,
        D::Moving => Rule::Suspected,
        D::Orphan(_) => return None,
    })
}

fn compare_orphan<'a>(
    seen: &'a SeenEni,
    times: Times,
    nics: &MetadataSightings,
    look: &mut Look<'_, Subject, Difference>,
    findings: &mut Vec<Finding<'a>>,
) {
    let subject = Subject::Unknown(seen.id.clone());
    let rule = match seen.place {
        Place::Here => Rule::OrphanAttached,
        Place::Nowhere => Rule::OrphanDetached,
        Place::Elsewhere | Place::Moving => return,
    };
    if !look.is_witness(times.forgotten) {
        return look.passes(subject);
    }
    let listed = (seen.place == Place::Here).then(|| nics.listed(seen.mac)).flatten();
    let orphan = vec![Difference::Orphan(seen.place)];
    for verdict in look.shows(subject, orphan, Timestamp(0), listed.filter(|at| *at > times.forgotten)) {
        if verdict.confirmed {
            findings.push(Finding { rule, token: None, seen: Some(seen) });
        }
    }
}

#[cfg(test)]
mod tests;
