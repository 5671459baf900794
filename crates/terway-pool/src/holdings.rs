//! Which attachment holds which ENI, and who was told so in this life of the daemon.

use std::collections::BTreeMap;

use terway_types::{AttachmentKey, AttachmentRecord, NetworkName};

use crate::effect::RequestId;

/// Askers remembered per attachment. A runtime that repeats an ADD more often than this while cancelling
/// the first ones keeps its ENI until its DEL; nothing worse.
const ASKERS: usize = 16;

/// One attachment.
#[derive(Clone, Debug)]
struct Holding {
    record: AttachmentRecord,
    /// Those who were answered with it and did not go away unheard.
    askers: Vec<RequestId>,
    /// Whether somebody of an earlier life may have been answered with it.
    adopted: bool,
}

/// All attachments that hold an ENI.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    by_key: BTreeMap<AttachmentKey, Holding>,
    by_asker: BTreeMap<RequestId, AttachmentKey>,
}

impl Holdings {
    pub(crate) fn get(&self, key: &AttachmentKey) -> Option<&AttachmentRecord> {
        self.by_key.get(key).map(|holding| &holding.record)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &AttachmentRecord> {
        self.by_key.values().map(|holding| &holding.record)
    }

    /// The keys of one network, sorted.
    pub(crate) fn of_network(&self, network: &NetworkName) -> Vec<AttachmentKey> {
        self.by_key.keys().filter(|key| key.network == *network).cloned().collect()
    }

    /// Takes over an attachment of an earlier life.
    pub(crate) fn adopt(&mut self, record: AttachmentRecord) {
        let holding = Holding { askers: Vec::new(), adopted: true, record };
        self.by_key.insert(holding.record.key.clone(), holding);
    }

    /// Inserts or replaces an attachment's record.
    pub(crate) fn put(&mut self, record: AttachmentRecord) {
        if let Some(holding) = self.by_key.get_mut(&record.key) {
            holding.record = record;
        } else {
            let holding = Holding { askers: Vec::new(), adopted: false, record };
            self.by_key.insert(holding.record.key.clone(), holding);
        }
    }

    /// Remembers that this request was answered with what the attachment holds.
    pub(crate) fn told(&mut self, key: &AttachmentKey, request: RequestId) {
        let Some(holding) = self.by_key.get_mut(key) else { return };
        if holding.askers.len() < ASKERS {
            holding.askers.push(request);
            self.by_asker.insert(request, key.clone());
        } else {
            holding.adopted = true;
        }
    }

    pub(crate) fn remove(&mut self, key: &AttachmentKey) -> Option<AttachmentRecord> {
        let holding = self.by_key.remove(key)?;
        for asker in &holding.askers {
            self.by_asker.remove(asker);
        }
        Some(holding.record)
    }

    /// Drops what does not decide the future: since when something is held.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self) {
        for holding in self.by_key.values_mut() {
            holding.record.since = terway_types::Timestamp(0);
        }
    }

    /// Notes that an answered asker never heard the answer. Tells the attachment if by now nobody has.
    pub(crate) fn unheard(&mut self, request: RequestId) -> Option<AttachmentKey> {
        let key = self.by_asker.remove(&request)?;
        let holding = self.by_key.get_mut(&key)?;
        holding.askers.retain(|asker| *asker != request);
        (holding.askers.is_empty() && !holding.adopted).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attachment, key};

    #[test]
    fn an_attachment_nobody_heard_of_is_found_out() {
        let mut holdings = Holdings::default();
        holdings.put(attachment(1, "t"));
        holdings.told(&key(1), RequestId(1));
        holdings.told(&key(1), RequestId(2));
        assert_eq!(holdings.unheard(RequestId(1)), None, "the second asker heard");
        assert_eq!(holdings.unheard(RequestId(1)), None);
        assert_eq!(holdings.unheard(RequestId(2)), Some(key(1)));
    }

    #[test]
    fn an_adopted_attachment_may_have_been_heard_of() {
        let mut holdings = Holdings::default();
        holdings.adopt(attachment(1, "t"));
        holdings.told(&key(1), RequestId(1));
        assert_eq!(holdings.unheard(RequestId(1)), None);
    }

    #[test]
    fn forgotten_askers_make_the_attachment_stay() {
        let mut holdings = Holdings::default();
        holdings.put(attachment(1, "t"));
        let askers = ASKERS as u64 + 1;
        (0..askers).for_each(|n| holdings.told(&key(1), RequestId(n)));
        assert!((0..askers).all(|n| holdings.unheard(RequestId(n)).is_none()));
        holdings.remove(&key(1));
        assert!(holdings.by_asker.is_empty());
    }
}
