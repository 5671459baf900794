//! Which intent an ENI belongs to, so that cloud calls about it can be told in its name. Learned from what is
//! made durable.

use std::collections::HashMap;

use terway_pool::CloudAction;
use terway_types::{EniId, EniRecord, IntentToken, LedgerChange, LedgerSnapshot};

/// Tokens by id.
#[derive(Debug, Default)]
pub(super) struct Intents {
    by_id: HashMap<EniId, IntentToken>,
}

impl Intents {
    /// Those of a ledger.
    pub(super) fn of(snapshot: &LedgerSnapshot) -> Self {
        let mut intents = Self::default();
        for eni in &snapshot.enis {
            intents.put(eni);
        }
        intents
    }

    /// Takes in a change.
    pub(super) fn learn(&mut self, change: &LedgerChange) {
        match change {
            LedgerChange::PutEni(eni) => self.put(eni),
            LedgerChange::RemoveEni(token) => self.by_id.retain(|_, known| known != token),
            _ => {}
        }
    }

    fn put(&mut self, eni: &EniRecord) {
        if let Some(id) = &eni.id
            && self.by_id.get(id) != Some(&eni.token)
        {
            self.by_id.insert(id.clone(), eni.token.clone());
        }
    }

    /// The intent an action is carried out for.
    pub(super) fn behind(&self, action: &CloudAction) -> Option<IntentToken> {
        match action {
            CloudAction::Create { token, .. } => Some(token.clone()),
            CloudAction::Find { eni }
            | CloudAction::Attach { eni }
            | CloudAction::Detach { eni }
            | CloudAction::Delete { eni }
            | CloudAction::Regroup { eni, .. }
            | CloudAction::Assign { eni, .. }
            | CloudAction::Unassign { eni, .. } => self.by_id.get(eni).cloned(),
        }
    }
}
