//! The table of rules, row by row.

use super::*;
use crate::reconcile::metadata::Listing;
use crate::reconcile::testing::seen;
use crate::testing::{key, record};
use EniPhase as P;
use Place::{Elsewhere, Here, Moving, Nowhere};

const CONSISTENCY: Duration = Duration::from_millis(10);
const HOME: bool = true;
const AWAY: bool = false;

/// Books with one ENI, `t`, that last changed at 1; and two looks, at 100 and 110.
struct Case {
    record: EniRecord,
    home: bool,
    busy: bool,
    shared: bool,
    flagged: bool,
    forgotten: u64,
    listed: Option<u64>,
    sightings: CloudSightings,
}

impl Case {
    fn new(phase: EniPhase, home: bool) -> Self {
        Self {
            record: record("t", phase),
            home,
            busy: false,
            shared: false,
            flagged: false,
            forgotten: 0,
            listed: None,
            sightings: CloudSightings::default(),
        }
    }

    fn empty() -> Self {
        Self::new(P::Deleting, AWAY)
    }

    fn look(&mut self, began: u64, enis: &[SeenEni]) -> Vec<(&'static str, Option<IntentToken>)> {
        let known = Known {
            record: &self.record,
            home: self.home,
            busy: self.busy,
            shared: self.shared,
            used: matches!(self.record.phase, P::InUse(_)),
            flagged: self.flagged,
        };
        let times = Times {
            began: Timestamp(began),
            now: Timestamp(began),
            consistency: CONSISTENCY,
            forgotten: Timestamp(self.forgotten),
        };
        let mut nics = MetadataSightings::default();
        if let Some(at) = self.listed {
            let mut look = nics.look(Timestamp(at), Timestamp(at), CONSISTENCY).unwrap();
            for seen in enis {
                look.shows(seen.mac, vec![Listing::Listed], Timestamp(0), None);
            }
        }
        let findings =
            compare([known].into_iter(), enis, times, &mut self.sightings, &nics).unwrap_or_default();
        findings.into_iter().map(|found| (found.rule.name(), found.token)).collect()
    }

    fn rules(&mut self, began: u64, enis: &[SeenEni]) -> Vec<&'static str> {
        self.look(began, enis).into_iter().map(|(rule, _)| rule).collect()
    }

    /// What two looks that show the same find.
    fn twice(mut self, enis: &[SeenEni]) -> [String; 2] {
        [100, 110].map(|began| self.rules(began, enis).join("+"))
    }
}

fn phases() -> Vec<EniPhase> {
    let mut all = vec![P::Creating, P::Detached, P::Attaching, P::Attached, P::Ready, P::InUse(key(1))];
    all.extend([P::Quarantined { until: Timestamp(5) }, P::Regrouping, P::Kept, P::Detaching, P::Deleting]);
    all
}

