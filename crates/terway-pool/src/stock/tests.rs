//! What the stock promises, by example and by random use; every step is held against a full count.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use proptest::prelude::*;
use terway_types::{
    AddressCounts, AddressPhase, AddressRecord, AddressSet, Addresses, IntentToken, LedgerChange,
    PrefixPhase, PrefixRecord, Timestamp,
};

use super::book::EniNo;
use super::shelf::Shelf;
use super::*;
use crate::effect::Effect;
use crate::outbox::Outbox;
use crate::settings::EniPolicy;
use crate::testing::key;

pub(super) fn rules(dual: bool) -> Rules {
    Rules { dual, per_eni: 10, prefixes: false, batch: 10, policy: EniPolicy::MostIps, subnets: false }
}

fn v4(eni: u8, host: u8) -> IpAddr {
    IpAddr::from([10, 0, eni, host])
}

fn v6(eni: u8, host: u8) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, u16::from(eni), u16::from(host)])
}

/// Hosts 1 to `count` of an ENI's own net, per family.
pub(super) fn set(eni: u8, ipv4: u8, ipv6: u8) -> AddressSet {
    let mut set = AddressSet::default();
    set.ipv4.extend((1..=ipv4).map(|host| [10, 0, eni, host]).map(std::net::Ipv4Addr::from));
    set.ipv6.extend((1..=ipv6).filter_map(|host| match v6(eni, host) {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    }));
    set
}

fn primary(all: &AddressSet) -> Addresses {
    Addresses::new(all.ipv4.first().copied(), all.ipv6.first().copied())
}

/// An open ENI with so many addresses per family.
pub(super) fn shelf(stock: &mut Stock, eni: u8, ipv4: u8, ipv6: u8) -> EniNo {
    let token = IntentToken(format!("t{eni}"));
    let no = stock.insert(Shelf::new(token, "vsw-a".into(), Stage::Open, AddressCounts::default()));
    let mut out = Outbox::default();
    let all = set(eni, ipv4, ipv6);
    let refused = stock.fill(no, &all, primary(&all), Life::Idle, Timestamp(1), &mut out);
    assert_eq!(refused, []);
    no
}

fn prefixed(stock: &mut Stock, eni: u8, nets: &[&str]) -> EniNo {
    let no = shelf(stock, eni, 0, 0);
    let prefixes = nets.iter().map(|net| net.parse().unwrap()).collect();
    let set = AddressSet { prefixes, ..AddressSet::default() };
    assert_eq!(
        stock.fill(no, &set, Addresses::default(), Life::Idle, Timestamp(1), &mut Outbox::default()),
        []
    );
    no
}

fn take(stock: &mut Stock, now: u64) -> Option<Vec<IpAddr>> {
    let (_, addresses) = stock.take(&key(1), Timestamp(now), &mut Outbox::default())?;
    stock.check();
    Some(addresses.iter().collect())
}

fn step(stock: &mut Stock, address: IpAddr, step: Step, now: u64) -> Vec<LedgerChange> {
    let mut out = Outbox::default();
    assert_eq!(stock.step(address, step, None, Timestamp(now), &mut out), Ok(true), "{address} {step:?}");
    stock.check();
    match out.into_effects(&crate::books::Books::default()).pop() {
        Some(Effect::Persist(changes)) => changes,
        other => panic!("{other:?}"),
    }
}

fn give_back(stock: &mut Stock, address: IpAddr, now: u64) {
    let until = Timestamp(now);
    step(stock, address, Step::Release { until }, now);
    step(stock, address, Step::Rested, now);
}

#[test]
fn a_pair_comes_from_one_eni_and_half_a_pair_serves_nobody() {
    let mut stock = Stock::new(rules(true));
    shelf(&mut stock, 1, 3, 1);
    shelf(&mut stock, 2, 1, 3);
    assert_eq!(stock.totals().idle, 2);
    let pairs = [take(&mut stock, 5).unwrap(), take(&mut stock, 6).unwrap()];
    assert_eq!(pairs, [vec![v4(2, 1), v6(2, 1)], vec![v4(1, 1), v6(1, 1)]]);
    assert_eq!(take(&mut stock, 7), None);
    assert_eq!(stock.totals().in_use, 2);
}

#[test]
fn the_longest_forgotten_address_goes_first() {
    let mut stock = Stock::new(rules(false));
    shelf(&mut stock, 1, 3, 0);
    let first = take(&mut stock, 5).unwrap()[0];
    give_back(&mut stock, first, 9);
    let given: Vec<_> = (10..13).map(|now| take(&mut stock, now).unwrap()[0]).collect();
    assert_eq!(given, [v4(1, 2), v4(1, 3), v4(1, 1)]);
}

