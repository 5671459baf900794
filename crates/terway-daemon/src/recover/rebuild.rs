//! Records out of traces, pure. An ENI or an address whose holder is known is in use; one whose holder is not
//! known rests, and is not given before its NIC is at home; an ENI on its way is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use terway_pool::{Place, SeenEni};
use terway_types::{
    AddressCounts, AddressPhase, AddressRecord, Addresses, AttachmentKey, AttachmentRecord, EniPhase,
    EniRecord, IntentToken, LedgerSnapshot, NodeMode, PodRef, PrefixPhase, PrefixRecord, Timestamp,
};

use super::kernel::Traces;

/// A new ledger, and what there is to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The records.
    pub snapshot: LedgerSnapshot,
    /// What is known for certain.
    pub certain: Vec<String>,
    /// What somebody should look at.
    pub uncertain: Vec<String>,
}

impl Rebuilt {
    /// For people.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let uncertain = self.uncertain.iter().map(|line| format!("uncertain: {line}"));
        self.certain.iter().cloned().chain(uncertain)
    }
}

/// Puts cloud and kernel together.
pub fn rebuild(
    mode: NodeMode,
    seen: &[SeenEni],
    traces: &Traces,
    now: Timestamp,
    quarantine: Duration,
) -> Rebuilt {
    let mut work = Work {
        mode,
        now,
        until: now + quarantine,
        traces,
        holder: BTreeMap::new(),
        tokens: BTreeSet::new(),
        done: Rebuilt::default(),
    };
    work.index();
    for eni in seen.iter().filter(|eni| !eni.primary) {
        work.eni(eni);
    }
    work.attach();
    let snapshot = &mut work.done.snapshot;
    snapshot.enis.sort_by(|a, b| a.token.cmp(&b.token));
    snapshot.addresses.sort_by_key(|record| record.address);
    snapshot.prefixes.sort_by_key(|record| record.prefix);
    work.done
}

struct Work<'a> {
    mode: NodeMode,
    now: Timestamp,
    until: Timestamp,
    traces: &'a Traces,
    /// Whose each routed address is, and the ENI it was found on.
    holder: BTreeMap<IpAddr, (&'a AttachmentKey, Option<IntentToken>)>,
    tokens: BTreeSet<IntentToken>,
    done: Rebuilt,
}

