//! Acts on what looks at cloud and metadata find: the second half of every row of the table in `reconcile`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use terway_types::{AddressCounts, EniPhase, EniRecord, IntentToken, MacAddr, Timestamp};

use crate::books::EniNo;
use crate::effect::Note;
use crate::engine::Pool;
use crate::eni::{Eni, Flags, Service, Work};
use crate::eni_life::{Proof, Step};
use crate::event::{CloudEni, Inventory, Place, SeenEni};
use crate::outbox::Outbox;
use crate::reconcile::{
    CloudSightings, Finding, Foreign, ItemSightings, Known, MetadataSightings, Rule, Times, compare,
    compare_nics,
};
use crate::sharing::sharing;
use crate::stock::Life;

/// What the pool knows of looks.
#[derive(Clone, Debug)]
pub(crate) struct Witnesses {
    cloud: CloudSightings,
    pub(crate) items: ItemSightings,
    nics: MetadataSightings,
    foreign: Foreign,
    /// When an ENI last left the books. Looks of an earlier life began before this one did.
    forgotten: Timestamp,
    /// `max_enis` as the settings have it; the pool works with what ENIs of others leave of it.
    limit: u32,
}

impl Witnesses {
    pub(crate) fn new(limit: u32, now: Timestamp) -> Self {
        Self {
            cloud: CloudSightings::default(),
            items: ItemSightings::default(),
            nics: MetadataSightings::default(),
            foreign: Foreign::default(),
            forgotten: now,
            limit,
        }
    }

    /// The settings have a new limit. Answers what ENIs of others leave of it.
    pub(crate) fn limited(&mut self, limit: u32) -> u32 {
        self.limit = limit;
        self.room()
    }

    /// An ENI left the books.
    pub(crate) fn forgot(&mut self, now: Timestamp) {
        self.forgotten = now;
    }

    /// Drops what does not decide the future. No look that is yet to be told began before `oldest`, if there are
    /// looks at all.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, oldest: Option<Timestamp>) {
        if oldest.is_none_or(|oldest| self.forgotten < oldest) {
            self.forgotten = Timestamp(0);
        }
        self.cloud.forget_past(oldest);
        self.nics.forget_past(oldest);
        self.items.forget_past(oldest);
    }

    fn room(&self) -> u32 {
        self.limit.saturating_sub(self.foreign.count())
    }
}

fn known(eni: &Eni) -> Known<'_> {
    Known {
        record: &eni.record,
        home: eni.link,
        busy: matches!(eni.work, Work::Running { .. }),
        shared: eni.service != Service::Whole,
        used: matches!(eni.record.phase, EniPhase::InUse(_)) || eni.service == Service::Lent,
        flagged: eni.flags != Flags::default(),
    }
}

impl Pool {
    /// When the next look at the cloud may confirm something that an earlier one has shown. Nothing is lost by
    /// looking later.
    pub fn wants_look(&self) -> Option<Timestamp> {
        let (cloud, consistency) =
            (self.witnesses.cloud.wants_look(self.settings.consistency), self.settings.consistency);
        cloud.into_iter().chain(self.witnesses.items.wants_look(consistency)).min()
    }

    /// How many ENIs of others are attached to this instance, as far as looks have shown.
    pub fn foreign_enis(&self) -> u32 {
        self.witnesses.foreign.count()
    }

    pub(crate) fn inventory(&mut self, inventory: &Inventory, out: &mut Outbox) {
        match inventory {
            Inventory::Cloud { began, enis } => self.cloud_look(*began, enis, out),
            Inventory::Metadata { began, macs } => self.metadata_look(*began, macs, out),
        }
    }

    fn cloud_look(&mut self, began: Timestamp, enis: &[SeenEni], out: &mut Outbox) {
        let witnesses = &mut self.witnesses;
        let (consistency, forgotten) = (self.settings.consistency, witnesses.forgotten);
        let times = Times { began, now: self.now, consistency, forgotten };
        let books = self.books.iter().map(|(_, eni)| known(eni));
        let Some(findings) = compare(books, enis, times, &mut witnesses.cloud, &witnesses.nics) else {
            return;
        };
        let ids: BTreeSet<_> = self.books.iter().filter_map(|(_, eni)| eni.record.id.as_ref()).collect();
        let come = witnesses.foreign.look(enis, |seen| ids.contains(&seen.id), began, consistency);
        self.settings.max_enis = witnesses.room();
        for seen in come {
            let what = format!("ENI {} is attached to this instance and is not ours", seen.id);
            let message = format!("{what}; it is left alone, and the pool has one place less");
            out.note(Note::Event { reason: "ForeignEni", message });
        }
        for finding in findings {
            self.resolve(finding, out);
        }
        if sharing(&self.settings).is_some() {
            self.look_at_addresses(began, enis, out);
        }
    }