/// The whole table, written a second time: phase, home, what the cloud shows, the rules of the first and of the
/// second look. Whatever is not listed finds nothing.
const TABLE: &[(&str, bool, Option<Place>, &str, &str)] = &[
    ("Creating", AWAY, Some(Here), "", "CreateLanded"),
    ("Creating", AWAY, Some(Nowhere), "", "CreateLanded"),
    ("Creating", HOME, Some(Here), "", "CreateLanded"),
    ("Creating", HOME, Some(Nowhere), "", "CreateLanded"),
    ("Attached", AWAY, None, "Suspected", "Vanished"),
    ("Attached", AWAY, Some(Nowhere), "Suspected", "DetachedOutside"),
    ("Attached", AWAY, Some(Elsewhere), "Suspected", "Moved"),
    ("Attached", AWAY, Some(Moving), "Suspected", "Suspected"),
    ("Attached", HOME, None, "Suspected", "CloudContradicted"),
    ("Attached", HOME, Some(Nowhere), "Suspected", "CloudContradicted"),
    ("Attached", HOME, Some(Elsewhere), "Suspected", "CloudContradicted"),
    ("Attached", HOME, Some(Moving), "Suspected", "CloudContradicted"),
    ("Ready", AWAY, None, "Suspected", "Vanished"),
    ("Ready", AWAY, Some(Nowhere), "Suspected", "DetachedOutside"),
    ("Ready", AWAY, Some(Elsewhere), "Suspected", "Moved"),
    ("Ready", AWAY, Some(Moving), "Suspected", "Suspected"),
    ("Ready", HOME, None, "Suspected", "CloudContradicted"),
    ("Ready", HOME, Some(Nowhere), "Suspected", "CloudContradicted"),
    ("Ready", HOME, Some(Elsewhere), "Suspected", "CloudContradicted"),
    ("Ready", HOME, Some(Moving), "Suspected", "CloudContradicted"),
    ("Quarantined", AWAY, None, "Suspected", "Vanished"),
    ("Quarantined", AWAY, Some(Nowhere), "Suspected", "DetachedOutside"),
    ("Quarantined", AWAY, Some(Elsewhere), "Suspected", "Moved"),
    ("Quarantined", AWAY, Some(Moving), "Suspected", "Suspected"),
    ("Quarantined", HOME, None, "Suspected", "CloudContradicted"),
    ("Quarantined", HOME, Some(Nowhere), "Suspected", "CloudContradicted"),
    ("Quarantined", HOME, Some(Elsewhere), "Suspected", "CloudContradicted"),
    ("Quarantined", HOME, Some(Moving), "Suspected", "CloudContradicted"),
    ("InUse", AWAY, None, "Suspected", "UsedVanished"),
    ("InUse", AWAY, Some(Nowhere), "Suspected", "UsedDetached"),
    ("InUse", AWAY, Some(Elsewhere), "Suspected", "UsedMoved"),
    ("InUse", AWAY, Some(Moving), "Suspected", "Suspected"),
    ("InUse", HOME, None, "Suspected", "CloudContradicted"),
    ("InUse", HOME, Some(Nowhere), "Suspected", "CloudContradicted"),
    ("InUse", HOME, Some(Elsewhere), "Suspected", "CloudContradicted"),
    ("InUse", HOME, Some(Moving), "Suspected", "CloudContradicted"),
    ("Detached", AWAY, None, "", "Vanished"),
    ("Detached", AWAY, Some(Here), "", "AttachedOutside"),
    ("Detached", AWAY, Some(Elsewhere), "", "Moved"),
    ("Detached", HOME, None, "", "CloudContradicted"),
    ("Detached", HOME, Some(Here), "", "AttachedOutside"),
    ("Detached", HOME, Some(Elsewhere), "", "CloudContradicted"),
    ("Kept", AWAY, None, "", "Vanished"),
    ("Kept", AWAY, Some(Here), "", "AttachedOutside"),
    ("Kept", AWAY, Some(Elsewhere), "", "Moved"),
    ("Kept", HOME, None, "", "CloudContradicted"),
    ("Kept", HOME, Some(Here), "", "AttachedOutside"),
    ("Kept", HOME, Some(Elsewhere), "", "CloudContradicted"),
    ("Detaching", AWAY, Some(Elsewhere), "", "Moved"),
    ("Detaching", HOME, Some(Elsewhere), "", "CloudContradicted"),
    ("Deleting", AWAY, Some(Elsewhere), "", "Moved"),
    ("Deleting", HOME, Some(Elsewhere), "", "CloudContradicted"),
];

