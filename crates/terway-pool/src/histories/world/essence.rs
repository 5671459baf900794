//! What of a world decides its future. The exhaustive search takes worlds for one that differ in nothing else.

use terway_types::{IntentToken, Timestamp};

use super::{Running, World};
use crate::{CloudAction, Event, Inventory};

impl World {
    /// A copy without history, and without what follows from the rest.
    pub(crate) fn essence(&self) -> Self {
        let mut bare = self.clone();
        let looks = self.unseen.iter().filter_map(|event| match event {
            Event::Inventory(Inventory::Cloud { began, .. } | Inventory::Metadata { began, .. }) => {
                Some(*began)
            }
            _ => None,
        });
        let oldest = looks.min().unwrap_or(self.now);
        bare.pool.forget_past(self.pace.looks.then_some(oldest));
        for settings in [&mut bare.settings, &mut bare.pool.settings] {
            (settings.vswitches, settings.security_groups) = <_>::default();
        }
        (bare.next_request, bare.cloud_calls) = (0, 0);
        bare.answers.clear();
        bare.told_events.clear();
        if !self.pace.looks {
            bare.past = <_>::default();
        }
        bare.past.forget_past(self.now, self.settings.consistency);
        // A call that only looks, and to which nobody listens any more.
        let listens = |running: &Running| self.pool.operations.contains_key(&running.operation);
        bare.running
            .retain(|running| !matches!(running.action, CloudAction::Find { .. }) || listens(running));
        for running in &mut bare.running {
            if running.since + self.settings.operation_timeout <= self.now {
                running.since = Timestamp(0);
            }
        }
        bare.phases.clear();
        // What the ledger says like the pool is said already.
        bare.enis.retain(|token, record| self.pool.books.of(token).is_none_or(|eni| eni.record != *record));
        for record in bare.enis.values_mut() {
            record.since = Timestamp(0);
        }
        bare.attachments.retain(|key, record| self.pool.holdings.get(key) != Some(record));
        let mentioned: Vec<_> = self.late.iter().filter_map(|(_, action, _)| made_by(action)).collect();
        bare.cloud.forget_past(|token| mentioned.contains(&token));
        bare
    }
}

fn made_by(action: &CloudAction) -> Option<&IntentToken> {
    match action {
        CloudAction::Create { token, .. } => Some(token),
        _ => None,
    }
}