#[test]
fn most_ips_fills_one_eni_and_least_ips_spreads() {
    for (policy, wanted) in [(EniPolicy::MostIps, [2, 2, 2, 1]), (EniPolicy::LeastIps, [1, 2, 1, 2])] {
        let mut stock = Stock::new(Rules { policy, ..rules(false) });
        shelf(&mut stock, 1, 3, 0);
        shelf(&mut stock, 2, 3, 0);
        let enis: Vec<_> = (0..4)
            .map(|now| match take(&mut stock, now).unwrap()[0] {
                IpAddr::V4(v4) => v4.octets()[2],
                IpAddr::V6(_) => 0,
            })
            .collect();
        assert_eq!(enis, wanted, "{policy:?}");
    }
}

#[test]
fn an_address_rests_and_rests_on_while_it_is_mentioned_up_to_the_bound() {
    let mut stock = Stock::new(rules(false));
    shelf(&mut stock, 1, 1, 0);
    let address = take(&mut stock, 10).unwrap()[0];
    step(&mut stock, address, Step::Release { until: Timestamp(30) }, 20);
    assert_eq!((stock.totals().idle, stock.totals().resting), (0, 1));
    assert_eq!(stock.next_due(), Some(Timestamp(30)));
    let mention = |stock: &mut Stock, now| {
        let (rest, longest) = (Duration::from_millis(10), Duration::from_millis(15));
        stock.mention(address, rest, longest, Timestamp(now), &mut Outbox::default());
        stock.check();
        stock.next_due()
    };
    assert_eq!(mention(&mut stock, 20), Some(Timestamp(30)));
    assert_eq!(mention(&mut stock, 22), Some(Timestamp(32)));
    assert_eq!(mention(&mut stock, 31), Some(Timestamp(35)), "it came to rest at 20");
    assert!(stock.rested(Timestamp(34)).is_empty());
    assert_eq!(stock.rested(Timestamp(35)), [address]);
    step(&mut stock, address, Step::Rested, 35);
    assert_eq!(mention(&mut stock, 36), None, "idle again");
}

#[test]
fn all_sixteen_of_a_prefix_and_the_fullest_prefix_first() {
    let mut stock = Stock::new(Rules { prefixes: true, ..rules(false) });
    prefixed(&mut stock, 1, &["10.1.0.0/28", "10.1.0.16/28"]);
    assert_eq!(stock.totals().idle, 32);
    let mut given: Vec<_> = (0..16).map(|now| take(&mut stock, now).unwrap()[0]).collect();
    given.sort_unstable();
    assert!(given.iter().copied().eq((0..16).map(|host| IpAddr::from([10, 1, 0, host]))), "{given:?}");
    let (no, net) = (stock.giver().unwrap(), "10.1.0.16/28".parse().unwrap());
    assert_eq!(stock.get(no).unwrap().for_less(16, &stock.rules), (vec![], vec![net]));
    assert_eq!(stock.get(no).unwrap().for_less(15, &stock.rules), (vec![], vec![]));
    let mut out = Outbox::default();
    assert!(!stock.set_prefix(
        "10.1.0.0/28".parse().unwrap(),
        PrefixPhase::Unassigning,
        Timestamp(1),
        &mut out
    ));
    assert!(stock.set_prefix(net, PrefixPhase::Unassigning, Timestamp(1), &mut out));
    stock.check();
    assert_eq!(stock.totals().idle, 0);
    assert_eq!(stock.get(no).unwrap().job(), Some(Job::Unassign));
    stock.unassigned(no, Timestamp(9), &mut out);
    stock.check();
    assert_eq!(stock.owner("10.1.0.17".parse().unwrap()), None);
}

#[test]
fn an_idle_address_of_a_prefix_has_no_record() {
    let mut stock = Stock::new(Rules { prefixes: true, ..rules(false) });
    prefixed(&mut stock, 1, &["10.1.0.0/28"]);
    let mut out = Outbox::default();
    let (_, given) = stock.take(&key(7), Timestamp(3), &mut out).unwrap();
    let address = given.iter().next().unwrap();
    let phase = AddressPhase::InUse(key(7));
    let record = AddressRecord { address, eni: "t1".into(), phase, since: Timestamp(3) };
    assert_eq!(
        out.into_effects(&crate::books::Books::default()),
        [Effect::Persist(vec![LedgerChange::PutAddress(record)])]
    );
    step(&mut stock, address, Step::Release { until: Timestamp(4) }, 4);
    assert_eq!(step(&mut stock, address, Step::Rested, 5), [LedgerChange::RemoveAddress(address)]);
}

