//! Counting addresses: per ENI and in all. Everything that leads to a decision is counted in pairs: in dual stack
//! a pod takes an IPv4 and an IPv6 address of one ENI, so half of a pair serves nobody.

use terway_types::AddressCounts;

/// Addresses of a prefix of IPv4, which clouds give as a /28.
pub(crate) const PREFIX_V4: u32 = 16;
/// Addresses that we use of a prefix of IPv6, which clouds give as a /80.
pub(crate) const PREFIX_V6: u32 = 1 << 16;

/// One ENI's addresses of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) idle: u32,
    pub(crate) in_use: u32,
    pub(crate) resting: u32,
    /// Single addresses that are being taken off.
    pub(crate) unassigning: u32,
    /// Idle single addresses that can be taken off: not primary.
    pub(crate) loose: u32,
    /// Single addresses and prefixes, wherever they are in their lives: what counts against the ENI's limit.
    pub(crate) slots: u32,
}

/// How many addresses per family these counts are, and how many slots of an ENI they take.
pub(crate) fn addresses(counts: AddressCounts) -> (u32, u32) {
    let v4 = counts.ipv4.saturating_add(counts.ipv4_prefixes.saturating_mul(PREFIX_V4));
    (v4, counts.ipv6.saturating_add(counts.ipv6_prefixes.saturating_mul(PREFIX_V6)))
}

/// One ENI's numbers in pairs. Each counts what comes on top of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs {
    pub(crate) idle: u32,
    pub(crate) resting: u32,
    /// Asked for.
    pub(crate) coming: u32,
    /// What the ENI could take besides.
    pub(crate) room: u32,
}

impl Pairs {
    /// From running sums per family: idle, with resting, with those asked for, with the room.
    pub(crate) fn of(v4: [u32; 4], v6: [u32; 4], dual: bool) -> Self {
        let pair = |at: usize| if dual { v4[at].min(v6[at]) } else { v4[at] };
        let (idle, resting, coming, room) = (pair(0), pair(1), pair(2), pair(3));
        Self {
            idle,
            resting: resting - idle,
            coming: coming.saturating_sub(resting),
            room: room.saturating_sub(coming),
        }
    }
}

/// The numbers of all shared ENIs, in pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Can be given at once.
    pub(crate) idle: u32,
    /// Held by attachments.
    pub(crate) in_use: u32,
    /// In quarantine, on ENIs that serve.
    pub(crate) resting: u32,
    /// On ENIs that are being made, or asked for on ENIs that serve.
    pub(crate) coming: u32,
    /// What ENIs that are being made or filled can take besides.
    pub(crate) later: u32,
    /// What the other ENIs that serve can take, now or after a pause.
    pub(crate) room: u32,
    /// On ENIs that are being made or that serve, all told.
    pub(crate) enis: u32,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        self.each(other, u32::saturating_add);
    }

    pub(crate) fn take(&mut self, other: Self) {
        self.each(other, |mine, theirs| mine - theirs);
    }

    fn each(&mut self, other: Self, with: impl Fn(u32, u32) -> u32) {
        for (mine, theirs) in [
            (&mut self.idle, other.idle),
            (&mut self.in_use, other.in_use),
            (&mut self.resting, other.resting),
            (&mut self.coming, other.coming),
            (&mut self.later, other.later),
            (&mut self.room, other.room),
            (&mut self.enis, other.enis),
        ] {
            *mine = with(*mine, theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_counts_for_nothing_and_asking_for_the_other_half_makes_it_one() {
        // Three idle and one resting of IPv4; one idle of IPv6, two asked for, room for ten.
        let pairs = Pairs::of([3, 4, 4, 14], [1, 1, 3, 13], true);
        assert_eq!(pairs, Pairs { idle: 1, resting: 0, coming: 2, room: 10 });
        let single = Pairs::of([3, 4, 4, 14], [0; 4], false);
        assert_eq!(single, Pairs { idle: 3, resting: 1, coming: 0, room: 10 });
    }

    #[test]
    fn prefixes_count_by_their_addresses() {
        let counts = AddressCounts { ipv4: 1, ipv6: 0, ipv4_prefixes: 2, ipv6_prefixes: 1 };
        assert_eq!(addresses(counts), (33, 65_536));
    }
}
