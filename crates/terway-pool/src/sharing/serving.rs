//! Gives addresses to those who wait, takes them back, lets them rest.

use terway_types::{Addresses, AttachmentRecord, EniRecord, IntentToken, Timestamp};

use crate::effect::{Answer, Grant};
use crate::engine::Pool;
use crate::outbox::Outbox;
use crate::stock::{EniNo, Step};
use crate::waiters::Waiter;

impl Pool {
    /// Gives idle pairs to those who wait, in order.
    pub(crate) fn serve_shared(&mut self, out: &mut Outbox) {
        loop {
            let Some(place) = self.waiters.first() else { return };
            let Some(key) = self.waiters.get(place).map(|waiter| waiter.key.clone()) else { return };
            let Some(pair) = self.shared.stock.take(&key, self.now, out) else { return };
            let Some(waiter) = self.waiters.take(place) else { return };
            self.hand_out(pair, waiter, out);
        }
    }

    /// Gives a pair to somebody who need not wait for it; gives back who has to.
    pub(crate) fn serve_at_once(&mut self, waiter: Waiter, out: &mut Outbox) -> Option<Waiter> {
        let Some(pair) = self.shared.stock.take(&waiter.key, self.now, out) else { return Some(waiter) };
        self.hand_out(pair, waiter, out);
        None
    }

    fn hand_out(&mut self, (no, addresses): (EniNo, Addresses), waiter: Waiter, out: &mut Outbox) {
        let Some(token) = self.shared.stock.get(no).map(|shelf| shelf.token.clone()) else { return };
        let Some(eni) = self.books.of(&token).map(|eni| eni.record.clone()) else { return };
        self.lend(&token);
        self.pace.used(self.now, &self.settings);
        let record = AttachmentRecord {
            key: waiter.key.clone(),
            pod: waiter.pod,
            netns: waiter.netns,
            eni: token,
            addresses,
            claim: None,
            since: self.now,
        };
        out.put_attachment(&record);
        self.holdings.put(record);
        for (request, _) in waiter.requests {
            self.holdings.told(&waiter.key, request);
            out.reply(request, Answer::Allocated(Box::new(Grant { eni: eni.clone(), addresses })));
        }
    }

    /// Takes an attachment's addresses back, to rest until then.
    pub(crate) fn give_back_addresses(
        &mut self,
        held: &AttachmentRecord,
        until: Timestamp,
        out: &mut Outbox,
    ) -> Option<Grant> {
        let eni: EniRecord = self.books.of(&held.eni)?.record.clone();
        for address in held.addresses.iter() {
            let step = Step::Release { until };
            if let Err(illegal) = self.shared.stock.step(address, step, None, self.now, out) {
                self.address_defect(&held.eni, &illegal, out);
            }
        }
        self.lend(&held.eni);
        self.pace.used(self.now, &self.settings);
        self.advance_eni(&held.eni, out);
        Some(Grant { eni, addresses: held.addresses })
    }

    /// Ends the rest of those that rested long enough.
    pub(crate) fn end_rests(&mut self, out: &mut Outbox) {
        for address in self.shared.stock.rested(self.now) {
            if let Err(illegal) = self.shared.stock.step(address, Step::Rested, None, self.now, out) {
                self.address_defect(&IntentToken(address.to_string()), &illegal, out);
            }
        }
    }

    /// Somebody still mentions these addresses: if they rest, they rest on.
    pub(crate) fn mention_addresses(&mut self, addresses: &[std::net::IpAddr], out: &mut Outbox) {
        let (rest, longest) = (self.settings.quarantine, self.settings.quarantine_max);
        for address in addresses {
            self.shared.stock.mention(*address, rest, longest, self.now, out);
        }
    }

    fn address_defect(&self, token: &IntentToken, illegal: &dyn std::error::Error, out: &mut Outbox) {
        debug_assert!(false, "{token}: {illegal} at {}", self.now);
        let fault = terway_types::Fault::new(terway_types::FaultCode::Internal, illegal.to_string());
        out.note(crate::effect::Note::Failure { token: token.clone(), fault });
    }
}
