//! Collects the effects of one event. All changes go out as one `Persist` ahead of everything else: what
//! somebody may see is durable by then, and a crash finds all of an event's changes or none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressRecord, AttachmentKey, AttachmentRecord, EniRecord, IntentToken, LedgerChange, PrefixRecord,
};

use crate::effect::{Answer, Effect, Note, RequestId};

/// The effects of one event.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    enis: BTreeMap<IntentToken, LedgerChange>,
    attachments: BTreeMap<AttachmentKey, LedgerChange>,
    addresses: BTreeMap<IpAddr, LedgerChange>,
    prefixes: BTreeMap<IpNetwork, LedgerChange>,
    after: Vec<Effect>,
}

impl Outbox {
    pub(crate) fn put_eni(&mut self, record: &EniRecord) {
        self.enis.insert(record.token.clone(), LedgerChange::PutEni(record.clone()));
    }

    pub(crate) fn remove_eni(&mut self, token: &IntentToken) {
        self.enis.insert(token.clone(), LedgerChange::RemoveEni(token.clone()));
    }

    pub(crate) fn put_attachment(&mut self, record: &AttachmentRecord) {
        self.attachments.insert(record.key.clone(), LedgerChange::PutAttachment(record.clone()));
    }

    pub(crate) fn remove_attachment(&mut self, key: &AttachmentKey) {
        self.attachments.insert(key.clone(), LedgerChange::RemoveAttachment(key.clone()));
    }

    pub(crate) fn put_address(&mut self, record: AddressRecord) {
        self.addresses.insert(record.address, LedgerChange::PutAddress(record));
    }

    pub(crate) fn remove_address(&mut self, address: IpAddr) {
        self.addresses.insert(address, LedgerChange::RemoveAddress(address));
    }

    pub(crate) fn put_prefix(&mut self, record: PrefixRecord) {
        self.prefixes.insert(record.prefix, LedgerChange::PutPrefix(record));
    }

    pub(crate) fn remove_prefix(&mut self, prefix: IpNetwork) {
        self.prefixes.insert(prefix, LedgerChange::RemovePrefix(prefix));
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.after.push(effect);
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.push(Effect::Note(note));
    }

    pub(crate) fn reply(&mut self, request: RequestId, answer: Answer) {
        self.push(Effect::Reply { request, answer });
    }

    /// The effects in the order they are to be executed in. Only the last state of each record is written.
    pub(crate) fn into_effects(self) -> Vec<Effect> {
        let holdings = self.enis.into_values().chain(self.attachments.into_values());
        let addresses = self.prefixes.into_values().chain(self.addresses.into_values());
        let changes: Vec<_> = holdings.chain(addresses).collect();
        let persist = (!changes.is_empty()).then_some(Effect::Persist(changes));
        persist.into_iter().chain(self.after).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, record};
    use terway_types::EniPhase;

    #[test]
    fn changes_go_first_and_only_their_last_state() {
        let mut out = Outbox::default();
        out.reply(RequestId(1), Answer::Released(None));
        out.put_eni(&record("t", EniPhase::Detached));
        out.put_eni(&record("t", EniPhase::Attaching));
        out.remove_attachment(&key(1));
        let effects = out.into_effects();
        assert_eq!(
            effects,
            vec![
                Effect::Persist(vec![
                    LedgerChange::PutEni(record("t", EniPhase::Attaching)),
                    LedgerChange::RemoveAttachment(key(1)),
                ]),
                Effect::Reply { request: RequestId(1), answer: Answer::Released(None) },
            ]
        );
    }

    #[test]
    fn nothing_changed_is_nothing_persisted() {
        assert!(Outbox::default().into_effects().is_empty());
    }
}