    fn metadata_look(&mut self, began: Timestamp, macs: &[MacAddr], out: &mut Outbox) {
        let books = self.books.iter().map(|(_, eni)| known(eni));
        let times = (began, self.now);
        let lost = compare_nics(books, macs, times, self.settings.consistency, &mut self.witnesses.nics);
        for token in lost {
            if let Some(eni) = self.books.by_token(&token)
                && self.link_lost(eni, out)
            {
                self.advance(eni, out);
            }
        }
    }

    /// Does what the rule says.
    fn resolve(&mut self, finding: Finding<'_>, out: &mut Outbox) {
        let (rule, seen) = (finding.rule, finding.seen);
        let Some(token) = finding.token else {
            if let Some(seen) = seen {
                self.adopt_orphan(seen, out);
            }
            return;
        };
        let Some(eni) = self.books.by_token(&token) else { return };
        match rule {
            Rule::Suspected => self.flag(eni, |flags| flags.suspect = true, out),
            Rule::Cleared => self.flag(eni, |flags| *flags = Flags::default(), out),
            Rule::CloudContradicted => {
                self.tell_once(rule, eni, seen, out);
                self.flag(eni, |flags| (flags.suspect, flags.leaves) = (false, false), out);
            }
            Rule::UsedVanished | Rule::UsedDetached | Rule::UsedReaddressed => {
                self.tell_once(rule, eni, seen, out);
                self.flag(eni, |flags| (flags.suspect, flags.leaves) = (true, true), out);
            }
            Rule::UsedMoved => {
                // Detached and deleted it would be taken from whoever has it now.
                self.tell_once(rule, eni, seen, out);
                self.flag(eni, |flags| (flags.suspect, flags.leaves) = (true, false), out);
            }
            Rule::Vanished => self.leave(rule, eni, Proof::Vanished, seen, out),
            Rule::Moved => self.leave(rule, eni, Proof::Moved, seen, out),
            Rule::DetachedOutside => self.found(rule, eni, Step::FoundDetached, seen, out),
            Rule::AttachedOutside => self.found(rule, eni, Step::FoundAttached, seen, out),
            Rule::Regrouped | Rule::Readdressed => {
                self.tell_once(rule, eni, seen, out);
                if let Some(seen) = seen {
                    self.correct(rule, eni, seen, out);
                }
            }
            Rule::CreateLanded => {
                self.tell_once(rule, eni, seen, out);
                if let Some(seen) = seen {
                    self.created(eni, found(seen), out);
                }
            }
            Rule::OrphanAttached | Rule::OrphanDetached => {}
        }
        self.advance(eni, out);
    }

    fn flag(&mut self, eni: EniNo, change: impl FnOnce(&mut Flags), out: &mut Outbox) {
        self.books.edit(eni, &self.settings, |eni| change(&mut eni.flags));
        self.follow_if_shared(eni, out);
    }

    fn leave(&mut self, rule: Rule, eni: EniNo, proof: Proof, seen: Option<&SeenEni>, out: &mut Outbox) {
        self.tell_once(rule, eni, seen, out);
        self.forget(eni, proof, out);
    }

    fn found(&mut self, rule: Rule, eni: EniNo, step: Step, seen: Option<&SeenEni>, out: &mut Outbox) {
        self.tell_once(rule, eni, seen, out);
        self.step(eni, step, out);
    }

    fn correct(&mut self, rule: Rule, eni: EniNo, seen: &SeenEni, out: &mut Outbox) {
        self.books.identify(eni, &self.settings, |record| {
            if rule == Rule::Readdressed {
                record.addresses = seen.addresses;
            } else {
                record.security_groups.clone_from(&seen.security_groups);
            }
        });
        if rule == Rule::Readdressed {
            self.books.edit(eni, &self.settings, |eni| eni.flags = Flags::default());
        }
        out.put_eni(eni);
    }

