//! The bytes of every message that the Go implementation knows, against bytes put together here by the
//! protobuf encoding rules from its field numbers. A renumbered field or a changed type fails here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use prost::Message;
use terway_rpc::wire::*;

/// A length-delimited field: text or an embedded message.
fn bytes(field: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    assert!(field < 16 && value.len() < 128, "one-byte key and length");
    [&[field << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat()
}

/// A number field below 128.
fn number(field: u8, value: u8) -> Vec<u8> {
    assert!(field < 16 && value < 128, "one-byte key and value");
    vec![field << 3, value]
}

/// Both directions: this build writes these bytes, and reads them back.
#[track_caller]
fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, expected: &[Vec<u8>]) {
    let expected = expected.concat();
    assert_eq!(message.encode_to_vec(), expected);
    assert_eq!(&M::decode(expected.as_slice()).unwrap(), message);
}

fn pair(ipv4: &str, ipv6: &str) -> AddressPair {
    AddressPair { ipv4: ipv4.into(), ipv6: ipv6.into() }
}

fn pair_bytes(ipv4: &str, ipv6: &str) -> Vec<u8> {
    [bytes(1, ipv4), bytes(2, ipv6)].concat()
}

#[test]
fn allocate() {
    check(
        &AllocateRequest {
            pod_name: "p".into(),
            pod_namespace: "ns".into(),
            container_id: "c1".into(),
            netns: "/n".into(),
            ifname: "eth0".into(),
            ..Default::default()
        },
        &[bytes(1, "p"), bytes(2, "ns"), bytes(3, "c1"), bytes(4, "/n"), bytes(5, "eth0")],
    );
    check(
        &AllocateReply {
            success: true,
            r#type: AttachmentType::TypeVpceni.into(),
            ipv4: true,
            ipv6: true,
            interfaces: vec![
                Interface { ifname: "a".into(), ..Default::default() },
                Interface { ifname: "b".into(), ..Default::default() },
            ],
        },
        &[
            number(1, 1),
            number(2, 1),
            number(3, 1),
            number(4, 1),
            bytes(5, bytes(4, "a")),
            bytes(5, bytes(4, "b")),
        ],
    );
}

#[test]
fn our_own_fields_are_out_of_the_way() {
    // Key of field 100, length-delimited: 100 << 3 | 2 = 802 = 0xa2 0x06 as a varint; 101: 0xaa 0x06.
    check(
        &AllocateRequest { network: "n".into(), pod_uid: "u".into(), ..Default::default() },
        &[vec![0xa2, 0x06, 1, b'n'], vec![0xaa, 0x06, 1, b'u']],
    );
    check(
        &ReleaseRequest { network: "n".into(), ifname: "i".into(), ..Default::default() },
        &[vec![0xa2, 0x06, 1, b'n'], vec![0xaa, 0x06, 1, b'i']],
    );
}

#[test]
fn interface() {
    check(
        &Interface {
            basic: Some(BasicInfo {
                pod_ip: Some(pair("1", "2")),
                pod_cidr: Some(pair("3", "4")),
                gateway: Some(pair("5", "6")),
                service_cidr: Some(pair("7", "8")),
            }),
            eni: Some(EniInfo {
                mac: "m".into(),
                trunk: true,
                vlan_id: 5,
                gateway: Some(pair("9", "a")),
                erdma: true,
                vf_id: Some(0),
                ..Default::default()
            }),
            pod: Some(PodInfo { ingress: 10, egress: 11, network_priority: "g".into() }),
            ifname: "eth1".into(),
            extra_routes: vec![Route { destination: "r".into() }],
            default_route: true,
        },
        &[
            bytes(
                1,
                [
                    bytes(1, pair_bytes("1", "2")),
                    bytes(2, pair_bytes("3", "4")),
                    bytes(3, pair_bytes("5", "6")),
                    bytes(4, pair_bytes("7", "8")),
                ]
                .concat(),
            ),
            bytes(
                2,
                [
                    bytes(1, "m"),
                    number(2, 1),
                    number(3, 5),
                    bytes(4, pair_bytes("9", "a")),
                    number(5, 1),
                    // An optional field is written even when it is zero.
                    number(6, 0),
                ]
                .concat(),
            ),
            bytes(3, [number(1, 10), number(2, 11), bytes(3, "g")].concat()),
            bytes(4, "eth1"),
            bytes(5, bytes(1, "r")),
            number(6, 1),
        ],
    );
}

#[test]
fn release() {
    check(
        &ReleaseRequest {
            pod_name: "p".into(),
            pod_namespace: "ns".into(),
            container_id: "c1".into(),
            r#type: AttachmentType::TypeEniMultiIp.into(),
            ipv4_address: "4".into(),
            mac: "m".into(),
            reason: "r".into(),
            ..Default::default()
        },
        &[
            bytes(1, "p"),
            bytes(2, "ns"),
            bytes(3, "c1"),
            number(4, 2),
            bytes(5, "4"),
            bytes(6, "m"),
            bytes(7, "r"),
        ],
    );
    check(
        &ReleaseReply {
            success: true,
            ipv4_address: "4".into(),
            device_number: "d".into(),
            ipv4: true,
            ipv6: true,
            eni_in_use: true,
        },
        // Our own field 100: 100 << 3 | 0 = 800 = 0xa0 0x06 as a varint.
        &[number(1, 1), bytes(2, "4"), bytes(3, "d"), number(4, 1), number(5, 1), vec![0xa0, 0x06, 1]],
    );
}

#[test]
fn info() {
    check(
        &InfoRequest {
            pod_name: "p".into(),
            pod_namespace: "ns".into(),
            container_id: "c1".into(),
            ..Default::default()
        },
        &[bytes(1, "p"), bytes(2, "ns"), bytes(3, "c1")],
    );
    check(
        &InfoReply {
            r#type: AttachmentType::TypeVpceni.into(),
            success: true,
            ipv4: true,
            ipv6: true,
            interfaces: vec![Interface { default_route: true, ..Default::default() }],
            error: InfoError::CrdNotFound.into(),
        },
        &[number(1, 1), number(2, 1), number(3, 1), number(4, 1), bytes(5, number(6, 1)), number(7, 1)],
    );
}

#[test]
fn events() {
    check(
        &EventRequest {
            target: EventTarget::Pod.into(),
            pod_name: "p".into(),
            pod_namespace: "ns".into(),
            r#type: EventType::Warning.into(),
            reason: "r".into(),
            message: "m".into(),
        },
        &[number(1, 1), bytes(2, "p"), bytes(3, "ns"), number(4, 1), bytes(5, "r"), bytes(6, "m")],
    );
    check(&EventReply { success: true, error: "e".into() }, &[number(1, 1), bytes(2, "e")]);
}

#[test]
fn resources() {
    check(&Placeholder {}, &[]);
    check(&ResourceTypes { names: vec!["a".into(), "b".into()] }, &[bytes(1, "a"), bytes(1, "b")]);
    check(&ResourceTypeRequest { name: "t".into() }, &[bytes(1, "t")]);
    check(&ResourceNames { names: vec!["n".into()] }, &[bytes(1, "n")]);
    check(&ResourceTypeNameRequest { r#type: "t".into(), name: "n".into() }, &[bytes(1, "t"), bytes(2, "n")]);
    let entry = KeyValue { key: "k".into(), value: "v".into() };
    let entry_bytes = bytes(1, [bytes(1, "k"), bytes(2, "v")].concat());
    check(&ResourceConfigReply { config: vec![entry.clone()] }, std::slice::from_ref(&entry_bytes));
    check(&ResourceTraceReply { trace: vec![entry] }, &[entry_bytes]);
    check(
        &ResourceExecuteRequest {
            r#type: "t".into(),
            name: "n".into(),
            command: "c".into(),
            args: vec!["x".into(), "y".into()],
        },
        &[bytes(1, "t"), bytes(2, "n"), bytes(3, "c"), bytes(4, "x"), bytes(4, "y")],
    );
    check(&ResourceExecuteReply { message: "m".into() }, &[bytes(1, "m")]);
}

#[test]
fn mapping() {
    check(
        &ResourceMappingReply {
            info: vec![ResourceMapping {
                eni_id: "e".into(),
                mac: "m".into(),
                r#type: "t".into(),
                inhibit_expires_at: "i".into(),
                status: "s".into(),
                info: vec!["1".into(), "2".into()],
            }],
            records: vec![ResourceRecord {
                pod_name: "p".into(),
                pod_namespace: "ns".into(),
                eni_id: "e".into(),
                eni_mac: "m".into(),
                ipv4: "4".into(),
                ipv6: "6".into(),
                r#type: "t".into(),
            }],
        },
        &[
            bytes(
                1,
                [
                    bytes(1, "e"),
                    bytes(2, "m"),
                    bytes(3, "t"),
                    bytes(4, "i"),
                    bytes(5, "s"),
                    bytes(6, "1"),
                    bytes(6, "2"),
                ]
                .concat(),
            ),
            bytes(
                2,
                [
                    bytes(1, "p"),
                    bytes(2, "ns"),
                    bytes(3, "e"),
                    bytes(4, "m"),
                    bytes(5, "4"),
                    bytes(6, "6"),
                    bytes(7, "t"),
                ]
                .concat(),
            ),
        ],
    );
}

/// A pod's answer as another protobuf implementation writes it, byte for byte.
#[test]
fn a_whole_answer_spelled_out() {
    let expected: &[u8] = &[
        0x08, 0x01, // success
        0x10, 0x01, // type: TypeVPCENI
        0x18, 0x01, // ipv4
        0x2a, 0x2a, // interfaces, 42 bytes
        0x0a, 0x0c, // basic, 12 bytes
        0x0a, 0x0a, // pod_ip, 10 bytes
        0x0a, 0x08, b'1', b'0', b'.', b'0', b'.', b'0', b'.', b'7', // ipv4
        0x12, 0x13, // eni, 19 bytes
        0x0a, 0x11, b'0', b'0', b':', b'1', b'6', b':', b'3', b'e', b':', b'0', b'1', b':', b'0', b'2', b':',
        b'0', b'3', // mac
        0x1a, 0x03, // pod, 3 bytes
        0x10, 0x80, 0x01, // egress 128
        0x30, 0x01, // default_route
    ];
    let answer = AllocateReply {
        success: true,
        r#type: AttachmentType::TypeVpceni.into(),
        ipv4: true,
        ipv6: false,
        interfaces: vec![Interface {
            basic: Some(BasicInfo { pod_ip: Some(pair("10.0.0.7", "")), ..Default::default() }),
            eni: Some(EniInfo { mac: "00:16:3e:01:02:03".into(), ..Default::default() }),
            pod: Some(PodInfo { egress: 128, ..Default::default() }),
            default_route: true,
            ..Default::default()
        }],
    };
    assert_eq!(answer.encode_to_vec(), expected);
    assert_eq!(AllocateReply::decode(expected), Ok(answer));
}

#[test]
fn what_a_newer_side_adds_is_passed_over() {
    // Field 200, length-delimited: 200 << 3 | 2 = 1602 = 0xc2 0x0c.
    let newer = [bytes(1, "p"), vec![0xc2, 0x0c, 1, b'?']].concat();
    let request = AllocateRequest::decode(newer.as_slice()).unwrap();
    assert_eq!(request, AllocateRequest { pod_name: "p".into(), ..Default::default() });
}
