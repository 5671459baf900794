//! Making ENIs and finding those that a claim names: what the cloud's answers and refusals lead to.

use terway_types::{CloudFailure, CloudFailureKind as Kind, FaultCode};

use crate::books::EniNo;
use crate::cloud_work::again_in;
use crate::engine::Pool;
use crate::eni_life::{Proof, Step};
use crate::event::CloudEni;
use crate::failure::{AfterCreate, TRIES, after_create, fault};
use crate::outbox::Outbox;
use crate::supply::Job;

impl Pool {
    pub(crate) fn created(&mut self, number: EniNo, made: CloudEni, out: &mut Outbox) {
        let Some(eni) = self.books.get(number) else { return };
        let sought = eni.is_sought();
        let others = [self.books.by_mac(made.mac), self.books.by_id(&made.id)];
        let foreign = sought && eni.record.id.as_ref() != Some(&made.id);
        // Two records of one ENI would be two owners. The cloud should never answer so.
        if foreign || others.into_iter().flatten().any(|owner| owner != number) {
            let failure = CloudFailure {
                kind: Kind::Conflict,
                action: "create an ENI".to_owned(),
                vendor_code: None,
                request_id: None,
                message: format!("the answer names {} {}, which is another ENI", made.id, made.mac),
            };
            if sought {
                self.seek_failed(number, &failure, out);
            } else {
                self.create_failed(number, &failure, out);
            }
            return;
        }
        let (link, attached, assigned) = (self.books.link_present(made.mac), made.attached, made.assigned);
        self.books.identify(number, &self.settings, |record| {
            (record.id, record.mac, record.vswitch) = (Some(made.id), Some(made.mac), made.vswitch);
            record.security_groups = made.security_groups;
            (record.addresses, record.subnets, record.gateways) =
                (made.addresses, made.subnets, made.gateways);
        });
        self.books.edit(number, &self.settings, |eni| (eni.link, eni.failures) = (link, 0));
        if sought {
            self.supply.succeeded(Job::Find);
        } else if let Some(eni) = self.books.get(number) {
            self.supply.made(&eni.record.vswitch, eni.class);
        }
        self.step(number, Step::Created { attached }, out);
        if let Some(token) = self.books.get(number).map(|eni| eni.record.token.clone()) {
            self.stock_made(&token, &assigned, out);
        }
    }

    pub(crate) fn create_failed(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        let Some(eni) = self.books.get(number) else { return };
        let (vswitch, class, proven) = (eni.record.vswitch.clone(), eni.class, !eni.doubt || eni.refused);
        let aim = format!("create an ENI in {vswitch}");
        let (failures, wait) = self.count_failure(number, &failure.kind);
        let doubt = self.books.get(number).is_some_and(|eni| eni.doubt);
        let refused = after_create(&failure.kind, failures, doubt) == AfterCreate::Refused;
        let reaction = match (refused, proven) {
            (false, _) => again_in(wait),
            (true, true) => "the intent is dropped".to_owned(),
            (true, false) => "asking once more later".to_owned(),
        };
        let fault = fault(&aim, failure, &reaction);
        match &failure.kind {
            Kind::SubnetExhausted => self.supply.set_aside(&vswitch, &fault, self.now, &self.settings),
            // The vSwitch, the groups, or both together; not what others ask for.
            Kind::Invalid | Kind::Gone => self.supply.bar(class, &fault, self.now, &self.settings),
            Kind::Transient | Kind::Conflict | Kind::InvalidState if refused => {
                self.supply.bar(class, &fault, self.now, &self.settings);
            }
            _ => self.supply.troubled(Job::Create, &fault),
        }
        self.supply.held_back();
        self.pause_if_shared(Job::Create, &failure.kind, &fault);
        self.failed(number, fault, out);
        if !refused {
            self.retry(number, wait);
        } else if proven {
            self.forget(number, Proof::NeverMade, out);
        } else {
            // An earlier call whose answer never came may still take effect. Two refusals apart in time are
            // the proof that it did not.
            self.books.edit(number, &self.settings, |eni| eni.refused = true);
            self.follow_if_shared(number, out);
            self.retry(number, self.settings.retry_max);
        }
    }

    /// The ENI that a claim names could not be read.
    pub(crate) fn seek_failed(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        let (failures, wait) = self.count_failure(number, &failure.kind);
        let hopeless = matches!(failure.kind, Kind::Gone | Kind::Invalid) && failures >= TRIES.div_ceil(2);
        let reaction = if hopeless { "the claim cannot be served".to_owned() } else { again_in(wait) };
        let mut fault = fault(&format!("find ENI {}", self.id(number)), failure, &reaction);
        self.supply.troubled(Job::Find, &fault);
        self.pause_if_shared(Job::Find, &failure.kind, &fault);
        self.failed(number, fault.clone(), out);
        if !hopeless {
            return self.retry(number, wait);
        }
        fault.code = FaultCode::ClaimUnusable;
        FaultCode::ClaimUnusable.remedy().clone_into(&mut fault.remedy);
        let claim =
            self.books.get(number).and_then(|eni| eni.record.claim.as_ref()).map(|claim| claim.id.clone());
        if let Some(waiter) = claim.and_then(|claim| self.waiters.remove_claim(&claim)) {
            self.disappoint(waiter, &fault, out);
        }
        self.forget(number, Proof::NeverTouched, out);
    }
}