#[test]
fn a_frozen_prefix_serves_those_it_has_and_nobody_new() {
    let mut stock = Stock::new(Rules { prefixes: true, ..rules(false) });
    prefixed(&mut stock, 1, &["10.1.0.0/28"]);
    let held = take(&mut stock, 1).unwrap()[0];
    let (net, mut out) = ("10.1.0.0/28".parse().unwrap(), Outbox::default());
    assert!(stock.set_prefix(net, PrefixPhase::Frozen, Timestamp(2), &mut out));
    assert_eq!((take(&mut stock, 3), stock.totals().in_use), (None, 1));
    give_back(&mut stock, held, 4);
    assert_eq!(take(&mut stock, 5), None);
    assert!(stock.set_prefix(net, PrefixPhase::Ready, Timestamp(6), &mut out));
    assert!(take(&mut stock, 7).is_some());
}

#[test]
fn bitmaps_are_rebuilt_from_the_records_never_fresh() {
    let mut stock = Stock::new(Rules { prefixes: true, ..rules(false) });
    let no = shelf(&mut stock, 1, 0, 0);
    let prefix = |net: &str, eni: &str| PrefixRecord {
        prefix: net.parse().unwrap(),
        eni: eni.into(),
        phase: PrefixPhase::Ready,
        since: Timestamp(1),
    };
    assert_eq!(stock.adopt_prefix(&prefix("10.1.0.0/28", "t1")), Adopted::Yes);
    assert_eq!(stock.adopt_prefix(&prefix("10.1.0.0/24", "t1")), Adopted::Misplaced);
    assert_eq!(stock.adopt_prefix(&prefix("10.2.0.0/28", "nobody")), Adopted::NoEni);
    let record = |host: u8, phase| AddressRecord {
        address: [10, 1, 0, host].into(),
        eni: "t1".into(),
        phase,
        since: Timestamp(1),
    };
    for host in 0..16 {
        let phase = match host {
            3 => continue,
            5 => AddressPhase::Quarantined { until: Timestamp(50) },
            _ => AddressPhase::InUse(key(host)),
        };
        assert_eq!(stock.adopt(&record(host, phase), false), Adopted::Yes);
        stock.check();
    }
    assert_eq!(take(&mut stock, 9), Some(vec![[10, 1, 0, 3].into()]), "the only free one");
    assert_eq!(take(&mut stock, 9), None);
    assert_eq!(stock.rested(Timestamp(50)).len(), 1);
    assert_eq!(stock.get(no).unwrap().in_use(), 15);
}

#[test]
fn what_belongs_to_another_eni_is_refused() {
    let mut stock = Stock::new(rules(false));
    shelf(&mut stock, 1, 3, 0);
    let second = shelf(&mut stock, 2, 1, 0);
    prefixed(&mut stock, 3, &["10.3.0.0/28"]);
    let mut out = Outbox::default();
    let net = |net: &str| net.parse::<IpNetwork>().unwrap();
    let mut claimed = set(2, 2, 0);
    claimed
        .ipv4
        .extend(["10.0.1.2", "10.3.0.9"].map(|address| address.parse::<std::net::Ipv4Addr>().unwrap()));
    claimed.prefixes.extend(["10.3.0.0/28", "10.3.0.0/24", "10.0.1.0/28", "10.4.0.0/28"].map(net));
    let refused = stock.fill(second, &claimed, Addresses::default(), Life::Idle, Timestamp(2), &mut out);
    let wanted = ["10.0.1.0/28", "10.0.1.2/32", "10.3.0.0/24", "10.3.0.0/28", "10.3.0.9/32"].map(net);
    assert_eq!(refused, wanted);
    assert_eq!(stock.get(second).unwrap().slots().len(), 2);
    assert_eq!(stock.get(second).unwrap().blocks().len(), 1);
    assert_eq!(
        stock.fill(second, &set(2, 2, 0), Addresses::default(), Life::Idle, Timestamp(3), &mut out),
        []
    );
    stock.check();
}

