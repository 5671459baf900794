//! What the pool of addresses says of itself: the capacity for the scheduler, and why somebody waits.

use std::fmt;

use terway_types::FaultCode;

use crate::effect::Capacity;
use crate::engine::Pool;
use crate::reason::Reason;
use crate::stock::Totals;
use crate::wishes::DEFAULT;

impl Pool {
    /// How many more pods can be served: net of quarantine, of vSwitches set aside and of the limits.
    pub(crate) fn shared_capacity(&self, can_create: bool) -> Capacity {
        let (totals, tally) = (self.shared.stock.totals(), self.books.tally());
        let staying = tally.total() - tally.leaving;
        let limit = self.limit().min(self.supply.quota(self.now).unwrap_or(u32::MAX));
        let new_enis = if can_create { limit.saturating_sub(staying) } else { 0 };
        let later = [
            totals.coming,
            totals.resting,
            self.open_room(),
            new_enis.saturating_mul(self.shared.stock.rules.full_eni()),
        ];
        let now = totals.idle;
        Capacity { now, later: later.into_iter().fold(now, u32::saturating_add) }
    }

    /// What stands between the next attachment and its address.
    pub(crate) fn shared_reason(&self) -> Reason {
        let (totals, tally) = (self.shared.stock.totals(), self.books.tally());
        let at_limit = tally.total() >= self.limit() && self.open_room() == 0;
        let numbers = format!("{}; {} of at most {} ENIs", Numbers(totals), tally.total(), self.limit());
        let (code, why, cause) = match self.supply.trouble(self.wishes.get(DEFAULT)) {
            Some(trouble) if !at_limit || totals.coming > 0 => {
                (trouble.code, format!("addresses do not come ({numbers})"), Some(trouble.clone()))
            }
            _ if totals.coming > 0 => {
                (FaultCode::PoolExhausted, format!("addresses are on their way ({numbers})"), None)
            }
            _ if at_limit => {
                (FaultCode::PoolExhausted, format!("the ENIs of this node are full ({numbers})"), None)
            }
            _ => (FaultCode::PoolExhausted, format!("no address is idle ({numbers})"), None),
        };
        Reason { what: "address", code, why, cause, remedy: None }
    }
}

/// `3 in use, 1 in quarantine`: what there is, without zeros.
pub(crate) struct Numbers<'a>(pub(crate) &'a Totals);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.0.in_use, "in use"),
            (self.0.idle, "idle"),
            (self.0.coming, "being made or assigned"),
            (self.0.resting, "in quarantine"),
        ];
        let mut present = parts.iter().filter(|(count, _)| *count > 0);
        let Some((count, what)) = present.next() else { return f.write_str("no addresses") };
        write!(f, "{count} addresses {what}")?;
        present.try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_there_is() {
        assert_eq!(Numbers(&Totals::default()).to_string(), "no addresses");
        let totals = Totals { in_use: 3, resting: 1, room: 9, ..Totals::default() };
        assert_eq!(Numbers(&totals).to_string(), "3 addresses in use, 1 in quarantine");
    }
}
