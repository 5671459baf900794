//! Any value the ledger may be given; few names, so that changes meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use proptest::option::of;
use proptest::prelude::*;
use terway_types::{
    AddressCounts, AddressPhase, AddressRecord, Addresses, AfterClaim, AssignIntent, AttachmentKey,
    AttachmentRecord, ClaimHold, CloudFailure, CloudFailureKind, ContainerId, EniPhase, EniRecord, Gateways,
    HistoryEntry, IfName, LedgerChange, MacAddr, NetworkName, PastCall, PastHolding, PodRef, PrefixPhase,
    PrefixRecord, Subnets, Timestamp,
};

fn keys() -> impl Strategy<Value = AttachmentKey> {
    ("[ab][-.]{0,2}", "[a-c]", "eth[01]").prop_map(|(network, container, ifname)| AttachmentKey {
        network: NetworkName::new(network).unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new(ifname).unwrap(),
    })
}

fn phases() -> impl Strategy<Value = EniPhase> {
    prop_oneof![
        Just(EniPhase::Creating),
        Just(EniPhase::Detached),
        Just(EniPhase::Attaching),
        Just(EniPhase::Attached),
        Just(EniPhase::Ready),
        Just(EniPhase::Regrouping),
        Just(EniPhase::Kept),
        keys().prop_map(EniPhase::InUse),
        any::<u64>().prop_map(|until| EniPhase::Quarantined { until: Timestamp(until) }),
        Just(EniPhase::Detaching),
        Just(EniPhase::Deleting),
    ]
}

fn subnets() -> impl Strategy<Value = Subnets> {
    let v4 = of((any::<Ipv4Addr>(), 0u8..=32).prop_map(|(ip, bits)| format!("{ip}/{bits}").parse().unwrap()));
    let v6 =
        of((any::<Ipv6Addr>(), 0u8..=128).prop_map(|(ip, bits)| format!("{ip}/{bits}").parse().unwrap()));
    (v4, v6).prop_map(|(v4, v6)| Subnets::new(v4, v6))
}

fn claims() -> impl Strategy<Value = ClaimHold> {
    let then = proptest::sample::select(vec![AfterClaim::Delete, AfterClaim::Keep, AfterClaim::Forget]);
    (".*", then).prop_map(|(id, then)| ClaimHold { id: id.into(), then })
}

fn enis() -> impl Strategy<Value = EniRecord> {
    let names = ("[a-e]", of(".*"), ".*", proptest::collection::vec(".*", 0..3));
    let numbers = (of(any::<[u8; 6]>()), of(any::<Ipv4Addr>()), of(any::<Ipv6Addr>()), any::<u64>());
    let intents =
        of((".*", counts()).prop_map(|(token, counts)| AssignIntent { token: token.into(), counts }));
    let news = (counts(), of(claims()), intents);
    (names, numbers, subnets(), phases(), news).prop_map(|(names, numbers, subnets, phase, news)| {
        let (counts, claim, assigning) = news;
        let (token, id, vswitch, groups) = names;
        let (mac, v4, v6, since) = numbers;
        EniRecord {
            token: token.into(),
            id: id.map(Into::into),
            mac: mac.map(MacAddr),
            vswitch: vswitch.into(),
            security_groups: groups.into_iter().map(Into::into).collect(),
            addresses: Addresses::new(v4, v6),
            subnets,
            gateways: Gateways::new(v4, None),
            phase,
            since: Timestamp(since),
            counts,
            claim,
            assigning,
        }
    })
}

fn counts() -> impl Strategy<Value = AddressCounts> {
    any::<[u32; 4]>().prop_map(|[ipv4, ipv6, ipv4_prefixes, ipv6_prefixes]| AddressCounts {
        ipv4,
        ipv6,
        ipv4_prefixes,
        ipv6_prefixes,
    })
}

fn pods() -> impl Strategy<Value = PodRef> {
    (".*", ".*", of(".*")).prop_map(|(namespace, name, uid)| PodRef { namespace, name, uid })
}

fn addresses() -> impl Strategy<Value = Addresses> {
    (of(any::<Ipv4Addr>()), of(any::<Ipv6Addr>())).prop_map(|(v4, v6)| Addresses::new(v4, v6))
}

