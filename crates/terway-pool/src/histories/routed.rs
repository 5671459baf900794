//! Random histories of addresses without a cloud: pods come and go, the daemon dies between any two effects and comes
//! back with the same ranges or with others. Nobody gets an address that somebody has, had just now, or that nobody may
//! have; nothing is asked of a cloud; and in the end every address is idle again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use proptest::prelude::*;
use terway_types::{
    AddressRecord, Addresses, AttachmentKey, AttachmentRecord, EniPhase, EniRecord, FaultCode, IntentToken,
    LedgerChange, LedgerSnapshot, PodRef, PrefixRecord, Subnets, Timestamp,
};

use super::soak::soak;
use crate::routed::ranges;
use crate::testing::{key, settings as whole_enis};
use crate::{Answer, Capacity, Effect, Event, Mode, Pool, PoolSettings, RequestId, Wants};

const REST: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
enum Deed {
    Allocate(u8, u64),
    Release(u8),
    Collect(u8),
    Wait(u64),
    /// The daemon dies before this effect of the next event, and comes back.
    Crash(usize),
    /// It comes back with other ranges.
    Ranges(usize),
}

fn deeds() -> impl Strategy<Value = Deed> {
    let key = || 0u8..9;
    prop_oneof![
        8 => (key(), 0u64..200).prop_map(|(key, patience)| Deed::Allocate(key, patience)),
        6 => key().prop_map(Deed::Release),
        1 => any::<u8>().prop_map(Deed::Collect),
        4 => (0u64..90).prop_map(Deed::Wait),
        3 => (0usize..4).prop_map(Deed::Crash),
        1 => (0usize..4).prop_map(Deed::Ranges),
    ]
}

/// Five addresses to give, and others that overlap them or lie apart; six of IPv6.
fn some_ranges(number: usize, ipv6: bool) -> Subnets {
    let v4 = ["10.0.0.0/29", "10.0.0.0/28", "10.9.0.0/29", "10.0.0.8/29"][number];
    let v6 = ["fd00::/125", "fd00::/124", "fd00:9::/125", "fd00::8/125"][number];
    Subnets::new(v4.parse().ok(), ipv6.then(|| v6.parse().unwrap()))
}

fn settings(ipv6: bool) -> PoolSettings {
    PoolSettings {
        mode: Mode::Routed(some_ranges(0, ipv6)),
        ipv6,
        quarantine: REST,
        quarantine_max: REST,
        min_idle: 0,
        max_idle: u32::MAX,
        max_enis: 1,
        vswitches: Vec::new(),
        security_groups: Vec::new(),
        ..whole_enis()
    }
}

struct World {
    now: Timestamp,
    settings: PoolSettings,
    pool: Pool,
    enis: BTreeMap<IntentToken, EniRecord>,
    attachments: BTreeMap<AttachmentKey, AttachmentRecord>,
    addresses: BTreeMap<IpAddr, AddressRecord>,
    prefixes: BTreeMap<IpNetwork, PrefixRecord>,
    requests: u64,
    /// Who asks, and whether the ledger had it then.
    open: BTreeMap<RequestId, (AttachmentKey, bool)>,
    /// What runtimes believe.
    told: BTreeMap<AttachmentKey, Addresses>,
    /// When a runtime last said that an address is free.
    freed: BTreeMap<IpAddr, Timestamp>,
    fuse: Option<usize>,
    published: Option<Capacity>,
}

impl World {
    fn new(settings: PoolSettings) -> Self {
        let now = Timestamp(1_000);
        let (pool, effects) = Pool::new(settings.clone(), LedgerSnapshot::default(), now);
        let mut world = Self {
            now,
            settings,
            pool,
            enis: BTreeMap::new(),
            attachments: BTreeMap::new(),
            addresses: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            requests: 0,
            open: BTreeMap::new(),
            told: BTreeMap::new(),
            freed: BTreeMap::new(),
            fuse: None,
            published: None,
        };
        world.execute(effects);
        world
    }

    fn enact(&mut self, deed: &Deed) {
        match *deed {
            Deed::Allocate(number, patience) => {
                let (key, deadline) = (key(number), self.now + Duration::from_millis(patience));
                self.ask(key.clone(), |request| Event::Allocate {
                    request,
                    key,
                    pod: PodRef::default(),
                    netns: String::new(),
                    wants: Wants::default(),
                    deadline,
                });
            }
            Deed::Release(number) => self.release(&key(number)),
            Deed::Collect(mask) => {
                let dead: Vec<_> = (0..8).filter(|bit| mask >> bit & 1 == 1).map(key).collect();
                for key in dead {
                    self.release(&key);
                }
            }
            Deed::Wait(ms) => {
                self.now = self.now + Duration::from_millis(ms);
                self.handle(Event::Tick);
            }
            Deed::Crash(effects) => self.fuse = Some(effects),
            Deed::Ranges(number) => {
                self.settings.mode = Mode::Routed(some_ranges(number, self.settings.ipv6));
                self.die();
            }
        }
        self.compare();
    }

