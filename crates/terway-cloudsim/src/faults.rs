//! Faults that somebody ordered: which action fails next, how, and how often.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An order: the next `times` calls of `action` go wrong in this way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The action's name, or `*` for every action.
    pub action: String,
    /// How it goes wrong.
    pub kind: FaultKind,
    /// How often.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FaultKind {
    /// `error:<VendorCode>`: answered with this code, without effect.
    Error(String),
    /// `drop-before`: the connection breaks, without effect.
    DropBefore,
    /// `drop-after`: the connection breaks after the effect; the caller cannot know.
    DropAfter,
    /// `delay-ms:<n>`: carried out after this time.
    Delay(Duration),
}

/// A text that names no way to fail.
#[derive(Debug, thiserror::Error)]
#[error("fault kind {0:?} is none of error:<Code>, drop-before, drop-after, delay-ms:<n>")]
pub struct FaultKindError(String);

impl TryFrom<String> for FaultKind {
    type Error = FaultKindError;

    fn try_from(text: String) -> Result<Self, FaultKindError> {
        match text.split_once(':') {
            None if text == "drop-before" => Ok(Self::DropBefore),
            None if text == "drop-after" => Ok(Self::DropAfter),
            Some(("error", code)) if !code.is_empty() => Ok(Self::Error(code.to_owned())),
            Some(("delay-ms", ms)) => {
                ms.parse().map(|ms| Self::Delay(Duration::from_millis(ms))).map_err(|_| FaultKindError(text))
            }
            _ => Err(FaultKindError(text)),
        }
    }
}

impl From<FaultKind> for String {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Error(code) => format!("error:{code}"),
            FaultKind::DropBefore => "drop-before".to_owned(),
            FaultKind::DropAfter => "drop-after".to_owned(),
            FaultKind::Delay(time) => format!("delay-ms:{}", time.as_millis()),
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

    /// What goes wrong with this call: the oldest order for its action, used up by one.
    pub(crate) fn strike(&mut self, action: &str) -> Option<FaultKind> {
        let index = self.0.iter().position(|fault| fault.action == action || fault.action == "*")?;
        let fault = self.0.get_mut(index)?;
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

    #[test]
    fn orders_are_used_up_in_turn() {
        let orders =
            r#"[{"action":"A","kind":"error:Throttling","times":2},{"action":"*","kind":"delay-ms:5"}]"#;
        let mut faults = Faults::default();
        faults.set(serde_json::from_str(orders).unwrap());
        assert_eq!(faults.strike("A"), Some(FaultKind::Error("Throttling".to_owned())));
        assert_eq!(faults.strike("B"), Some(FaultKind::Delay(Duration::from_millis(5))));
        assert_eq!(faults.strike("B"), None);
        assert!(faults.strike("A").is_some());
        assert!(faults.remaining().is_empty());
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        for bad in ["drop", "error:", "delay-ms:x", "delay-ms"] {
            assert!(FaultKind::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
