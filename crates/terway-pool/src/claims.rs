//! ENIs that the control plane claims for one attachment each: outside the pool, found or made when the attachment
//! comes, and deleted, kept or left to another node when it goes. One claim, one ENI.

use terway_types::{
    AddressCounts, Addresses, AfterClaim, AttachmentKey, ClaimHold, ClaimId, EniPhase, EniRecord, Fault,
    FaultCode, Gateways, Subnets, VSwitchId,
};

use crate::books::EniNo;
use crate::engine::Pool;
use crate::eni_life::Step;
use crate::event::{Claim, ClaimFate, Keep};
use crate::outbox::Outbox;
use crate::waiters::Place;

impl Keep {
    fn then(self) -> AfterClaim {
        match self {
            Self::Elastic => AfterClaim::Delete,
            Self::Fixed => AfterClaim::Keep,
        }
    }
}

impl Pool {
    /// Why this attachment cannot have the claim's ENI, if so.
    pub(crate) fn claimable(&self, claim: &Claim, key: &AttachmentKey) -> Result<(), Fault> {
        let unusable = |why: String| {
            let what = format!("{key} cannot have the ENI of claim {}: {why}", claim.id);
            Err(Fault::new(FaultCode::ClaimUnusable, what))
        };
        if let Some(other) = self.waiters.of_claim(&claim.id).filter(|waiter| waiter.key != *key) {
            return unusable(format!("{} waits for it", other.key));
        }
        let held = self.books.by_claim(&claim.id).and_then(|eni| self.books.get(eni)).map(|eni| &eni.record);
        if let Some(EniRecord { phase: EniPhase::InUse(other), .. }) = held {
            return unusable(format!("{other} holds it"));
        }
        let Some(named) = &claim.eni else { return Ok(()) };
        if let Some(known) = held.and_then(|record| record.id.as_ref()).filter(|known| *known != named) {
            return unusable(format!("it names {named}, but this node has {known} for it"));
        }
        let owner = self.books.by_id(named).and_then(|eni| self.books.get(eni)).map(|eni| &eni.record);
        if owner.is_some_and(|owner| owner.claim.as_ref().is_none_or(|hold| hold.id != claim.id)) {
            return unusable(format!("{named} serves something else on this node"));
        }
        Ok(())
    }

    /// Somebody wants a claim that may have been given away: it is not any more.
    pub(crate) fn want_claim(&mut self, claim: &Claim, out: &mut Outbox) {
        let Some(number) = self.books.by_claim(&claim.id) else { return };
        let gives_away = |eni: &crate::eni::Eni| eni.then() == Some(AfterClaim::Forget);
        if self.books.get(number).is_some_and(gives_away) {
            self.set_fate(number, AfterClaim::Keep, out);
        }
    }

    /// The control plane is done with a claim.
    pub(crate) fn unclaim(&mut self, claim: &ClaimId, fate: ClaimFate, out: &mut Outbox) {
        let waiter = self.waiters.remove_claim(claim);
        if let Some(number) = self.books.by_claim(claim) {
            let then = match fate {
                ClaimFate::Delete => AfterClaim::Delete,
                ClaimFate::Moved => AfterClaim::Forget,
            };
            self.set_fate(number, then, out);
            self.advance(number, out);
        }
        if let Some(waiter) = waiter {
            let what = format!("claim {claim} ended while {} waited for its ENI", waiter.key);
            self.disappoint(waiter, &Fault::new(FaultCode::ClaimUnusable, what), out);
        }
    }

    /// A claim's ENI is ready: whoever waits for it gets it.
    pub(crate) fn hand_over(&mut self, number: EniNo, out: &mut Outbox) -> bool {
        let Some(claim) = self.books.get(number).and_then(|eni| eni.record.claim.as_ref()) else {
            return false;
        };
        let Some(waiter) = self.waiters.remove_claim(&claim.id.clone()) else { return false };
        if let Some(claim) = &waiter.claim {
            self.set_fate(number, claim.keep.then(), out);
        }
        self.give(number, waiter, out)
    }

    /// Sees to it that the ENI of everybody who waits for a claim is on its way.
    pub(crate) fn provide_claims(&mut self, out: &mut Outbox) {
        while let Some(place) = self.next_claim() {
            if !(self.has_room_for_waiter(out) && self.provide_claim(place, out)) {
                return;
            }
        }
    }

    /// The first of those whose claim's ENI is not on its way and can be. Room is made only for what can take it:
    /// else the stock would, and it would be made again.
    fn next_claim(&self) -> Option<Place> {
        if self.free_slots() == 0 {
            return None;
        }
        // Of those that are there, no more are under way than may be.
        let there = self.waiters.claims_there().find(|(_, waiter)| {
            let known = waiter.claim.as_ref().and_then(|claim| self.books.by_claim(&claim.id));
            known.and_then(|eni| self.books.get(eni)).is_none_or(|eni| eni.record.phase == EniPhase::Kept)
        });
        let to_make = self.waiters.claims_to_make();
        let to_make = to_make.filter(|(wish, _)| self.supply.can_create(self.wishes.get(*wish), self.now));
        there.map(|(place, _)| place).into_iter().chain(to_make.map(|(_, place)| place)).min()
    }

    /// Attaches what is kept for a claim, or seeks or makes its ENI. Tells whether it did.
    fn provide_claim(&mut self, place: Place, out: &mut Outbox) -> bool {
        let Some(waiter) = self.waiters.get(place) else { return false };
        let Some(claim) = waiter.claim.clone() else { return false };
        if let Some(number) = self.books.by_claim(&claim.id) {
            let attaches = self.step(number, Step::Attach, out);
            self.advance(number, out);
            return attaches;
        }
        let wish = self.wishes.get(waiter.wish);
        // One that is named was made by the control plane: until somebody has held it, it is not ours to delete.
        let (vswitch, then) = if claim.eni.is_some() {
            (VSwitchId(String::new()), AfterClaim::Keep)
        } else {
            let chosen = self.supply.choose(wish, self.now, &self.settings, &mut self.random);
            let Some(vswitch) = chosen.cloned() else { return false };
            (vswitch, claim.keep.then())
        };
        let groups = wish.groups.clone();
        let hold = ClaimHold { id: claim.id.clone(), then };
        let record = EniRecord { id: claim.eni, claim: Some(hold), ..self.intent(vswitch, groups) };
        self.waiters.claim_changed(&claim.id, true);
        self.begin(record, crate::eni::Service::Whole, out);
        true
    }

    /// The intent to make an ENI.
    pub(crate) fn intent(
        &mut self,
        vswitch: VSwitchId,
        security_groups: Vec<terway_types::SecurityGroupId>,
    ) -> EniRecord {
        EniRecord {
            token: self.supply.mint(),
            id: None,
            mac: None,
            vswitch,
            security_groups,
            addresses: Addresses::default(),
            subnets: Subnets::default(),
            gateways: Gateways::default(),
            phase: EniPhase::Creating,
            since: self.now,
            counts: AddressCounts {
                ipv4: 1,
                ipv6: u32::from(self.settings.ipv6),
                ..AddressCounts::default()
            },
            claim: None,
            assigning: None,
        }
    }

    fn set_fate(&mut self, number: EniNo, then: AfterClaim, out: &mut Outbox) {
        self.books.identify(number, &self.settings, |record| {
            if let Some(claim) = &mut record.claim {
                claim.then = then;
            }
        });
        out.put_eni(number);
    }
}