    fn adopt_orphan(&mut self, seen: &SeenEni, out: &mut Outbox) {
        let free = |token: &&IntentToken| self.books.by_token(token).is_none();
        let token = seen.token.as_ref().filter(free).cloned().unwrap_or_else(|| self.supply.mint());
        let shared = sharing(&self.settings).is_some();
        // Somebody may use it: a pod of before the ledger was lost. It rests, or its addresses do, and it is not
        // given before its netdev is home.
        let until = self.now + self.settings.quarantine;
        let (rule, phase, life) = match seen.place {
            Place::Here if shared => (Rule::OrphanAttached, EniPhase::Attached, Life::Resting { until }),
            Place::Here => (Rule::OrphanAttached, EniPhase::Quarantined { until }, Life::Idle),
            _ => (Rule::OrphanDetached, EniPhase::Detached, Life::Idle),
        };
        let record = EniRecord {
            token: token.clone(),
            id: Some(seen.id.clone()),
            mac: Some(seen.mac),
            vswitch: seen.vswitch.clone(),
            security_groups: seen.security_groups.clone(),
            addresses: seen.addresses,
            subnets: seen.subnets,
            gateways: seen.gateways,
            phase,
            since: self.now,
            counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
            claim: None,
            assigning: None,
        };
        let (id, to) = (record.id.clone(), record.phase.name());
        out.note(Note::Phase { token, eni: id, from: "", to });
        let (eni, link) =
            (self.books.insert(record, self.now, &self.settings), self.books.link_present(seen.mac));
        self.books.edit(eni, &self.settings, |eni| eni.link = link);
        out.put_eni(eni);
        if shared {
            self.books.edit(eni, &self.settings, |eni| eni.service = Service::Shared);
            self.stock_adopted(eni, &seen.assigned, life, out);
        }
        self.tell_once(rule, eni, Some(seen), out);
        self.advance(eni, out);
    }

    /// Tells people, once for each ENI and cause.
    fn tell_once(&mut self, rule: Rule, number: EniNo, seen: Option<&SeenEni>, out: &mut Outbox) {
        let Some(eni) = self.books.get(number).filter(|eni| eni.flags.told != Some(rule)) else { return };
        out.note(Note::Event { reason: rule.name(), message: message(rule, &eni.record, seen) });
        self.flag(number, |flags| flags.told = Some(rule), out);
    }
}

/// What a create call would have brought.
fn found(seen: &SeenEni) -> CloudEni {
    CloudEni {
        id: seen.id.clone(),
        mac: seen.mac,
        vswitch: seen.vswitch.clone(),
        security_groups: seen.security_groups.clone(),
        addresses: seen.addresses,
        assigned: seen.assigned.clone(),
        subnets: seen.subnets,
        gateways: seen.gateways,
        attached: seen.place == Place::Here,
    }
}

/// What happened and what the pool does about it.
fn message(rule: Rule, record: &EniRecord, seen: Option<&SeenEni>) -> String {
    let id = record.id.as_ref().or(seen.map(|seen| &seen.id)).map_or("-", |id| id.as_str());
    let mut text = format!("ENI {id}");
    if let EniPhase::InUse(key) = &record.phase {
        let _ = write!(text, " of {key}");
    }
    let place = match seen.map(|seen| seen.place) {
        None => "the cloud does not have it",
        Some(Place::Nowhere) => "the cloud has it attached to nothing",
        Some(Place::Here) => "the cloud has it attached to this instance",
        Some(Place::Elsewhere) => "the cloud has it attached to another instance",
        Some(Place::Moving) => "the cloud has it on its way",
    };
    let groups = || {
        let names = |groups: &[terway_types::SecurityGroupId]| {
            groups.iter().map(terway_types::SecurityGroupId::as_str).collect::<Vec<_>>().join(", ")
        };
        let now = seen.map(|seen| names(&seen.security_groups)).unwrap_or_default();
        format!("its security groups are {now} and were {}", names(&record.security_groups))
    };
    let addresses = || {
        let names = |list: terway_types::Addresses| {
            list.iter().map(|address| address.to_string()).collect::<Vec<_>>().join(", ")
        };
        let now = seen.map(|seen| names(seen.addresses)).unwrap_or_default();
        format!("its primary addresses are {now} and were {}", names(record.addresses))
    };
    let rest = match rule {
        Rule::OrphanAttached => format!("is ours and not in the ledger, and {place}; it is adopted"),
        Rule::OrphanDetached => {
            format!("is ours and not in the ledger, and {place}; it is attached if wanted, else deleted")
        }
        Rule::CreateLanded => format!("was made by an earlier call, and {place}; it is taken over"),
        Rule::CloudContradicted => format!("stays: {place}, but its netdev is on the node"),
        Rule::Vanished => format!("is forgotten: {place}, and its netdev is not on the node"),
        Rule::DetachedOutside => format!("was detached by somebody else: {place}"),
        Rule::Moved => format!("is forgotten: {place}, and its netdev is not on this node"),
        Rule::AttachedOutside => format!("was attached by somebody else: {place}"),
        Rule::UsedVanished | Rule::UsedDetached => {
            format!("is in use, but {place}; it is detached and deleted after its release")
        }
        Rule::UsedMoved => format!("is in use, but {place}; it is not used again after its release"),
        Rule::Regrouped => format!("was changed by somebody else: {}", groups()),
        Rule::Readdressed => format!("was changed by somebody else: {}", addresses()),
        Rule::UsedReaddressed => {
            format!("was changed by somebody else: {}; it is replaced after its release", addresses())
        }
        Rule::Suspected | Rule::Cleared => place.to_owned(),
    };
    let _ = write!(text, " {rest}");
    text
}
