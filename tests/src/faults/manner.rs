//! Ways in which a cloud behaves badly: with one call, or for a while with everybody.

use std::time::Duration;

use serde_json::{Value, json};

use super::Mode;
use crate::cloud::{Cloud, Names, Refusal};

/// A way to behave badly.
#[derive(Debug)]
pub struct Manner {
    /// Its name in tables.
    pub name: &'static str,
    pub(super) kind: Kind,
}

/// How it comes about.
#[derive(Debug)]
pub(super) enum Kind {
    /// Not at all.
    Nothing,
    /// So many calls of the action end in this way (`terway-cloudsim`'s kinds of faults).
    Calls(&'static str, u32),
    /// So many calls of the action are refused, or are carried out and refused all the same.
    Refused(Refusal, When, u32),
    /// `terwayd` dies while a call of the action is with the cloud.
    Death(When),
    /// The cloud is changed from the start of the story on, and back after a while.
    Standing(Deed, Option<(Deed, Duration)>),
    /// A person at the console lays hands on the first ENI that is in some state.
    Hand(Hand),
}

/// What a person does, and what the cloud is like until then.
#[derive(Debug)]
pub(super) struct Hand {
    /// The state of the ENI, as the simulated cloud tells it.
    pub(super) state: &'static str,
    /// The deed (`POST /v1/console/enis/ID/DEED`), and what it needs to be told.
    pub(super) deed: &'static str,
    pub(super) details: fn(&Names) -> Value,
    /// How the cloud is before, and how it is again when the person comes.
    pub(super) meanwhile: Option<(Deed, Deed)>,
}

/// Before or after a call is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

/// A path of the control socket and what is posted to it.
type Change = (String, Value);
type Deed = fn(&Names) -> Change;

/// The one that a selection holds against every action that changes something.
pub(super) const LOST_ANSWER: &str = "answer lost";
/// Standing ones of a selection.
pub(super) const IN_SHORT: [&str; 7] = [
    "stale reads",
    "throttled all the time",
    "quota used up",
    "key switched off",
    "partial batches",
    "metadata silent",
    "re-grouped by hand",
];

pub(super) const NONE: Manner = Manner { name: "nothing", kind: Kind::Nothing };

const fn manner(name: &'static str, kind: Kind) -> Manner {
    Manner { name, kind }
}

/// With calls of any kind.
const CALLS: [Manner; 9] = [
    manner("throttled", Kind::Refused(Refusal::Throttled, When::Before, 3)),
    manner("out of order", Kind::Refused(Refusal::Outage, When::Before, 2)),
    manner("reset", Kind::Calls("drop-before", 2)),
    manner(LOST_ANSWER, Kind::Calls("drop-after", 1)),
    manner("slow", Kind::Calls("delay-ms:2500", 1)),
    manner("no JSON", Kind::Calls("garble:html", 1)),
    manner("cut off", Kind::Calls("garble:truncated", 1)),
    manner("without end", Kind::Calls("garble:endless", 1)),
    manner("denied", Kind::Refused(Refusal::Denied, When::Before, 1)),
];

/// With calls that change something.
const CHANGES: [Manner; 5] = [
    manner("done, then an error", Kind::Refused(Refusal::Outage, When::After, 1)),
    manner("wrong state", Kind::Refused(Refusal::State, When::Before, 1)),
    manner("busy", Kind::Refused(Refusal::Busy, When::Before, 2)),
    manner("death before", Kind::Death(When::Before)),
    manner("death after", Kind::Death(When::After)),
];

const WHILE: Duration = Duration::from_secs(3);

/// Of everything, for a while.
const STANDING: [Manner; 23] = [
    manner("stale reads", Kind::Standing(|_| manners(json!({ "stale_ms": 1500 })), None)),
    manner("deleted ENIs linger", Kind::Standing(|_| manners(json!({ "linger_ms": 2000 })), None)),
    manner("new ENIs are missing", Kind::Standing(|_| manners(json!({ "missing_ms": 2000 })), None)),
    manner(
        "throttled all the time",
        Kind::Standing(|_| manners(json!({ "throttle": { "*": { "per_minute": 60, "burst": 1 } } })), None),
    ),
    manner(
        "every call denied",
        Kind::Standing(
            |_| manners(json!({ "denied": ["*"] })),
            Some((|_| manners(json!({ "denied": [] })), WHILE)),
        ),
    ),
    manner(
        "slow answers",
        Kind::Standing(|_| manners(json!({ "answer_ms": { "*": { "uniform": [200, 800] } } })), None),
    ),
    manner("slow to attach", Kind::Standing(|_| latency(json!({ "attach": 4000, "detach": 2000 })), None)),
    manner(
        "links after the word",
        Kind::Standing(|_| latency(json!({ "link": 1500, "link_after_in_use": true })), None),
    ),
    manner(
        "detaching refused",
        Kind::Standing(
            |_| manners(json!({ "detach_refused": true })),
            Some((|_| manners(json!({ "detach_refused": false })), WHILE)),
        ),
    ),
    manner("quota used up", Kind::Standing(|_| quota(0), Some((|_| quota(1000), WHILE)))),
    manner(
        "vSwitch dry",
        Kind::Standing(|names| dry(names, &json!(0)), Some((|names| dry(names, &Value::Null), WHILE))),
    ),
    manner("key switched off", Kind::Standing(|_| key("inactive"), Some((|_| key("active"), WHILE)))),
    manner("key expired", Kind::Standing(|_| key("expired"), Some((|_| key("active"), WHILE)))),
    manner("metadata down", Kind::Standing(|_| metadata("down"), Some((|_| metadata("up"), WHILE)))),
    manner("metadata failing", Kind::Standing(|_| metadata("failing"), Some((|_| metadata("up"), WHILE)))),
    manner("metadata silent", Kind::Standing(|_| metadata("silent"), Some((|_| metadata("up"), WHILE)))),
    manner(
        "a portal for metadata",
        Kind::Standing(|_| metadata("portal"), Some((|_| metadata("up"), WHILE))),
    ),
    manner("metadata stale", Kind::Standing(|_| manners(json!({ "metadata_stale_ms": 2000 })), None)),
    manner("partial batches", Kind::Standing(|_| manners(json!({ "partial_assign": 1 })), None)),
    manner(
        "links that never come",
        Kind::Standing(
            |_| latency(json!({ "link": "never" })),
            Some((|_| latency(json!({ "link": 0 })), WHILE)),
        ),
    ),
    manner(
        "attaching without end",
        Kind::Hand(Hand {
            state: "Attaching",
            deed: "detach",
            details: |_| Value::Null,
            meanwhile: Some((
                |_| latency(json!({ "attach": "never" })),
                |_| latency(json!({ "attach": 50 })),
            )),
        }),
    ),
    manner("deleted by hand", by_hand("delete", |_| Value::Null)),
    manner(
        "re-grouped by hand",
        by_hand("security-groups", |names| json!({ "security_groups": [names.other_group] })),
    ),
];

const fn by_hand(deed: &'static str, details: fn(&Names) -> Value) -> Kind {
    Kind::Hand(Hand { state: "InUse", deed, details, meanwhile: None })
}

fn metadata(how: &str) -> Change {
    manners(json!({ "metadata": how }))
}

fn manners(body: Value) -> Change {
    ("/v1/manners".to_owned(), body)
}

fn latency(body: Value) -> Change {
    ("/v1/latency".to_owned(), body)
}

fn quota(enis: u32) -> Change {
    ("/v1/quota".to_owned(), json!({ "enis": enis }))
}

fn dry(names: &Names, free: &Value) -> Change {
    (format!("/v1/vswitches/{}", names.pods), json!({ "free": free }))
}

fn key(state: &str) -> Change {
    ("/v1/credentials/sim-key".to_owned(), json!({ "state": state }))
}

/// Those a call that only reads can meet.
pub(super) fn of_reads() -> impl Iterator<Item = &'static Manner> {
    CALLS.iter()
}

