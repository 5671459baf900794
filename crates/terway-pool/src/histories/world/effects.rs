//! Carries out the pool's effects one by one, as a driver does, and holds what others see of them against the
//! invariants.

use terway_types::{EniId, EniPhase, IntentToken, LedgerChange};

use super::meddling::GHOST;
use super::{Running, World};
use crate::testing::key as attachment;
use crate::{Answer, CloudAction, Effect, Event, Note, RequestId};

impl World {
    pub(crate) fn event(&mut self, event: Event) {
        let before = self.pool.books.tally().total();
        let what = event.clone();
        let looked = matches!(event, Event::Inventory(_));
        let suspects = self.suspects();
        let effects = self.pool.handle(self.now, event);
        self.take(effects);
        self.check_suspects(&suspects, looked, &what);
        self.check_engine(before, &what);
    }

    pub(crate) fn take(&mut self, effects: Vec<Effect>) {
        let persists = effects.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count();
        let first = matches!(effects.first(), Some(Effect::Persist(_)));
        assert!(persists == usize::from(first), "changes are one, and first: {effects:?}");
        self.queue.extend(effects);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(changes) => {
                for change in changes {
                    self.persist(change);
                }
                self.check_ledger();
            }
            Effect::Cloud { operation, action } => {
                self.check_intent(&action);
                self.cloud_calls += 1;
                self.running.push(Running { since: self.now, operation, action });
            }
            Effect::Reply { request, answer } => self.reply(request, answer),
            Effect::Publish(capacity) => {
                assert_ne!(self.published, Some(capacity), "published without a change");
                self.published = Some(capacity);
            }
            Effect::Note(Note::Phase { token, from, to, .. }) => {
                let before = self.phases.insert(token.clone(), to).unwrap_or("");
                assert_eq!(before, from, "{token}");
                if to == "gone" {
                    self.phases.remove(&token);
                }
            }
            Effect::Note(Note::Event { reason, message }) => self.told_events.push((reason, message)),
            Effect::Note(Note::Failure { .. }) => {}
        }
    }

    fn persist(&mut self, change: LedgerChange) {
        match change {
            LedgerChange::PutEni(eni) => {
                let foreign = eni.id.as_ref().is_some_and(|id| self.cloud.foreign.contains_key(id));
                assert!(!foreign, "{:?} belongs to others", eni.id);
                if let Some(id) = &eni.id {
                    self.rename(id, &eni.token);
                }
                self.enis.insert(eni.token.clone(), eni);
            }
            LedgerChange::RemoveEni(token) => {
                // No leak: what leaves the ledger is not in the cloud, and no call is out that could make it.
                // What the control plane made is its own to delete, unless it is attached here.
                let real = self.cloud.enis.get(&token);
                let named = real.is_some_and(|real| real.named);
                let exists = real.is_some_and(|real| real.attached || !named);
                let astray = self.meddled.contains(&token) || (named && self.lost.contains(&token));
                assert!(!exists || astray, "{token} is forgotten but exists");
                let makes = |action: &CloudAction| matches!(action, CloudAction::Create { token: t, .. } if *t == token);
                let to_come = self.late.iter().any(|(_, action, _)| makes(action));
                assert!(!to_come || exists || self.cloud.is_spent(&token), "{token} may still be made");
                if let Some(id) = self.cloud.enis.get(&token).map(|real| real.id.clone()) {
                    self.rename(&id, &IntentToken(format!("named-{id}")));
                }
                self.enis.remove(&token);
            }
            LedgerChange::PutAttachment(attachment) => {
                self.attachments.insert(attachment.key.clone(), attachment);
            }
            LedgerChange::RemoveAttachment(key) => {
                self.attachments.remove(&key);
            }
            _ => {}
        }
    }

    /// What the control plane made goes by the token of the node's record from now on, or by its id again.
    fn rename(&mut self, id: &EniId, to: &IntentToken) {
        let Some(from) = self.cloud.name_of(id).filter(|from| from != to) else { return };
        self.cloud.rename(&from, to.clone());
        for astray in [&mut self.meddled, &mut self.lost] {
            if astray.remove(&from) {
                astray.insert(to.clone());
            }
        }
    }

    fn reply(&mut self, request: RequestId, answer: Answer) {
        self.answers.push((request, answer.clone()));
        let ask = self.open.remove(&request).unwrap_or_else(|| panic!("{request:?} answered twice"));
        match answer {
            Answer::Allocated(grant) => {
                let eni = grant.eni;
                let key = ask.key.expect("an allocation");
                let durable = self.attachments.get(&key).expect("told only what is durable");
                assert_eq!(durable.eni, eni.token);
                assert_eq!(self.enis[&eni.token].phase, EniPhase::InUse(key.clone()));
                assert_eq!(eni.phase, EniPhase::InUse(key.clone()));
                let mac = eni.mac.expect("it has one");
                assert!(eni.id.is_some());
                assert_ne!(
                    self.inside.get(&mac),
                    Some(&attachment(GHOST)),
                    "{mac} is in a pod that the ledger lost"
                );
                if !ask.heard {
                    self.event(Event::Cancel { request });
                } else if !ask.outdated {
                    let other = self.told.iter().find(|(k, token)| **token == eni.token && **k != key);
                    assert!(other.is_none(), "{} belongs to {other:?} and {key}", eni.token);
                    if let Some(before) = self.told.insert(key.clone(), eni.token.clone()) {
                        assert_eq!(before, eni.token, "{key} was told two ENIs");
                    }
                }
            }
            Answer::Failed(fault) => {
                assert!(ask.allocates, "only allocations fail: {fault}");
                assert!(!fault.to_string().contains("not found"));
            }
            Answer::Released(_) => {
                assert!(!ask.key.is_some_and(|key| self.attachments.contains_key(&key)));
            }
            Answer::Collected(released) => {
                assert!(released.iter().all(|key| !self.attachments.contains_key(key)));
            }
        }
    }

    pub(crate) fn execute(&mut self, count: usize) {
        for _ in 0..count {
            let Some(effect) = self.queue.pop_front() else { return };
            match &mut self.fuse {
                Some(0) => {
                    self.fuse = None;
                    return self.crash();
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.perform(effect);
        }
    }
}