    fn ask(&mut self, key: AttachmentKey, event: impl FnOnce(RequestId) -> Event) {
        self.requests += 1;
        let request = RequestId(self.requests);
        let known = self.attachments.contains_key(&key);
        self.open.insert(request, (key, known));
        self.handle(event(request));
    }

    /// A runtime repeats it until it is heard.
    fn release(&mut self, key: &AttachmentKey) {
        for address in self.told.remove(key).iter().flat_map(Addresses::iter) {
            self.freed.insert(address, self.now);
        }
        for _ in 0..2 {
            let asked = key.clone();
            self.ask(key.clone(), |request| Event::Release { request, key: asked });
            if !self.attachments.contains_key(key) {
                return;
            }
        }
        panic!("{key} is there after its release");
    }

    fn handle(&mut self, event: Event) {
        let effects = self.pool.handle(self.now, event);
        self.execute(effects);
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for (number, effect) in effects.into_iter().enumerate() {
            if self.fuse == Some(number) {
                return self.die();
            }
            match effect {
                Effect::Persist(changes) => {
                    for change in changes {
                        self.write(change);
                    }
                }
                Effect::Cloud { action, .. } => panic!("nobody is there for {action:?}"),
                Effect::Reply { request, answer } => self.hear(request, answer),
                Effect::Publish(capacity) => self.published = Some(capacity),
                Effect::Note(_) => {}
            }
        }
    }

    fn die(&mut self) {
        self.fuse = None;
        self.open.clear();
        let snapshot = LedgerSnapshot {
            enis: self.enis.values().cloned().collect(),
            attachments: self.attachments.values().cloned().collect(),
            addresses: self.addresses.values().cloned().collect(),
            prefixes: self.prefixes.values().cloned().collect(),
        };
        let (pool, effects) = Pool::new(self.settings.clone(), snapshot, self.now);
        self.pool = pool;
        self.execute(effects);
    }

    fn write(&mut self, change: LedgerChange) {
        match change {
            LedgerChange::PutEni(eni) => drop(self.enis.insert(eni.token.clone(), eni)),
            LedgerChange::RemoveEni(token) => panic!("{token} leaves"),
            LedgerChange::PutAttachment(held) => drop(self.attachments.insert(held.key.clone(), held)),
            LedgerChange::RemoveAttachment(key) => drop(self.attachments.remove(&key)),
            LedgerChange::PutAddress(record) => drop(self.addresses.insert(record.address, record)),
            LedgerChange::RemoveAddress(address) => drop(self.addresses.remove(&address)),
            LedgerChange::PutPrefix(record) => drop(self.prefixes.insert(record.prefix, record)),
            LedgerChange::RemovePrefix(prefix) => drop(self.prefixes.remove(&prefix)),
            LedgerChange::Remember(_) => {}
        }
    }

    fn hear(&mut self, request: RequestId, answer: Answer) {
        let Some((key, known)) = self.open.remove(&request) else { return };
        match answer {
            Answer::Allocated(grant) => {
                let own = |address| self.wanted().iter().any(|net| net.contains(address));
                assert!(known || grant.addresses.iter().all(own), "{key} got an address of a former range");
                self.hear_grant(&key, grant.addresses);
            }
            Answer::Failed(fault) => {
                let full = fault.what.contains("podCIDRs 10.") && fault.remedy.contains("maxPods");
                // Who is released while it waits is told so.
                assert!(full || fault.code == FaultCode::AttachmentBusy, "{fault}");
            }
            Answer::Released(_) | Answer::Collected(_) => {}
        }
    }

    fn hear_grant(&mut self, key: &AttachmentKey, addresses: Addresses) {
        assert_eq!(self.attachments[key].addresses, addresses, "told before it is durable");
        assert!(addresses.v4.is_some() && addresses.v6.is_some() == self.settings.ipv6, "{addresses:?}");
        if let Some(before) = self.told.insert(key.clone(), addresses) {
            return assert_eq!(before, addresses, "{key} was told something else");
        }
        for address in addresses.iter() {
            let freed = self.freed.get(&address);
            assert!(freed.is_none_or(|freed| self.now >= *freed + REST), "{address} has not rested");
            let net = self.prefixes.keys().find(|net| net.contains(address)).expect("it is of a range");
            assert!(![net.network(), net.broadcast()].contains(&address) || !address.is_ipv4(), "{address}");
            assert_ne!(net.iter().nth(0), Some(address), "the network's, or all routers'");
            assert_ne!(net.iter().nth(1), Some(address), "the gateway's");
        }
    }

