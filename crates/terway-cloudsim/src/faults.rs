//! Faults that somebody ordered: which call goes wrong, how, and how often.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An order: the next `times` calls of `action` go wrong in this way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The action's name, or `*` for every action.
    pub action: String,
    /// Only calls that name this id, have this idempotency token or come from this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How it goes wrong.
    pub kind: FaultKind,
    /// How many calls go well before.
    #[serde(default)]
    pub skip: u32,
    /// How often.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// Before or after a call is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Without effect.
    Before,
    /// With effect; the caller cannot know.
    After,
}

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FaultKind {
    /// `error:<VendorCode>` or `error-after:<VendorCode>`: answered with this code.
    Error(When, String),
    /// `drop-before`, `drop-after`: the connection is reset.
    Drop(When),
    /// `hold-before` (or `hold`), `hold-after`: no answer until `POST /v1/release` or until the caller
    /// leaves.
    Hold(When),
    /// `delay-ms:<n>`: carried out after this time.
    Delay(Duration),
    /// `partial:<n>`: an assignment gives at most so many addresses.
    Partial(u32),
    /// `garble:html`, `garble:truncated`, `garble:empty`, `garble:endless`: carried out, and answered with nonsense.
    Garble(Garble),
}

/// Nonsense in place of an answer, as proxies and broken gateways give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garble {
    /// A page for people, as a captive portal gives.
    Html,
    /// The first half of the answer.
    Truncated,
    /// Nothing.
    Empty,
    /// More than anybody should read.
    Endless,
}

impl Garble {
    const ALL: [(&str, Self); 4] = [
        ("html", Self::Html),
        ("truncated", Self::Truncated),
        ("empty", Self::Empty),
        ("endless", Self::Endless),
    ];
}

/// A text that names no way to fail.
#[derive(Debug, thiserror::Error)]
#[error(
    "fault kind {0:?} is none of error:<Code>, error-after:<Code>, drop-before, drop-after, hold-before, \
     hold-after, delay-ms:<n>, partial:<n>, garble:<html|truncated|empty|endless>"
)]
pub struct FaultKindError(String);

impl TryFrom<String> for FaultKind {
    type Error = FaultKindError;

    fn try_from(text: String) -> Result<Self, FaultKindError> {
        let (word, rest) =
            text.split_once(':').map_or((text.as_str(), None), |(word, rest)| (word, Some(rest)));
        let kind = match (word, rest) {
            ("drop-before", None) => Some(Self::Drop(When::Before)),
            ("drop-after", None) => Some(Self::Drop(When::After)),
            ("hold" | "hold-before", None) => Some(Self::Hold(When::Before)),
            ("hold-after", None) => Some(Self::Hold(When::After)),
            ("error", Some(code)) if !code.is_empty() => Some(Self::Error(When::Before, code.to_owned())),
            ("error-after", Some(code)) if !code.is_empty() => {
                Some(Self::Error(When::After, code.to_owned()))
            }
            ("delay-ms", Some(ms)) => ms.parse().ok().map(|ms| Self::Delay(Duration::from_millis(ms))),
            ("partial", Some(count)) => count.parse().ok().map(Self::Partial),
            ("garble", Some(name)) => {
                Garble::ALL.iter().find(|(known, _)| *known == name).map(|(_, garble)| Self::Garble(*garble))
            }
            _ => None,
        };
        kind.ok_or(FaultKindError(text))
    }
}

impl From<FaultKind> for String {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Error(When::Before, code) => format!("error:{code}"),
            FaultKind::Error(When::After, code) => format!("error-after:{code}"),
            FaultKind::Drop(When::Before) => "drop-before".to_owned(),
            FaultKind::Drop(When::After) => "drop-after".to_owned(),
            FaultKind::Hold(When::Before) => "hold-before".to_owned(),
            FaultKind::Hold(When::After) => "hold-after".to_owned(),
            FaultKind::Delay(time) => format!("delay-ms:{}", time.as_millis()),
            FaultKind::Partial(count) => format!("partial:{count}"),
            FaultKind::Garble(garble) => {
                let name =
                    Garble::ALL.iter().find(|(_, known)| *known == garble).map_or("", |(name, _)| name);
                format!("garble:{name}")
            }
        }
    }
}

/// The orders not yet used up, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults(VecDeque<Fault>);

impl Faults {
    /// Replaces all orders.
    pub(crate) fn set(&mut self, faults: Vec<Fault>) {
        self.0 = faults.into_iter().filter(|fault| fault.times > 0).collect();
    }

    /// What goes wrong with this call: the oldest order that means it, used up by one. `about` is all that
    /// the call names.
    pub(crate) fn strike<'a>(
        &mut self,
        action: &str,
        about: &(impl Iterator<Item = &'a str> + Clone),
    ) -> Option<FaultKind> {
        let means = |fault: &Fault| {
            (fault.action == action || fault.action == "*")
                && fault.about.as_deref().is_none_or(|wanted| about.clone().any(|named| named == wanted))
        };
        let index = self.0.iter().position(means)?;
        let fault = self.0.get_mut(index)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        let kind = fault.kind.clone();
        if fault.times == 0 {
            self.0.remove(index);
        }
        Some(kind)
    }

    pub(crate) fn remaining(&self) -> &VecDeque<Fault> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(orders: &str) -> Faults {
        let mut faults = Faults::default();
        faults.set(serde_json::from_str(orders).unwrap());
        faults
    }

    #[test]
    fn orders_are_used_up_in_turn() {
        let mut faults = faults(
            r#"[{"action":"A","kind":"error:Throttling","times":2},{"action":"*","kind":"delay-ms:5"}]"#,
        );
        let mut strike = |action| faults.strike(action, &std::iter::empty());
        assert_eq!(strike("A"), Some(FaultKind::Error(When::Before, "Throttling".to_owned())));
        assert_eq!(strike("B"), Some(FaultKind::Delay(Duration::from_millis(5))));
        assert_eq!(strike("B"), None);
        assert!(strike("A").is_some());
        assert!(faults.remaining().is_empty());
    }

    #[test]
    fn an_order_may_mean_one_object_and_wait() {
        let mut faults = faults(r#"[{"action":"A","about":"eni-1","kind":"hold-after","skip":1}]"#);
        let mut strike = |id: &'static str| faults.strike("A", &[id].into_iter());
        assert_eq!([strike("eni-2"), strike("eni-1"), strike("eni-2")], [None, None, None]);
        assert_eq!(strike("eni-1"), Some(FaultKind::Hold(When::After)));
    }

    #[test]
    fn every_kind_reads_what_it_writes_and_nonsense_is_refused() {
        for text in [
            "error:X",
            "error-after:X",
            "drop-before",
            "drop-after",
            "hold-before",
            "hold-after",
            "delay-ms:7",
            "partial:0",
            "garble:html",
            "garble:endless",
        ] {
            let kind = FaultKind::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(kind), text);
        }
        for bad in
            ["drop", "error:", "error", "delay-ms:x", "delay-ms", "partial:-1", "hold:3", "garble:", "garble"]
        {
            assert!(FaultKind::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