/// Few of them, whose order as text differs from theirs as numbers.
fn ips() -> impl Strategy<Value = IpAddr> {
    let texts = ["9.0.0.9", "9.0.0.10", "10.0.0.1", "fd00::9", "fd00::a", "fd00::10", "::ffff:9.0.0.9"];
    proptest::sample::select(texts.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn prefixes() -> impl Strategy<Value = IpNetwork> {
    (ips(), 0u8..=1).prop_map(|(ip, bits)| {
        let bits = if ip.is_ipv4() { 28 + bits } else { 80 + bits };
        IpNetwork::new(ip, bits).unwrap()
    })
}

fn address_records() -> impl Strategy<Value = AddressRecord> {
    let phases = prop_oneof![
        Just(AddressPhase::Idle),
        keys().prop_map(AddressPhase::InUse),
        any::<u64>().prop_map(|until| AddressPhase::Quarantined { until: Timestamp(until) }),
        Just(AddressPhase::Unassigning),
    ];
    (ips(), "[a-e]", phases, any::<u64>()).prop_map(|(address, eni, phase, since)| AddressRecord {
        address,
        eni: eni.into(),
        phase,
        since: Timestamp(since),
    })
}

fn prefix_records() -> impl Strategy<Value = PrefixRecord> {
    let phases = [PrefixPhase::Ready, PrefixPhase::Frozen, PrefixPhase::Unassigning];
    (prefixes(), "[a-e]", proptest::sample::select(phases.to_vec()), any::<u64>()).prop_map(
        |(prefix, eni, phase, since)| PrefixRecord {
            prefix,
            eni: eni.into(),
            phase,
            since: Timestamp(since),
        },
    )
}

fn holdings() -> impl Strategy<Value = HistoryEntry> {
    (keys(), pods(), ".*", of(".*"), addresses(), any::<[u64; 2]>()).prop_map(
        |(key, pod, token, eni, addresses, [from, to])| {
            HistoryEntry::Held(PastHolding {
                key,
                pod,
                token: token.into(),
                eni: eni.map(Into::into),
                addresses,
                from: Timestamp(from),
                to: Timestamp(to),
            })
        },
    )
}

fn calls() -> impl Strategy<Value = HistoryEntry> {
    (".*", ".*", of(".*"), of(".*"), of(failures()), any::<[u64; 2]>()).prop_map(
        |(action, object, intent, request_id, failure, [at, took])| {
            HistoryEntry::Called(PastCall {
                action,
                object,
                intent: intent.map(Into::into),
                request_id,
                failure,
                at: Timestamp(at),
                took: Duration::from_nanos(took),
            })
        },
    )
}

fn failures() -> impl Strategy<Value = CloudFailure> {
    let kinds = prop_oneof![
        Just(CloudFailureKind::Throttled),
        (".*", of(any::<u32>())).prop_map(|(which, limit)| CloudFailureKind::Quota { which, limit }),
        Just(CloudFailureKind::SubnetExhausted),
        Just(CloudFailureKind::InvalidState),
        Just(CloudFailureKind::Gone),
        Just(CloudFailureKind::Denied),
        Just(CloudFailureKind::ClockSkew),
        Just(CloudFailureKind::Conflict),
        Just(CloudFailureKind::Invalid),
        Just(CloudFailureKind::Transient),
        Just(CloudFailureKind::Ambiguous),
    ];
    (kinds, ".*", of(".*"), of(".*"), ".*").prop_map(|(kind, action, vendor_code, request_id, message)| {
        CloudFailure { kind, action, vendor_code, request_id, message }
    })
}

fn attachments() -> impl Strategy<Value = AttachmentRecord> {
    (keys(), pods(), ".*", "[a-e]", addresses(), of(".*"), any::<u64>()).prop_map(
        |(key, pod, netns, eni, addresses, claim, since)| AttachmentRecord {
            key,
            pod,
            netns,
            eni: eni.into(),
            addresses,
            claim: claim.map(Into::into),
            since: Timestamp(since),
        },
    )
}

pub(crate) fn changes() -> impl Strategy<Value = LedgerChange> {
    prop_oneof![
        3 => enis().prop_map(LedgerChange::PutEni),
        1 => "[a-e]".prop_map(|token: String| LedgerChange::RemoveEni(token.into())),
        3 => attachments().prop_map(LedgerChange::PutAttachment),
        1 => keys().prop_map(LedgerChange::RemoveAttachment),
        3 => address_records().prop_map(LedgerChange::PutAddress),
        1 => ips().prop_map(LedgerChange::RemoveAddress),
        3 => prefix_records().prop_map(LedgerChange::PutPrefix),
        1 => prefixes().prop_map(LedgerChange::RemovePrefix),
        2 => holdings().prop_map(LedgerChange::Remember),
        2 => calls().prop_map(LedgerChange::Remember),
    ]
}
