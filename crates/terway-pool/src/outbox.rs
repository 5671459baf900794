//! Collects the effects of one event. All changes go out as one `Persist` ahead of everything else: what
//! somebody may see is durable by then, and a crash finds all of an event's changes or none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressRecord, AttachmentKey, AttachmentRecord, HistoryEntry, IntentToken, LedgerChange, PrefixRecord,
};

use crate::books::{Books, EniNo};
use crate::effect::{Answer, Effect, Note, RequestId};

/// The effects of one event.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// ENIs whose records changed; written as they are in the end.
    enis: BTreeSet<EniNo>,
    removed: Vec<IntentToken>,
    attachments: BTreeMap<AttachmentKey, Option<AttachmentRecord>>,
    addresses: BTreeMap<IpAddr, LedgerChange>,
    prefixes: BTreeMap<IpNetwork, LedgerChange>,
    history: Vec<LedgerChange>,
    after: Vec<Effect>,
}

impl Outbox {
    /// This ENI's record changed.
    pub(crate) fn put_eni(&mut self, eni: EniNo) {
        self.enis.insert(eni);
    }

    /// This ENI left the books.
    pub(crate) fn remove_eni(&mut self, eni: EniNo, token: IntentToken) {
        self.enis.remove(&eni);
        self.removed.push(token);
    }

    pub(crate) fn put_attachment(&mut self, record: &AttachmentRecord) {
        self.attachments.insert(record.key.clone(), Some(record.clone()));
    }

    pub(crate) fn remove_attachment(&mut self, key: &AttachmentKey) {
        self.attachments.insert(key.clone(), None);
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

    pub(crate) fn remember(&mut self, entry: HistoryEntry) {
        self.history.push(LedgerChange::Remember(entry));
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

    /// The effects, first what is to be durable. Only the last state of each record is written.
    pub(crate) fn into_effects(self, books: &Books) -> Vec<Effect> {
        let records = self.enis.into_iter().filter_map(|eni| books.get(eni));
        let attachments = self.attachments.into_iter().map(|(key, record)| match record {
            Some(record) => LedgerChange::PutAttachment(record),
            None => LedgerChange::RemoveAttachment(key),
        });
        let changes: Vec<_> = records
            .map(|eni| LedgerChange::PutEni(eni.record.clone()))
            .chain(self.removed.into_iter().map(LedgerChange::RemoveEni))
            .chain(attachments)
            .chain(self.prefixes.into_values())
            .chain(self.addresses.into_values())
            .chain(self.history)
            .collect();
        let persist = (!changes.is_empty()).then_some(Effect::Persist(changes));
        persist.into_iter().chain(self.after).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, record, settings};
    use terway_types::{EniPhase, Timestamp};

    #[test]
    fn changes_go_first_and_only_their_last_state() {
        let (mut out, mut books, settings) = (Outbox::default(), Books::default(), settings());
        let eni = books.insert(record("t", EniPhase::Detached), Timestamp(1), &settings);
        out.reply(RequestId(1), Answer::Released(None));
        out.put_eni(eni);
        out.remove_attachment(&key(1));
        books.edit(eni, &settings, |eni| eni.record.phase = EniPhase::Attaching);
        out.put_eni(eni);
        let effects = out.into_effects(&books);
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
        assert!(Outbox::default().into_effects(&Books::default()).is_empty());
    }
}