/// Those a call that changes something can meet.
pub(super) fn of_changes() -> impl Iterator<Item = &'static Manner> {
    CALLS.iter().chain(CHANGES.iter())
}

/// Those of everything.
pub(super) fn standing() -> impl Iterator<Item = &'static Manner> {
    STANDING.iter()
}

impl Manner {
    /// Whether the story of this mode has room for it. Pods are on the first shared ENI as soon as there is one, and what
    /// becomes of those whose ENI is deleted by hand is no recovery: their ENI stays in the books until they are gone
    /// (`world/meddling`).
    pub(super) fn fits(&self, mode: Mode) -> bool {
        mode == Mode::Exclusive || !matches!(&self.kind, Kind::Hand(Hand { deed: "delete", .. }))
    }

    /// The orders for the simulated cloud about calls of an action.
    pub(super) fn orders(&self, cloud: Cloud, action: &str) -> Value {
        let (kind, times) = match &self.kind {
            Kind::Calls(kind, times) => ((*kind).to_owned(), *times),
            Kind::Refused(refusal, When::Before, times) => {
                (format!("error:{}", cloud.code(*refusal)), *times)
            }
            Kind::Refused(refusal, When::After, times) => {
                (format!("error-after:{}", cloud.code(*refusal)), *times)
            }
            Kind::Death(When::Before) => ("hold-before".to_owned(), 1),
            Kind::Death(When::After) => ("hold-after".to_owned(), 1),
            Kind::Nothing | Kind::Standing(..) | Kind::Hand(_) => return json!([]),
        };
        json!([{ "action": action, "kind": kind, "times": times }])
    }
}