#[test]
fn the_primary_address_is_given_and_never_taken_off() {
    let mut stock = Stock::new(rules(true));
    let no = shelf(&mut stock, 1, 3, 3);
    let (singles, nets) = stock.get(no).unwrap().for_less(99, &stock.rules);
    assert_eq!((singles, nets), (vec![v4(1, 2), v4(1, 3), v6(1, 2), v6(1, 3)], vec![]));
    for _ in 0..3 {
        take(&mut stock, 5).unwrap();
    }
    assert_eq!(stock.get(no).unwrap().spare(&stock.rules), 0);
    give_back(&mut stock, v4(1, 1), 9);
    assert_eq!(stock.get(no).unwrap().spare(&stock.rules), 0);
}

#[test]
fn the_fullest_eni_with_room_is_asked_first_and_one_with_halves_before_it() {
    let mut stock = Stock::new(rules(true));
    shelf(&mut stock, 1, 2, 2);
    let fuller = shelf(&mut stock, 2, 7, 7);
    shelf(&mut stock, 3, 10, 10);
    assert_eq!(stock.taker(|_| false), Some(fuller));
    assert_eq!(stock.taker(|vswitch| vswitch.as_str() == "vsw-a"), None);
    let ask = |stock: &Stock, no, pairs| stock.get(no).unwrap().for_more(pairs, &stock.rules);
    let counts = |ipv4, ipv6| AddressCounts { ipv4, ipv6, ..AddressCounts::default() };
    assert_eq!(ask(&stock, fuller, 2), counts(2, 2));
    assert_eq!(ask(&stock, fuller, 99), counts(3, 3));
    let halves = shelf(&mut stock, 4, 5, 2);
    assert_eq!(stock.taker(|_| false), Some(halves));
    assert_eq!(ask(&stock, halves, 1), counts(0, 1));
    assert_eq!(ask(&stock, halves, 5), counts(2, 5));
    stock.edit(halves, |shelf| shelf.paused = Some(Timestamp(9)));
    assert_eq!(stock.taker(|_| false), Some(fuller));
    stock.edit(fuller, |shelf| shelf.asked = counts(1, 1));
    assert_eq!((stock.totals().coming, stock.totals().later), (1, 2));
    stock.edit(fuller, |shelf| shelf.learned.v6 = Some(8));
    assert_eq!((stock.totals().coming, stock.totals().later), (1, 0));
    stock.check();
}

#[test]
fn a_new_eni_is_asked_for_what_one_call_brings() {
    let counts =
        |ipv4, ipv6, ipv4_prefixes, ipv6_prefixes| AddressCounts { ipv4, ipv6, ipv4_prefixes, ipv6_prefixes };
    assert_eq!(rules(true).for_new_eni(4), counts(4, 4, 0, 0));
    assert_eq!(Rules { batch: 3, ..rules(false) }.for_new_eni(99), counts(3, 0, 0, 0));
    let prefixes = Rules { prefixes: true, ..rules(true) };
    assert_eq!(prefixes.for_new_eni(17), counts(1, 0, 1, 1));
    assert_eq!(prefixes.for_new_eni(18), counts(1, 0, 2, 1));
    assert_eq!(prefixes.for_new_eni(9999), counts(1, 0, 9, 1));
    assert_eq!(prefixes.full_eni(), 145);
}

#[test]
fn an_unused_eni_is_found_by_its_size_and_goes_with_its_records() {
    let mut stock = Stock::new(rules(false));
    let small = shelf(&mut stock, 1, 2, 0);
    let large = shelf(&mut stock, 2, 4, 0);
    assert_eq!(
        [1, 2, 3, 4, 9].map(|pairs| stock.unused(pairs)),
        [None, Some(small), Some(small), Some(large), Some(large)]
    );
    let held = take(&mut stock, 5).unwrap()[0];
    assert_eq!(stock.unused(9), Some(small));
    step(&mut stock, held, Step::Release { until: Timestamp(9) }, 6);
    assert_eq!(stock.unused(9), Some(small), "an address at rest still speaks for its pod");
    let mut out = Outbox::default();
    stock.remove(&"t2".into(), &mut out);
    stock.check();
    let Some(Effect::Persist(changes)) = out.into_effects(&crate::books::Books::default()).pop() else {
        panic!("nothing removed")
    };
    assert!(changes.iter().all(|change| matches!(change, LedgerChange::RemoveAddress(_))));
    assert_eq!((changes.len(), stock.next_due()), (4, None));
}

