//! Addresses without a cloud behind them: ranges that the VPC's route table leads to this node (in Kubernetes the
//! node's podCIDRs). The node's own NIC is an ENI of the books that is always there; the ranges are its prefixes. So
//! who waits, who rests and what recovery makes of the ledger is the same as on shared ENIs, and nothing else is left
//! to decide but this:
//!
//! | range | becomes |
//! |---|---|
//! | wanted, not there | added, unless it overlaps one whose addresses somebody has or had just now |
//! | there, not wanted | takes nobody new; goes when all its addresses are idle |
//! | there, wanted again | gives addresses again |

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressCounts, AddressSet, Addresses, EniPhase, EniRecord, FaultCode, Gateways, IntentToken, PrefixPhase,
    Subnets, Timestamp,
};

use crate::effect::{Capacity, Note};
use crate::engine::Pool;
use crate::eni::Service;
use crate::outbox::Outbox;
use crate::reason::Reason;
use crate::settings::{Mode, PoolSettings};
use crate::sharing::numbers::Numbers;
use crate::stock::{EniNo, Item, Life, Shelf, Stage};

/// The name of the node's own NIC in the books.
pub(crate) const NODE: &str = "node";

/// The ranges, in the mode that has some.
pub(crate) fn ranges(settings: &PoolSettings) -> Option<Subnets> {
    match settings.mode {
        Mode::Routed(ranges) => Some(ranges),
        Mode::Exclusive | Mode::Shared(_) => None,
    }
}

fn networks(ranges: Subnets) -> BTreeSet<IpNetwork> {
    ranges.iter().collect()
}

impl Pool {
    /// Makes the ranges that give addresses those of the settings. Nothing is done where they are.
    pub(crate) fn keep_ranges(&mut self, out: &mut Outbox) {
        let Some(ranges) = ranges(&self.settings) else { return };
        let no = self.node_shelf(ranges, out);
        let wanted = networks(ranges);
        let there = self.shared.stock.prefixes();
        for (net, phase) in &there {
            let to = if wanted.contains(net) { PrefixPhase::Ready } else { PrefixPhase::Frozen };
            if *phase != to && self.shared.stock.set_prefix(*net, to, self.now, out) {
                tell_range(*net, to, out);
            }
        }
        let gone: Vec<_> = self.idle_ranges(no).filter(|net| !wanted.contains(net)).collect();
        for net in gone {
            self.shared.stock.lose(no, Item::Prefix(net), self.now, out);
        }
        let missing = wanted.into_iter().filter(|net| !there.iter().any(|(known, _)| known == net)).collect();
        let added = AddressSet { prefixes: missing, ..AddressSet::default() };
        // What overlaps is refused, and tried again whenever something happens.
        self.shared.stock.fill(no, &added, Addresses::default(), Life::Idle, self.now, out);
    }

    /// Ranges all of whose addresses are idle.
    fn idle_ranges(&self, no: EniNo) -> impl Iterator<Item = IpNetwork> + '_ {
        let blocks = self.shared.stock.get(no).into_iter().flat_map(Shelf::blocks);
        blocks.filter(|block| block.is_idle()).map(|block| block.net)
    }

    /// The node's own NIC, which is made where it is missing.
    fn node_shelf(&mut self, ranges: Subnets, out: &mut Outbox) -> EniNo {
        let token = IntentToken::from(NODE);
        let number = self.books.by_token(&token).unwrap_or_else(|| {
            let number = self.books.insert(node_record(self.now, ranges), self.now, &self.settings);
            out.put_eni(number);
            number
        });
        let changed = self.books.get(number).is_some_and(|eni| eni.record.subnets != ranges);
        if changed {
            out.put_eni(number);
        }
        if changed || self.books.get(number).is_some_and(|eni| !eni.link) {
            // It has no netdev of its own to be awaited.
            self.books.edit(number, &self.settings, |eni| {
                (eni.record.subnets, eni.link) = (ranges, true);
                if eni.service == Service::Whole {
                    eni.service = Service::Shared;
                }
            });
        }
        if let Some(no) = self.shared.stock.number(&token) {
            if self.shared.stock.get(no).is_some_and(|shelf| shelf.stage != Stage::Open) {
                self.follow(&token, out);
            }
            return no;
        }
        let shelf = Shelf::new(token, "".into(), Stage::Open, AddressCounts::default());
        self.shared.stock.insert(shelf)
    }

    /// How many more pods the ranges serve. Nothing but what rests comes besides.
    pub(crate) fn routed_capacity(&self) -> Capacity {
        let totals = self.shared.stock.totals();
        Capacity { now: totals.idle, later: totals.idle.saturating_add(totals.resting) }
    }

    /// What stands between the next attachment and its address.
    pub(crate) fn routed_reason(&self) -> Reason {
        let nets: Vec<_> =
            networks(ranges(&self.settings).unwrap_or_default()).iter().map(ToString::to_string).collect();
        let numbers = Numbers(self.shared.stock.totals());
        let remedy = "run fewer pods on the node (the kubelet's maxPods), give nodes larger podCIDRs \
                      (--node-cidr-mask-size of kube-controller-manager; for new nodes), or use --daemon-mode ENIMultiIP";
        Reason {
            what: "address",
            code: FaultCode::PoolExhausted,
            why: format!("the node's podCIDRs {} are full ({numbers})", nets.join(" and ")),
            cause: None,
            remedy: Some(remedy.to_owned()),
        }
    }
}

fn tell_range(net: IpNetwork, phase: PrefixPhase, out: &mut Outbox) {
    let message = match phase {
        PrefixPhase::Ready => format!("the node has the range {net} again: its addresses are given"),
        _ => format!(
            "the node has the range {net} no more: pods that have an address of it keep it, and nobody gets one"
        ),
    };
    out.note(Note::Event { reason: "PodCidrChanged", message });
}

/// The node's own NIC as the ledger has it.
pub fn node_record(now: Timestamp, subnets: Subnets) -> EniRecord {
    EniRecord {
        token: NODE.into(),
        id: None,
        mac: None,
        vswitch: "".into(),
        security_groups: Vec::new(),
        addresses: Addresses::default(),
        subnets,
        gateways: Gateways::default(),
        phase: EniPhase::Ready,
        since: now,
        counts: AddressCounts::default(),
        claim: None,
        assigning: None,
    }
}
