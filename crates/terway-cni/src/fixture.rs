//! Values that the tests of several files start from.

use std::ffi::OsString;

use cni_protocol::{Context, NetConf, PrevResult, Request};
use serde_json::{Value, json};
use terway_datapath::{HostFacts, layout};
use terway_rpc::wire::{self, AddressPair, BasicInfo, EniInfo};
use terway_types::{Addresses, AttachmentKey, ContainerId, IfName, NetworkName, PodRef};

use crate::blueprint::Blueprint;
use crate::netconf::Options;
use crate::plan::plans;

pub(crate) fn key_of(network: &str, container: &str, ifname: &str) -> AttachmentKey {
    AttachmentKey {
        network: NetworkName::new(network).unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new(ifname).unwrap(),
    }
}

pub(crate) fn key() -> AttachmentKey {
    key_of("terway", "c0ffee", "eth0")
}

pub(crate) fn pod() -> PodRef {
    PodRef { namespace: "default".to_owned(), name: "web".to_owned(), uid: None }
}

/// A request of the runtime, read from a configuration with these further keys.
fn request(verb: &str, keys: &Value, args: &str) -> Request {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "terway", "type": "terway", "prevResult": {}});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    let env = |name: &str| {
        let text = match name {
            "CNI_COMMAND" => verb,
            "CNI_CONTAINERID" => "c0ffee",
            "CNI_NETNS" => "/run/netns/a",
            "CNI_IFNAME" => "eth0",
            "CNI_ARGS" => args,
            _ => return None,
        };
        Some(OsString::from(text))
    };
    Request::read(&env, conf.to_string().as_bytes()).unwrap()
}

pub(crate) fn context(keys: &Value, args: &str) -> Context {
    let Request::Add(add) = request("ADD", keys, args) else { panic!("asked for an ADD") };
    add.context
}

pub(crate) fn conf(keys: &Value) -> NetConf {
    context(keys, "").config
}

pub(crate) fn prev_result(value: &Value) -> PrevResult {
    let Request::Check(check) = request("CHECK", &json!({ "prevResult": value }), "") else {
        panic!("asked for a CHECK")
    };
    check.prev_result.unwrap()
}

pub(crate) fn options() -> Options {
    Options::read(&conf(&json!({}))).unwrap()
}

fn pair(ipv4: &str, ipv6: &str) -> AddressPair {
    AddressPair { ipv4: ipv4.to_owned(), ipv6: ipv6.to_owned() }
}

/// An interface as our daemon describes it.
pub(crate) fn interface() -> wire::Interface {
    let mut interface = go_interface();
    let eni = interface.eni.as_mut().unwrap();
    eni.id = "eni-1".to_owned();
    eni.nic_kinds = vec!["veth".to_owned()];
    interface
}

/// An interface as the Go daemon describes it.
pub(crate) fn go_interface() -> wire::Interface {
    wire::Interface {
        basic: Some(BasicInfo {
            pod_ip: Some(pair("10.0.1.5", "fd00:1::5")),
            pod_cidr: Some(pair("10.0.1.0/24", "fd00:1::/64")),
            gateway: Some(pair("10.0.1.253", "fd00:1::ffff:ffff:ffff:fffd")),
            service_cidr: Some(pair("172.16.0.0/16", "")),
        }),
        eni: Some(EniInfo { mac: "00:16:3e:01:02:03".to_owned(), ..Default::default() }),
        pod: Some(wire::PodInfo::default()),
        default_route: true,
        ..Default::default()
    }
}

/// That interface, laid out on a node.
pub(crate) fn blueprint() -> Blueprint {
    let facts = HostFacts {
        uplink: "eth0".to_owned(),
        addresses: Addresses::new("10.0.1.1".parse().ok(), "fd00:1::1".parse().ok()),
        ..HostFacts::default()
    };
    let kind = wire::AttachmentType::TypeVpceni as i32;
    let plan = plans(kind, &[interface()], &key(), &options()).unwrap().remove(0);
    let layout = layout(&plan, &key(), &pod(), &facts).unwrap();
    Blueprint { plan, layout, nic_index: None }
}
