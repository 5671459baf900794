//! Keeps the stock in step with the ENIs: how far each one is, and whether attachments hold addresses of it.

use terway_types::{AddressCounts, AddressSet, EniPhase, IntentToken, PrefixPhase, Timestamp};

use crate::effect::Note;
use crate::engine::Pool;
use crate::eni::{Eni, Service};
use crate::outbox::Outbox;
use crate::routed::ranges;
use crate::settings::PoolSettings;
use crate::sharing::{rules, sharing};
use crate::stock::{Learned, Life, Shelf, Stage, Work};

/// How far an ENI is, as its addresses see it.
pub(super) fn stage(eni: &Eni) -> Stage {
    match eni.record.phase {
        EniPhase::Creating if !eni.refused => Stage::Creating,
        EniPhase::Ready if eni.link && !eni.flags.suspect => Stage::Open,
        EniPhase::Ready if eni.strayed => Stage::Away,
        EniPhase::Detached | EniPhase::Attaching | EniPhase::Attached | EniPhase::Ready => Stage::Opening,
        _ => Stage::Closed,
    }
}

impl Pool {
    /// An ENI changed: its addresses follow. What was asked for an ENI that leaves, leaves with it.
    pub(crate) fn follow(&mut self, token: &IntentToken, out: &mut Outbox) {
        let Some(no) = self.shared.stock.number(token) else { return };
        let Some(eni) = self.books.of(token) else { return self.shared.stock.remove(token, out) };
        let stage = stage(eni);
        let called_off = self.shared.stock.edit(no, |shelf| {
            shelf.stage = stage;
            let closed = stage == Stage::Closed;
            let work = if closed { std::mem::replace(&mut shelf.work, Work::Open) } else { shelf.work };
            if closed {
                shelf.asked = AddressCounts::default();
            }
            match work {
                Work::Running { operation, .. } if closed => Some(operation),
                _ => None,
            }
        });
        if let Some(operation) = called_off.flatten() {
            self.shared.operations.remove(&operation);
        }
        if stage == Stage::Closed && eni.record.assigning.is_some() {
            self.set_assigning(token, None, out);
        }
        self.work_on(no, out);
    }

    /// What the create call brought is on the ENI, if it is shared.
    pub(crate) fn stock_made(&mut self, token: &IntentToken, assigned: &AddressSet, out: &mut Outbox) {
        let Some(no) = self.shared.stock.number(token) else { return };
        let Some(record) = self.books.of(token).map(|eni| &eni.record) else { return };
        let (primary, vswitch) = (record.addresses, record.vswitch.clone());
        self.shared.stock.place(no, vswitch);
        self.shared.stock.edit(no, |shelf| shelf.asked = AddressCounts::default());
        self.put_on(no, token, assigned, primary, out);
    }

    /// An ENI that looks have found is shared, with what it has.
    pub(crate) fn stock_adopted(
        &mut self,
        number: crate::books::EniNo,
        assigned: &AddressSet,
        life: Life,
        out: &mut Outbox,
    ) {
        let Some(eni) = self.books.get(number) else { return };
        let (record, stage) = (&eni.record, stage(eni));
        let (token, primary) = (record.token.clone(), record.addresses);
        let shelf = Shelf::new(token.clone(), record.vswitch.clone(), stage, AddressCounts::default());
        let no = self.shared.stock.insert(shelf);
        self.shared.stock.fill(no, assigned, primary, life, self.now, out);
    }

    /// A node's mode is decided once: what it has is of that kind. Other settings may change at any time.
    pub(crate) fn keep_mode(&self, mut settings: PoolSettings, out: &mut Outbox) -> PoolSettings {
        if sharing(&settings).is_some() != sharing(&self.settings).is_some() {
            let message =
                "the node's mode is decided once; the new one is refused, the other settings are taken";
            out.note(Note::Event { reason: "ModeChangeRefused", message: message.to_owned() });
            settings.mode = self.settings.mode;
        }
        settings
    }

    /// Works out everything that depends on the settings again. Prefixes that are not wanted any more take nobody
    /// new; they go when they are empty.
    pub(crate) fn resettle_shared(&mut self, out: &mut Outbox) {
        let rules = rules(&self.settings);
        self.shared.stock.resettle(rules);
        (self.shared.paused, self.shared.failures) = (Timestamp(0), 0);
        if ranges(&self.settings).is_some() {
            return;
        }
        let (from, to) = if rules.prefixes {
            (PrefixPhase::Frozen, PrefixPhase::Ready)
        } else {
            (PrefixPhase::Ready, PrefixPhase::Frozen)
        };
        for (net, phase) in self.shared.stock.prefixes() {
            if phase == from {
                self.shared.stock.set_prefix(net, to, self.now, out);
            }
        }
        self.shared.stock.each(|shelf| shelf.learned = Learned::default());
    }

    /// Notes with the ENI whether attachments hold addresses of it: such an ENI is moved by nothing.
    pub(super) fn lend(&mut self, token: &IntentToken) {
        let lent = self.shared.stock.of(token).is_some_and(|shelf| shelf.in_use() > 0);
        let service = if lent { Service::Lent } else { Service::Shared };
        if self.books.of(token).is_some_and(|eni| eni.service != service) {
            self.edit_eni(token, |eni| eni.service = service);
        }
    }
}