    fn wanted(&self) -> BTreeSet<IpNetwork> {
        ranges(&self.settings).iter().flat_map(Subnets::iter).collect()
    }

    /// One owner, and what runtimes believe is what the pool and the ledger have.
    fn compare(&self) {
        let mut seen = BTreeSet::new();
        for (key, addresses) in &self.told {
            assert!(addresses.iter().all(|address| seen.insert(address)), "{key} has another's address");
            assert_eq!(self.pool.attachment(key).map(|(held, _)| held.addresses), Some(*addresses));
            assert_eq!(self.attachments.get(key).map(|held| held.addresses), Some(*addresses));
        }
        assert!(self.enis.len() == 1, "{:?}", self.enis);
        if self.fuse.is_none() {
            assert_eq!(self.published, Some(self.pool.view(self.now).capacity));
        }
    }

    /// Everybody leaves: nothing is in the ledger but the ranges, and all of them can be given.
    fn come_to_rest(&mut self) {
        self.fuse = None;
        for number in 0..9 {
            self.release(&key(number));
        }
        self.enact(&Deed::Wait(200));
        assert!(self.addresses.is_empty() && self.attachments.is_empty(), "{:?}", self.addresses);
        let wanted = self.wanted();
        assert_eq!(self.prefixes.keys().copied().collect::<BTreeSet<_>>(), wanted);
        let free = wanted.iter().map(|net| {
            let size = if net.is_ipv4() { 1 << (32 - net.prefix()) } else { 1 << (128 - net.prefix()) };
            size - if net.is_ipv4() { 3 } else { 2 }
        });
        assert_eq!(Some(self.pool.view(self.now).idle), free.min());
    }
}

fn live((ipv6, deeds): (bool, Vec<Deed>)) {
    let mut world = World::new(settings(ipv6));
    for deed in &deeds {
        world.enact(deed);
    }
    world.come_to_rest();
}

#[test]
fn soak_routed() {
    soak("routed", &[], |steps| (any::<bool>(), proptest::collection::vec(deeds(), 0..=steps)), live);
}

/// Five pods fit into a /29, whose network, gateway and broadcast addresses are nobody's; the sixth is told why not.
#[test]
fn a_full_range_says_so_with_its_numbers() {
    let mut world = World::new(settings(false));
    for number in 0..5 {
        world.enact(&Deed::Allocate(number, 10));
    }
    let given: Vec<_> = world.told.values().flat_map(Addresses::iter).map(|own| own.to_string()).collect();
    assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
    world.enact(&Deed::Release(0));
    world.requests += 1;
    let waits = world.pool.handle(
        world.now,
        Event::Allocate {
            request: RequestId(99),
            key: key(6),
            pod: PodRef::default(),
            netns: String::new(),
            wants: Wants::default(),
            deadline: world.now,
        },
    );
    let answer = waits.into_iter().find_map(|effect| match effect {
        Effect::Reply { answer: Answer::Failed(fault), .. } => Some(fault),
        _ => None,
    });
    let why = answer.expect("an answer").what;
    assert!(why.contains("10.0.0.0/29 are full (4 addresses in use, 1 in quarantine)"), "{why}");
}

/// A node that goes away gives nothing more, and loses nothing that pods have.
#[test]
fn a_retired_node_keeps_its_ranges() {
    let mut world = World::new(settings(true));
    world.enact(&Deed::Allocate(0, 10));
    world.handle(Event::Retire);
    assert_eq!(world.published, Some(Capacity::default()));
    world.handle(Event::Allocate {
        request: RequestId(50),
        key: key(1),
        pod: PodRef::default(),
        netns: String::new(),
        wants: Wants::default(),
        deadline: world.now + REST,
    });
    assert!(world.attachments.len() == 1 && world.prefixes.len() == 2);
    world.release(&key(0));
    world.now = world.now + Duration::from_secs(100_000);
    world.handle(Event::Tick);
    assert!(world.attachments.is_empty() && world.enis.values().all(|eni| eni.phase == EniPhase::Ready));
    world.die();
    world.enact(&Deed::Allocate(1, 10));
    assert_eq!(world.told.len(), 1, "a node that stays after all gives addresses again");
}
