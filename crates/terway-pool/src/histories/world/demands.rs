//! What is asked for besides any ENI: vSwitches and security groups, claims of the control plane; the node's end.

use std::time::Duration;

use terway_types::{ClaimId, EniId, EniPhase};

use super::World;
use super::meddling::GHOST;
use crate::testing::key;
use crate::{Claim, ClaimFate, Event, Keep, Wants};

/// What somebody asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Demand {
    Any,
    /// An ENI of the second vSwitch.
    VSwitch,
    /// Other security groups.
    Groups,
    /// The ENI of this claim.
    Claim(u8, Keep),
    /// The ENI of this claim, which the control plane has made.
    Named(u8, Keep),
}

impl Demand {
    fn wants(self, named: Option<EniId>) -> Wants {
        match self {
            Self::Any => Wants::default(),
            Self::VSwitch => Wants { vswitches: vec!["vsw-b".into()], ..Wants::default() },
            Self::Groups => Wants { security_groups: vec!["sg-2".into()], ..Wants::default() },
            Self::Claim(number, keep) | Self::Named(number, keep) => {
                Wants { claim: Some(Claim { id: claim(number), eni: named, keep }), ..Wants::default() }
            }
        }
    }
}

fn claim(number: u8) -> ClaimId {
    ClaimId(format!("claim-{number}"))
}

impl World {
    pub(crate) fn demand(&mut self, number: u8, demand: Demand, patience: u64) {
        // An effect that waits for longer than a call may take would be a second, later call.
        self.punctual = true;
        // What is kept for a claim may be attached, where the cloud said that it is gone: looks settle it.
        self.watched |= matches!(demand, Demand::Claim(..) | Demand::Named(..));
        let named = match demand {
            Demand::Named(claim, _) => match self.name(claim) {
                Some(id) => Some(id),
                None => return,
            },
            _ => None,
        };
        self.allocate_this(number, demand.wants(named), patience);
    }

    /// The ENI that the control plane has for a claim: made if there is none, brought back if it is elsewhere. None
    /// while a pod has it of which the ledger was lost: nobody else gets it meanwhile.
    fn name(&mut self, claim: u8) -> Option<EniId> {
        let known = self.named.get(&claim).cloned().filter(|id| self.cloud.by_id(id).is_some());
        let id = known.unwrap_or_else(|| self.cloud.make_named());
        self.named.insert(claim, id.clone());
        let real = self.cloud.by_id(&id)?;
        real.elsewhere = false;
        let mac = real.mac;
        self.happen();
        (self.inside.get(&mac) != Some(&key(GHOST))).then_some(id)
    }

    /// The control plane is done with a claim. It moves what is kept here only, and says so when it has done it.
    pub(crate) fn unclaim(&mut self, number: u8, fate: ClaimFate) {
        let id = claim(number);
        if fate == ClaimFate::Moved {
            let is_kept = |eni: &&terway_types::EniRecord| {
                eni.phase == EniPhase::Kept && eni.claim.as_ref().is_some_and(|hold| hold.id == id)
            };
            let Some(token) = self.enis.values().find(is_kept).map(|eni| eni.token.clone()) else { return };
            let Some(real) = self.cloud.enis.get_mut(&token).filter(|real| !real.attached) else { return };
            real.elsewhere = true;
            // Should the control plane contradict itself, looks settle it.
            self.watched = true;
            self.meddled.insert(token);
            self.happen();
        }
        self.event(Event::Unclaim { claim: id, fate });
    }

    /// The node goes away. A daemon that starts again has to be told again.
    pub(crate) fn retire(&mut self) {
        self.event(Event::Retire);
    }

    /// Calls that the pool takes for lost have landed by then, for the driver's own limits are shorter; their
    /// answers come too late.
    pub(crate) fn land_overdue(&mut self) {
        let limit = self.settings.operation_timeout;
        let overdue = self.running.extract_if(.., |running| running.since + limit <= self.now);
        for running in overdue.collect::<Vec<_>>() {
            let outcome = self.act(&running.action);
            self.unseen.push_back(Event::CloudDone { operation: running.operation, outcome });
        }
    }

    /// Long enough for the pool to give up on a call.
    pub(crate) fn time_out(&mut self) {
        self.punctual = true;
        self.wait(u64::try_from(self.settings.operation_timeout.as_millis()).unwrap());
    }

    pub(crate) fn allocate(&mut self, number: u8, patience: u64) {
        self.allocate_this(number, Wants::default(), patience);
    }

    pub(crate) fn allocate_this(&mut self, number: u8, wants: Wants, patience: u64) {
        let request = self.ask(Some(key(number)), true);
        let deadline = self.now + Duration::from_millis(patience);
        let (pod, netns) = (terway_types::PodRef::default(), "/ns".to_owned());
        self.event(Event::Allocate { request, key: key(number), pod, netns, wants, deadline });
    }
}