/// Counted with the node sizes of the standard library's B-trees at their worst fill after growing in order.
#[test]
fn an_address_costs_less_than_200_bytes() {
    let per_entry = |key: usize, value: usize| ((key + value) * 11 + 16 + 16) / 6 * 115 / 100;
    let slot = size_of::<Slot>();
    let by_address = per_entry(size_of::<IpAddr>(), size_of::<EniNo>());
    let resting = per_entry(size_of::<(Timestamp, IpAddr)>(), 0);
    // Slots grow by exactly what comes; an allocator may round a whole ENI's by a fifth.
    let single = slot * 6 / 5 + by_address + resting;
    let out_of_prefix = per_entry(size_of::<u16>(), size_of::<block::Entry>()) + resting;
    assert!(single < 200, "{single}: {slot} + {by_address} + {resting}");
    assert!(out_of_prefix < 200, "{out_of_prefix}");
}

#[derive(Clone, Debug)]
enum Use {
    Take,
    Release(usize),
    Rest,
    Less(usize, u32),
    More(usize, u8),
    Freeze(usize),
}

fn uses() -> impl Strategy<Value = Use> {
    prop_oneof![
        6 => Just(Use::Take),
        4 => any::<usize>().prop_map(Use::Release),
        2 => Just(Use::Rest),
        2 => (any::<usize>(), 0u32..40).prop_map(|(index, pairs)| Use::Less(index, pairs)),
        2 => (any::<usize>(), 0u8..12).prop_map(|(index, count)| Use::More(index, count)),
        1 => any::<usize>().prop_map(Use::Freeze),
    ]
}

proptest! {
    #[test]
    fn no_address_is_given_twice_and_every_count_is_right(
        dual in any::<bool>(),
        least in any::<bool>(),
        uses in proptest::collection::vec(uses(), 0..120),
    ) {
        let policy = if least { EniPolicy::LeastIps } else { EniPolicy::MostIps };
        let mut stock = Stock::new(Rules { policy, ..rules(dual) });
        let enis = [
            shelf(&mut stock, 1, 4, 2),
            shelf(&mut stock, 2, 1, 5),
            prefixed(&mut stock, 3, &["10.3.0.0/28", "10.3.0.16/28", "fd03::/80"]),
        ];
        let mut held: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (now, deed) in (10..).zip(uses) {
            let (at, mut out) = (Timestamp(now), Outbox::default());
            match deed {
                Use::Take => {
                    let idle = stock.totals().idle;
                    let taken = stock.take(&key(1), at, &mut out);
                    prop_assert_eq!(taken.is_some(), idle > 0, "an idle pair can always be given");
                    for address in taken.iter().flat_map(|(_, addresses)| addresses.iter()) {
                        prop_assert_eq!(held.insert(address, now), None, "{} is held", address);
                    }
                }
                Use::Release(index) => {
                    let Some(&address) = held.keys().nth(index % held.len().max(1)) else { continue };
                    held.remove(&address);
                    let until = Timestamp(now + 20);
                    prop_assert_eq!(stock.step(address, Step::Release { until }, None, at, &mut out), Ok(true));
                }
                Use::Rest => {
                    for address in stock.rested(at) {
                        prop_assert_eq!(stock.step(address, Step::Rested, None, at, &mut out), Ok(true));
                    }
                }
                Use::Less(index, pairs) => {
                    let no = enis[index % enis.len()];
                    let (singles, nets) = stock.get(no).unwrap().for_less(pairs, &stock.rules);
                    for address in singles {
                        prop_assert_eq!(stock.step(address, Step::Unassign, None, at, &mut out), Ok(true));
                    }
                    for net in nets {
                        prop_assert!(stock.set_prefix(net, PrefixPhase::Unassigning, at, &mut out));
                    }
                    stock.check();
                    stock.unassigned(no, at, &mut out);
                }
                Use::More(index, count) => {
                    let eni = index % 2;
                    let added = set(u8::try_from(eni).unwrap() + 1, count, count / 2);
                    prop_assert_eq!(stock.fill(enis[eni], &added, Addresses::default(), Life::Idle, at, &mut out), []);
                }
                Use::Freeze(index) => {
                    let blocks = stock.get(enis[2]).unwrap().blocks();
                    if let Some(block) = blocks.get(index % blocks.len().max(1)) {
                        let to = match block.phase {
                            PrefixPhase::Ready => PrefixPhase::Frozen,
                            PrefixPhase::Frozen | PrefixPhase::Unassigning => PrefixPhase::Ready,
                        };
                        let net = block.net;
                        stock.set_prefix(net, to, at, &mut out);
                    }
                }
            }
            stock.check();
        }
        for address in held.keys() {
            let no = stock.owner(*address).unwrap();
            prop_assert_eq!(stock.get(no).unwrap().entry(*address).unwrap().life, Life::InUse);
        }
    }
}
