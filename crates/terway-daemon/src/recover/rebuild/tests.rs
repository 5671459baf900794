//! What becomes of every kind of trace.

use terway_types::{AddressSet, ContainerId, Gateways, IfName, MacAddr, NetworkName, Subnets};

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const REST: Duration = Duration::from_secs(30);

fn eni(number: u8, place: Place) -> SeenEni {
    SeenEni {
        id: format!("eni-{number}").into(),
        token: Some(format!("t-{number}").into()),
        ours: true,
        primary: false,
        mac: MacAddr([2, 0, 0, 0, 0, number]),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::new(Some([10, 0, 0, number].into()), None),
        assigned: AddressSet { ipv4: vec![[10, 0, 0, number].into()], ..AddressSet::default() },
        subnets: Subnets::new("10.0.0.0/24".parse().ok(), None),
        gateways: Gateways::new("10.0.0.253".parse().ok(), None),
        place,
    }
}

fn key(container: &str) -> AttachmentKey {
    AttachmentKey {
        network: NetworkName::new("terway").unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn traces(holders: &[(&str, &[&str])], home: &[u8]) -> Traces {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Traces {
        holders: holders.iter().map(|(name, texts)| (key(name), addresses(texts))).collect(),
        nameless: Vec::new(),
        home: home.iter().map(|number| MacAddr([2, 0, 0, 0, 0, *number])).collect(),
    }
}

fn phases(rebuilt: &Rebuilt) -> Vec<(&str, &'static str)> {
    rebuilt.snapshot.enis.iter().map(|eni| (eni.token.as_str(), eni.phase.name())).collect()
}

#[test]
fn whole_enis_go_back_to_their_pods_and_the_rest_rests() {
    let seen = [
        eni(1, Place::Here),
        eni(2, Place::Here),
        eni(3, Place::Here),
        eni(4, Place::Nowhere),
        eni(5, Place::Moving),
        eni(6, Place::Elsewhere),
        SeenEni { ours: false, ..eni(7, Place::Here) },
        SeenEni { primary: true, ..eni(8, Place::Here) },
    ];
    let traces = traces(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.99"])], &[2]);
    let rebuilt = rebuild(NodeMode::Exclusive, &seen, &traces, NOW, REST);
    assert_eq!(
        phases(&rebuilt),
        [
            ("t-1", "InUse"),
            ("t-2", "Quarantined"),
            ("t-3", "Quarantined"),
            ("t-4", "Detached"),
            ("t-5", "Detaching")
        ]
    );
    assert_eq!(rebuilt.snapshot.enis[0].phase, EniPhase::InUse(key("a")));
    assert_eq!(rebuilt.snapshot.enis[1].phase, EniPhase::Quarantined { until: NOW + REST });
    let [held] = &rebuilt.snapshot.attachments[..] else { panic!("one attachment has its ENI") };
    assert_eq!((held.key.clone(), held.eni.as_str()), (key("a"), "t-1"));
    let doubts = rebuilt.uncertain.join("\n");
    for part in [
        "NIC of eni-3 is not",
        "eni-5 is on its way",
        "eni-6 has this node's marks",
        "10.0.0.99, which no ENI",
    ] {
        assert!(doubts.contains(part), "{part} is missing in:\n{doubts}");
    }
    assert_eq!(rebuilt.uncertain.len(), 4, "{doubts}");
}

#[test]
fn shared_enis_know_their_addresses_again() {
    let mut shared = eni(1, Place::Here);
    shared.assigned.ipv4 = vec![[10, 0, 0, 1].into(), [10, 0, 0, 21].into()];
    shared.assigned.ipv6 = vec!["fd00::21".parse().unwrap()];
    shared.assigned.prefixes = vec!["10.0.0.32/28".parse().unwrap()];
    let traces = traces(&[("a", &["10.0.0.21", "fd00::21"]), ("b", &["10.0.0.40"])], &[1]);
    let rebuilt = rebuild(NodeMode::Shared, &[shared], &traces, NOW, REST);
    assert_eq!(phases(&rebuilt), [("t-1", "Ready")]);
    let addresses: Vec<_> = rebuilt
        .snapshot
        .addresses
        .iter()
        .map(|record| (record.address.to_string(), record.phase.name()))
        .collect();
    let wanted =
        [("10.0.0.1", "Quarantined"), ("10.0.0.21", "InUse"), ("10.0.0.40", "InUse"), ("fd00::21", "InUse")];
    assert_eq!(addresses, wanted.map(|(address, phase)| (address.to_owned(), phase)));
    assert_eq!(rebuilt.snapshot.prefixes.len(), 1);
    assert_eq!(rebuilt.snapshot.attachments.len(), 2);
    assert!(rebuilt.snapshot.attachments[0].addresses.v6.is_some());
    assert_eq!(rebuilt.uncertain, [""; 0]);
}

#[test]
fn what_two_claim_is_given_once_and_said() {
    let twin = SeenEni { token: Some("t-1".into()), ..eni(2, Place::Nowhere) };
    let traces = traces(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.1"])], &[]);
    let rebuilt = rebuild(NodeMode::Exclusive, &[eni(1, Place::Here), twin], &traces, NOW, REST);
    assert_eq!(phases(&rebuilt), [("recovered-eni-2", "Detached"), ("t-1", "InUse")]);
    assert_eq!(rebuilt.snapshot.attachments.len(), 1);
    assert_eq!(rebuilt.uncertain.len(), 2, "{:?}", rebuilt.uncertain);
}