#[test]
fn every_phase_and_place_has_its_rule() {
    let places = [None, Some(Nowhere), Some(Here), Some(Elsewhere), Some(Moving)];
    for phase in phases() {
        for (home, place) in [HOME, AWAY].into_iter().flat_map(|home| places.map(|place| (home, place))) {
            let mut case = Case::new(phase.clone(), home);
            if phase == P::Creating {
                case.record.id = None;
            }
            let enis: Vec<_> = place.map(|place| seen("t", place)).into_iter().collect();
            let row = TABLE.iter().find(|row| (row.0, row.1, row.2) == (phase.name(), home, place));
            let wanted = row.map_or(["", ""], |row| [row.3, row.4]);
            assert_eq!(case.twice(&enis), wanted, "{} {home} {place:?}", phase.name());
        }
    }
}

#[test]
fn looks_during_or_before_our_own_doings_say_nothing() {
    let mut case = Case::new(P::Ready, AWAY);
    case.busy = true;
    assert_eq!(case.twice(&[]), ["", ""]);
    let mut case = Case::new(P::Ready, AWAY);
    case.record.since = Timestamp(100);
    assert_eq!(case.rules(100, &[]), [""; 0], "began before the last change");
    assert_eq!(case.rules(110, &[]), ["Suspected"]);
    case.record.since = Timestamp(115);
    assert_eq!(case.rules(124, &[]), [""; 0], "it may show the time before the last change");
    assert_eq!(case.rules(125, &[]), ["Suspected"], "the look at 110 began before the last change");
    assert_eq!(case.rules(135, &[]), ["Vanished"]);
}

#[test]
fn turns_of_detaching_and_deleting_do_not_hide_where_it_is() {
    let mut case = Case::new(P::Detaching, AWAY);
    assert_eq!(case.rules(100, &[seen("t", Elsewhere)]), [""; 0]);
    (case.record.phase, case.record.since) = (P::Deleting, Timestamp(105));
    assert_eq!(case.rules(110, &[seen("t", Elsewhere)]), ["Moved"]);
}

#[test]
fn one_good_look_clears_everything() {
    let mut case = Case::new(P::Ready, AWAY);
    assert_eq!(case.rules(100, &[]), ["Suspected"]);
    case.flagged = true;
    assert_eq!(case.rules(105, &[seen("t", Here)]), ["Cleared"]);
    assert_eq!(case.rules(110, &[]), ["Suspected"], "and the first look is forgotten");
}

#[test]
fn a_quarantine_is_not_cut_short_by_a_detach_and_attach() {
    let case = Case::new(P::Quarantined { until: Timestamp(111) }, AWAY);
    assert_eq!(case.twice(&[seen("t", Nowhere)]), ["Suspected", "Suspected"]);
}

#[test]
fn other_groups_are_corrected_whoever_holds_the_eni() {
    let groups = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let mut eni = seen("t", Here);
    eni.security_groups = groups(&["sg-2"]);
    for phase in [P::Ready, P::InUse(key(1))] {
        assert_eq!(Case::new(phase, AWAY).twice(std::slice::from_ref(&eni)), ["", "Regrouped"]);
    }
    let mut case = Case::new(P::Ready, AWAY);
    case.record.security_groups = groups(&["sg-1", "sg-2"]);
    eni.security_groups = groups(&["sg-2", "sg-1"]);
    assert_eq!(case.twice(&[eni]), ["", ""], "the order means nothing");
}

#[test]
fn groups_that_change_between_two_looks_are_not_confirmed() {
    let mut case = Case::new(P::Ready, HOME);
    let grouped = |name: &str| SeenEni { security_groups: vec![name.into()], ..seen("t", Here) };
    assert_eq!(case.rules(100, &[grouped("sg-2")]), [""; 0]);
    assert_eq!(case.rules(110, &[grouped("sg-3")]), [""; 0]);
    assert_eq!(case.rules(120, &[grouped("sg-3")]), ["Regrouped"]);
}

