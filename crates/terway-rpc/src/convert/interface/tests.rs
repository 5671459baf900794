//! Round trips, the Go daemon's shape, and one refusal per field.

use terway_types::{AddressCounts, EniPhase, Timestamp};

use super::*;

fn parts() -> InterfaceParts {
    InterfaceParts {
        ifname: Some(IfName::new("net1").unwrap()),
        eni: Some("eni-1".into()),
        mac: "00:16:3e:01:02:03".parse().unwrap(),
        addresses: Addresses::new("10.0.0.7".parse().ok(), "fd00::7".parse().ok()),
        subnets: Subnets::new("10.0.0.0/24".parse().ok(), "fd00::/64".parse().ok()),
        gateways: Gateways::new("10.0.0.253".parse().ok(), "fd00::fffd".parse().ok()),
        eni_gateways: Gateways::new("10.0.9.253".parse().ok(), "fd00:9::fffd".parse().ok()),
        service_cidrs: ["172.16.0.0/16", "172.17.0.0/16", "fd01::/112"]
            .map(|net| net.parse().unwrap())
            .into(),
        default_route: true,
        extra_routes: vec!["192.168.0.0/16".parse().unwrap()],
        ingress: Some(1_250_000),
        egress: None,
        class: Some(PriorityClass::BestEffort),
        erdma: true,
        nic_kinds: vec!["veth".into()],
        vlan: Some(7),
        vf: None,
    }
}

#[test]
fn parts_come_back_as_they_went() {
    let message = wire::Interface::from(&parts());
    assert_eq!(InterfaceParts::try_from(&message), Ok(parts()));
    let service = message.basic.unwrap().service_cidr.unwrap();
    assert_eq!(service.ipv4, "172.16.0.0/16,172.17.0.0/16");
}

#[test]
fn the_go_daemons_least_message_is_enough() {
    let message = wire::Interface {
        basic: Some(wire::BasicInfo {
            pod_ip: Some(AddressPair { ipv4: "10.0.0.7".into(), ipv6: String::new() }),
            ..Default::default()
        }),
        eni: Some(wire::EniInfo { mac: "00:16:3e:01:02:03".into(), ..Default::default() }),
        default_route: true,
        ..Default::default()
    };
    let parts = InterfaceParts::try_from(&message).unwrap();
    assert_eq!(parts.addresses, Addresses::new("10.0.0.7".parse().ok(), None));
    assert!(parts.subnets.is_empty() && parts.gateways.is_empty() && parts.service_cidrs.is_empty());
    assert_eq!((parts.ifname, parts.eni, parts.ingress), (None, None, None));
}

#[test]
fn an_eni_without_mac_or_address_makes_no_interface() {
    let mut eni = EniRecord {
        token: "t".into(),
        id: Some("eni-1".into()),
        mac: None,
        vswitch: "vsw-1".into(),
        security_groups: Vec::new(),
        addresses: parts().addresses,
        subnets: parts().subnets,
        gateways: parts().gateways,
        phase: EniPhase::Ready,
        since: Timestamp(0),
        counts: AddressCounts::default(),
        claim: None,
        assigning: None,
    };
    let error = InterfaceParts::of_eni(&eni).unwrap_err();
    assert_eq!(error.to_string(), "the ENI's MAC address is missing");
    eni.mac = Some(parts().mac);
    assert_eq!(InterfaceParts::of_eni(&eni).unwrap().mac, parts().mac);
    eni.addresses = Addresses::default();
    assert_eq!(InterfaceParts::of_eni(&eni).unwrap_err().to_string(), "the ENI's address is missing");
}

/// Spoils one field of a good message and says how the refusal reads.
fn refusal(spoil: impl FnOnce(&mut wire::Interface)) -> String {
    let mut message = wire::Interface::from(&parts());
    spoil(&mut message);
    InterfaceParts::try_from(&message).unwrap_err().to_string()
}

fn basic(message: &mut wire::Interface) -> &mut wire::BasicInfo {
    message.basic.as_mut().unwrap()
}

fn eni(message: &mut wire::Interface) -> &mut wire::EniInfo {
    message.eni.as_mut().unwrap()
}

#[test]
fn refusals_name_field_and_value() {
    assert_eq!(refusal(|m| m.basic = None), "basic is missing");
    assert_eq!(refusal(|m| m.eni = None), "eni is missing");
    assert_eq!(refusal(|m| basic(m).pod_ip = None), "basic.pod_ip is missing");
    let bad_address = refusal(|m| basic(m).pod_ip.as_mut().unwrap().ipv4 = "10.0.0".into());
    assert_eq!(bad_address, "basic.pod_ip is \"10.0.0\": invalid IPv4 address syntax");
    let bad_gateway = refusal(|m| basic(m).gateway.as_mut().unwrap().ipv6 = "10.0.0.1".into());
    assert_eq!(bad_gateway, "basic.gateway is \"10.0.0.1\": invalid IPv6 address syntax");
    let bad_cidr = refusal(|m| basic(m).pod_cidr.as_mut().unwrap().ipv4 = "10.0.0.0/33".into());
    assert!(bad_cidr.starts_with("basic.pod_cidr is \"10.0.0.0/33\": "), "{bad_cidr}");
    let bad_service = refusal(|m| basic(m).service_cidr.as_mut().unwrap().ipv4 = "172.16.0.0/16,x".into());
    assert!(bad_service.starts_with("basic.service_cidr is \"x\": "), "{bad_service}");
    let bad_route = refusal(|m| m.extra_routes[0].destination = "y".into());
    assert!(bad_route.starts_with("extra_routes is \"y\": "), "{bad_route}");
    assert!(refusal(|m| eni(m).mac = "zz".into()).starts_with("eni.mac is \"zz\": "));
    let group = refusal(|m| eni(m).mac = "01:00:5e:00:00:01".into());
    assert_eq!(group, "eni.mac is \"01:00:5e:00:00:01\": no card can have it");
    assert!(refusal(|m| m.ifname = "a/b".into()).starts_with("ifname is \"a/b\": must not contain"));
}

#[test]
fn what_is_no_whole_eni_is_not_taken_for_one() {
    let none = refusal(|m| eni(m).vlan_id = 0);
    assert_eq!(none, "eni.vlan_id is \"0\": a trunk's member has a VLAN within 1 to 4094");
    let high = refusal(|m| (eni(m).trunk, eni(m).vlan_id) = (true, 4095));
    assert_eq!(high, "eni.vlan_id is \"4095\": a trunk's member has a VLAN within 1 to 4094");
    assert_eq!(refusal(|m| eni(m).trunk = false), "eni.vlan_id is \"7\": eni.trunk is false");
    assert!(refusal(|m| eni(m).vf_id = Some(0)).starts_with("eni.vf_id is 0 of a trunk"));
    assert_eq!(datapath(1), Ok(Datapath::Exclusive));
    assert_eq!(datapath(2), Ok(Datapath::PolicyRoute));
    assert_eq!(datapath(0), Ok(Datapath::VpcRoute));
    assert!(datapath(9).unwrap_err().to_string().starts_with("type is 9"));
}
