//! What the world outside does by itself: late calls land, netdevs appear, the cloud acts.

use std::time::Duration;

use terway_types::CloudFailure;

use super::World;
use super::meddling::GHOST;
use crate::histories::cloud::RealCloud;
use crate::testing::key;
use crate::{CloudAction, CloudAnswer, Event};

impl World {
    /// What lands by itself by now: late calls, netdevs.
    pub(crate) fn happen(&mut self) {
        let now = self.now;
        self.note_scene();
        for (_, action, operation) in self.late.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            let outcome = self.act(&action);
            self.unseen.extend(operation.map(|operation| Event::CloudDone { operation, outcome }));
        }
        for (_, id) in self.arriving.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            if let Some(real) = self.cloud.by_id(&id).filter(|real| real.attached)
                && !self.inside.contains_key(&real.mac)
                && self.home.insert(real.mac)
            {
                self.unseen.push_back(Event::LinkUp { mac: real.mac });
            }
        }
    }

    pub(crate) fn act(&mut self, action: &CloudAction) -> Result<CloudAnswer, CloudFailure> {
        let attached = |cloud: &mut RealCloud, id| cloud.by_id(id).map(|real| (real.attached, real.mac));
        if let CloudAction::Attach { eni }
        | CloudAction::Detach { eni }
        | CloudAction::Delete { eni }
        | CloudAction::Regroup { eni, .. } = action
        {
            assert!(!self.cloud.foreign.contains_key(eni), "{action:?} touches an ENI of others");
        }
        let answer = match action {
            CloudAction::Attach { eni } => {
                let before = attached(&mut self.cloud, eni);
                let answer = self.cloud.act(action);
                if before.is_some_and(|(was, _)| !was) && answer.is_ok() {
                    let slow = u64::from(self.pace.slow_links);
                    let delay = slow * u64::from(before.map_or(0, |(_, mac)| mac.0[5])) * 37 % 100;
                    self.arriving.push((self.now + Duration::from_millis(delay), eni.clone()));
                }
                answer
            }
            CloudAction::Detach { eni } => {
                let before = attached(&mut self.cloud, eni);
                if let Some((true, mac)) = before {
                    let has = |token| self.cloud.enis.get(token).is_some_and(|real| real.mac == mac);
                    let user = self.told.iter().find(|(_, token)| has(*token));
                    assert!(user.is_none(), "{eni} is taken away from {user:?}");
                    let user = self.inside.remove(&mac);
                    assert_ne!(user, Some(key(GHOST)), "{eni} is taken away from a pod that the ledger lost");
                    if self.home.remove(&mac) {
                        self.unseen.push_back(Event::LinkGone { mac });
                    }
                }
                self.cloud.act(action)
            }
            _ => self.cloud.act(action),
        };
        self.happen();
        answer
    }
}
