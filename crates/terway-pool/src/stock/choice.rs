//! How much to ask for, and what to take off: numbers in, numbers and addresses out.

use ipnetwork::IpNetwork;
use std::net::IpAddr;

use terway_types::{AddressCounts, IpFamily, PrefixPhase};

use crate::stock::book::Rules;
use crate::stock::numbers::{PREFIX_V4, PREFIX_V6};
use crate::stock::shelf::Shelf;

impl Rules {
    /// What to ask for with a new ENI for so many pairs: as much as one call brings.
    pub(crate) fn for_new_eni(&self, pairs: u32) -> AddressCounts {
        if self.prefixes {
            // The primary address takes a slot and serves as well.
            let wanted = pairs.saturating_sub(1).div_ceil(PREFIX_V4).max(1);
            let ipv4_prefixes = wanted.min(self.batch).min(self.per_eni.saturating_sub(1));
            return AddressCounts { ipv4: 1, ipv6: 0, ipv4_prefixes, ipv6_prefixes: u32::from(self.dual) };
        }
        let wanted = pairs.min(self.per_eni).min(self.batch).max(1);
        AddressCounts { ipv4: wanted, ipv6: if self.dual { wanted } else { 0 }, ..AddressCounts::default() }
    }

    /// How many pairs a new ENI has in the end.
    pub(crate) fn full_eni(&self) -> u32 {
        if self.prefixes { 1 + self.per_eni.saturating_sub(1) * PREFIX_V4 } else { self.per_eni }
    }
}

impl Shelf {
    /// What one call may ask for to gain so many pairs, or as many as fit.
    pub(crate) fn for_more(&self, pairs: u32, rules: &Rules) -> AddressCounts {
        let usable = |family| {
            let heads = self.heads(family);
            heads.idle + heads.resting
        };
        let (v4, v6) = (usable(IpFamily::V4), usable(IpFamily::V6));
        let base = if rules.dual { v4.min(v6) } else { v4 };
        let target = base + pairs.min(self.pairs(rules).room);
        let short = |usable: u32, size: u32| target.saturating_sub(usable).div_ceil(size).min(rules.batch);
        let families = if rules.dual { (short(v4, 1), short(v6, 1)) } else { (short(v4, 1), 0) };
        if rules.prefixes {
            let ipv6_prefixes = if rules.dual { short(v6, PREFIX_V6) } else { 0 };
            return AddressCounts { ipv4: 0, ipv6: 0, ipv4_prefixes: short(v4, PREFIX_V4), ipv6_prefixes };
        }
        AddressCounts { ipv4: families.0, ipv6: families.1, ..AddressCounts::default() }
    }

    /// Whether anything can be taken off to lose at most so many pairs.
    pub(crate) fn can_give_back(&self, pairs: u32, rules: &Rules) -> bool {
        let loose = |family| self.heads(family).loose > 0;
        let singles = loose(IpFamily::V4) && (!rules.dual || loose(IpFamily::V6));
        pairs > 0
            && rules.batch > 0
            && (singles || self.empty_blocks(PrefixPhase::Ready).any(|block| block.size() <= pairs))
    }

    /// What to take off to lose at most so many pairs by one call: those that rested longest, and prefixes that
    /// nobody uses.
    pub(crate) fn for_less(&self, pairs: u32, rules: &Rules) -> (Vec<IpAddr>, Vec<IpNetwork>) {
        let (mut left, mut nets) = (pairs, Vec::new());
        let mut empty: Vec<_> =
            self.empty_blocks(PrefixPhase::Ready).map(|block| (block.size(), block.net)).collect();
        empty.sort_unstable();
        for (size, net) in empty.into_iter().take(usize::try_from(rules.batch).unwrap_or(usize::MAX)) {
            if size <= left {
                left -= size;
                nets.push(net);
            }
        }
        let v4 = self.longest_idle(IpFamily::V4);
        let v6 = if rules.dual { self.longest_idle(IpFamily::V6) } else { Vec::new() };
        let most = if rules.dual { v4.len().min(v6.len()) } else { v4.len() };
        let count = most.min(usize::try_from(left.min(rules.batch)).unwrap_or(usize::MAX));
        let singles = v4.into_iter().take(count).chain(v6.into_iter().take(count)).collect();
        (singles, nets)
    }
}