#[test]
fn another_primary_address_is_corrected_or_told() {
    let addressed = |last: u8| Addresses::new(Some([10, 0, 0, last].into()), None);
    let eni = SeenEni { addresses: addressed(2), ..seen("t", Here) };
    let case = |phase, addresses| {
        let mut case = Case::new(phase, HOME);
        case.record.addresses = addresses;
        case
    };
    let one = std::slice::from_ref(&eni);
    assert_eq!(case(P::Ready, addressed(1)).twice(one), ["Suspected", "Readdressed"]);
    assert_eq!(case(P::InUse(key(1)), addressed(1)).twice(one), ["Suspected", "UsedReaddressed"]);
    assert_eq!(case(P::Ready, Addresses::default()).twice(one), ["Suspected", "Readdressed"]);
    assert_eq!(case(P::InUse(key(1)), Addresses::default()).twice(one), ["", ""], "its holder knows none");
    let mut more = eni.clone();
    more.assigned.ipv4 = vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    let mut shared = case(P::Ready, addressed(1));
    shared.shared = true;
    assert_eq!(shared.twice(one), ["", ""], "addresses of shared ENIs have their own rules");
    assert_eq!(case(P::InUse(key(1)), addressed(1)).twice(&[more]), ["", ""], "it is still there");
}

#[test]
fn orphans_are_adopted_where_they_are() {
    for (place, rule) in
        [(Here, "OrphanAttached"), (Nowhere, "OrphanDetached"), (Elsewhere, ""), (Moving, "")]
    {
        assert_eq!(Case::empty().twice(&[seen("o", place)]), ["", rule], "{place:?}");
    }
}

#[test]
fn an_orphan_that_goes_somewhere_else_is_looked_at_anew() {
    let mut case = Case::empty();
    assert_eq!(case.rules(100, &[seen("o", Here)]), [""; 0]);
    assert_eq!(case.rules(110, &[seen("o", Nowhere)]), [""; 0]);
    assert_eq!(case.rules(120, &[seen("o", Nowhere)]), ["OrphanDetached"]);
}

#[test]
fn foreign_and_primary_enis_and_copies_of_a_mac_are_none_of_ours() {
    let foreign = SeenEni { ours: false, ..seen("f", Here) };
    let primary = SeenEni { primary: true, ..seen("p", Here) };
    assert_eq!(Case::empty().twice(&[foreign, primary]), ["", ""]);
    let mut case = Case::empty();
    let copy = seen("c", Here);
    case.record.mac = Some(copy.mac);
    assert_eq!(case.twice(&[copy]), ["", ""]);
}

#[test]
fn a_look_that_began_before_something_was_forgotten_adopts_nothing() {
    let mut case = Case::empty();
    case.forgotten = 100;
    assert_eq!(case.rules(100, &[seen("o", Here)]), [""; 0]);
    assert_eq!(case.rules(110, &[seen("o", Here)]), [""; 0], "the look at 100 is no witness");
    assert_eq!(case.rules(120, &[seen("o", Here)]), ["OrphanAttached"]);
}

#[test]
fn metadata_is_the_first_of_two_looks_for_an_attached_orphan() {
    let listed = |at| Case { listed: Some(at), ..Case::empty() };
    assert_eq!(listed(90).rules(100, &[seen("o", Here)]), ["OrphanAttached"]);
    assert_eq!(listed(91).rules(100, &[seen("o", Here)]), [""; 0], "too close");
    assert_eq!(listed(90).rules(100, &[seen("o", Nowhere)]), [""; 0]);
    let mut case = listed(90);
    case.forgotten = 90;
    assert_eq!(case.rules(100, &[seen("o", Here)]), [""; 0]);
}

#[test]
fn a_token_that_is_ours_but_of_another_eni_is_an_orphan() {
    let mut case = Case::new(P::Ready, HOME);
    case.record.id = Some("eni-other".into());
    let found = |case: &mut Case, at| case.look(at, &[seen("t", Here), seen("other", Here)]);
    assert_eq!(found(&mut case, 100), []);
    assert_eq!(found(&mut case, 110), [("OrphanAttached", None)]);
}