impl Work<'_> {
    fn index(&mut self) {
        for link in &self.traces.nameless {
            self.doubt(format!(
                "host link {link} is of an attachment whose name is too long to be read back"
            ));
        }
        for (key, addresses) in &self.traces.holders {
            if addresses.is_empty() {
                self.doubt(format!("attachment {key} has a host link and no address is routed to it"));
            }
            for address in addresses {
                if let Some((first, _)) = self.holder.get(address) {
                    let first = (*first).clone();
                    self.doubt(format!("{address} is routed to {first} and to {key}; kept for the first"));
                } else {
                    self.holder.insert(*address, (key, None));
                }
            }
        }
    }

    fn doubt(&mut self, line: String) {
        self.done.uncertain.push(line);
    }

    fn eni(&mut self, eni: &SeenEni) {
        let id = &eni.id;
        if !eni.ours {
            if eni.addresses.iter().any(|address| self.holder.contains_key(&address)) {
                self.doubt(format!("{id} has a pod's address and not this node's marks; left out"));
            }
            return;
        }
        if eni.place == Place::Elsewhere {
            self.doubt(format!("{id} has this node's marks and is attached to another instance; left out"));
            return;
        }
        let token = self.token(eni);
        let phase = self.phase(eni, &token);
        let counts = AddressCounts {
            ipv4: u32::try_from(eni.assigned.ipv4.len()).unwrap_or(u32::MAX).max(1),
            ipv6: u32::try_from(eni.assigned.ipv6.len()).unwrap_or(u32::MAX),
            ipv4_prefixes: prefixes(eni, IpNetwork::is_ipv4),
            ipv6_prefixes: prefixes(eni, IpNetwork::is_ipv6),
        };
        self.done.certain.push(format!("{id} ({token}) is {}", phase.name()));
        if self.mode == NodeMode::Shared && eni.place == Place::Here {
            self.shared(eni, &token);
        }
        self.done.snapshot.enis.push(EniRecord {
            token,
            id: Some(id.clone()),
            mac: Some(eni.mac),
            vswitch: eni.vswitch.clone(),
            security_groups: eni.security_groups.clone(),
            addresses: eni.addresses,
            subnets: eni.subnets,
            gateways: eni.gateways,
            phase,
            since: self.now,
            counts,
            claim: None,
            assigning: None,
        });
    }

    /// The one its tags name, unless another ENI names it too.
    fn token(&mut self, eni: &SeenEni) -> IntentToken {
        let told = eni.token.clone().filter(|token| !self.tokens.contains(token));
        let token = told.unwrap_or_else(|| {
            self.doubt(format!("{} has no intent of its own in its tags; it gets a new one", eni.id));
            IntentToken(format!("recovered-{}", eni.id))
        });
        self.tokens.insert(token.clone());
        token
    }

    fn phase(&mut self, eni: &SeenEni, token: &IntentToken) -> EniPhase {
        let home = self.traces.home.contains(&eni.mac);
        match (eni.place, self.mode) {
            (Place::Nowhere, _) => EniPhase::Detached,
            (Place::Moving, _) => {
                self.doubt(format!("{} is on its way; it is detached and used anew", eni.id));
                EniPhase::Detaching
            }
            (_, NodeMode::Shared) if home => EniPhase::Ready,
            (_, NodeMode::Shared | NodeMode::VpcRoute) => EniPhase::Attached,
            (_, NodeMode::Exclusive) => {
                let held = eni.addresses.iter().find_map(|address| {
                    let (key, on) = self.holder.get_mut(&address)?;
                    *on = Some(token.clone());
                    Some((*key).clone())
                });
                if let Some(key) = held {
                    for address in eni.addresses.iter() {
                        if let Some((_, on)) = self.holder.get_mut(&address) {
                            *on = Some(token.clone());
                        }
                    }
                    return EniPhase::InUse(key);
                }
                if !home {
                    self.doubt(format!(
                        "the NIC of {} is not in the node's namespace and no attachment shows its address: it is given to nobody until it comes home",
                        eni.id
                    ));
                }
                EniPhase::Quarantined { until: self.until }
            }
        }
    }

    /// The addresses of an ENI that several attachments share.
    fn shared(&mut self, eni: &SeenEni, token: &IntentToken) {
        let singles: BTreeSet<IpAddr> = eni.assigned.singles().chain(eni.addresses.iter()).collect();
        let in_prefix =
            |address: &IpAddr| eni.assigned.prefixes.iter().any(|prefix| prefix.contains(*address));
        let routed: Vec<IpAddr> = self.holder.keys().copied().filter(in_prefix).collect();
        for address in singles.iter().copied().chain(routed) {
            let phase = match self.holder.get_mut(&address) {
                Some((key, on)) => {
                    *on = Some(token.clone());
                    AddressPhase::InUse((*key).clone())
                }
                None => AddressPhase::Quarantined { until: self.until },
            };
            self.done.snapshot.addresses.push(AddressRecord {
                address,
                eni: token.clone(),
                phase,
                since: self.now,
            });
        }
        for prefix in &eni.assigned.prefixes {
            self.done.snapshot.prefixes.push(PrefixRecord {
                prefix: *prefix,
                eni: token.clone(),
                phase: PrefixPhase::Ready,
                since: self.now,
            });
        }
    }

    /// Attachments whose addresses were found on an ENI. One pod's addresses lie on one ENI.
    fn attach(&mut self) {
        let mut found: BTreeMap<&AttachmentKey, (IntentToken, Addresses)> = BTreeMap::new();
        let mut lost = Vec::new();
        for (address, (key, on)) in &self.holder {
            let Some(token) = on else {
                lost.push(format!(
                    "{key} has {address}, which no ENI of this node has; the pod must be made anew"
                ));
                continue;
            };
            let (_, addresses) = found.entry(*key).or_insert_with(|| (token.clone(), Addresses::default()));
            match address {
                IpAddr::V4(v4) => addresses.v4 = Some(*v4),
                IpAddr::V6(v6) => addresses.v6 = Some(*v6),
            }
        }
        for (key, (token, addresses)) in found {
            self.done.certain.push(format!("{key} holds {token}"));
            self.done.snapshot.attachments.push(AttachmentRecord {
                key: key.clone(),
                // The kernel does not know pods by name; the runtime's DEL names the sandbox, which is enough.
                pod: PodRef::default(),
                netns: String::new(),
                eni: token,
                addresses,
                claim: None,
                since: self.now,
            });
        }
        self.done.uncertain.extend(lost);
    }
}

fn prefixes(eni: &SeenEni, family: impl Fn(&IpNetwork) -> bool) -> u32 {
    u32::try_from(eni.assigned.prefixes.iter().filter(|prefix| family(prefix)).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
