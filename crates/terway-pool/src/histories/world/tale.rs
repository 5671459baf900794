//! Histories in words, for whoever reads a counterexample.

use super::World;
use super::choices::{After, Step};
use crate::histories::deed::Deed;

impl World {
    /// What a step is about to do here.
    pub(crate) fn describe(&self, step: &Step<Deed>) -> String {
        let deed = match &step.deed {
            Deed::Allocate(key, patience) => format!("ADD c{key}, waits for {patience} ms"),
            Deed::Release(key) => format!("DEL c{key}"),
            Deed::Answer(index, fate) => {
                let running = self.running.get(index % self.running.len().max(1));
                format!("{:?} ends: {fate:?}", running.map(|running| &running.action))
            }
            Deed::Land(index) => {
                format!("late {:?} lands", self.late.get(*index).map(|(_, action, _)| action))
            }
            Deed::Vanish(index) => {
                format!("late {:?} never lands", self.late.get(*index).map(|(_, action, _)| action))
            }
            Deed::SeeNext => format!("seen: {:?}", self.unseen.front()),
            Deed::Wait(millis) => format!("{millis} ms pass"),
            deed => format!("{deed:?}"),
        };
        match step.after {
            After::Run => deed,
            After::Die(effects) => format!("{deed}; death after {effects} of its effects"),
            After::Deaf => format!("{deed}; nobody hears the answer"),
            After::Lag => format!("{deed}; its effects wait"),
        }
    }

    /// Where everything stands, in a line.
    pub(crate) fn situation(&self) -> String {
        let enis = self.enis.values().map(|eni| {
            let link = eni.mac.map_or("", |mac| if self.home.contains(&mac) { " home" } else { " away" });
            format!(
                "{} {}{link}",
                eni.id.as_ref().map_or(eni.token.as_str(), |id| id.as_str()),
                eni.phase.name()
            )
        });
        let told = self.told.iter().map(|(key, token)| format!("{key} has {token}"));
        let waiting = self.pool.waiters.iter().map(|waiter| format!("{} waits", waiter.key));
        let running = self.running.iter().map(|running| format!("running {:?}", running.action));
        let parts: Vec<_> = enis.chain(told).chain(waiting).chain(running).collect();
        format!("at {}: {}", self.now, parts.join("; "))
    }
}
