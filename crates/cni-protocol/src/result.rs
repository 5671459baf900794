//! The result of ADD: read in any version's shape, printed in the shape of one.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::text;
use crate::version::Version;

/// What a plugin, or the plugins before it, made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CniResult {
    /// Every interface made, inside and outside of the container.
    #[serde(default, deserialize_with = "text::read_list")]
    pub interfaces: Vec<Interface>,
    /// Every address given.
    #[serde(default, deserialize_with = "text::read_list")]
    pub ips: Vec<IpConfig>,
    /// Every route made.
    #[serde(default, deserialize_with = "text::read_list")]
    pub routes: Vec<Route>,
    /// How names are resolved.
    #[serde(default)]
    pub dns: Option<Dns>,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address, if it has one.
    #[serde(default)]
    pub mac: Option<String>,
    /// Its MTU in bytes. Printed since 1.1.0.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// The container's namespace for an interface inside of it; none on the host.
    #[serde(default)]
    pub sandbox: Option<String>,
    /// The path of a socket that belongs to it. Printed since 1.1.0.
    #[serde(default, rename = "socketPath")]
    pub socket_path: Option<String>,
    /// The PCI address of its device. Printed since 1.1.0.
    #[serde(default, rename = "pciID")]
    pub pci_id: Option<String>,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IpConfig {
    /// The address with its prefix length.
    #[serde(deserialize_with = "text::read")]
    pub address: IpNetwork,
    /// Its gateway, if there is one.
    #[serde(default, deserialize_with = "text::read_optional")]
    pub gateway: Option<IpAddr>,
    /// The interface that has it, as an index into `interfaces`.
    #[serde(default)]
    pub interface: Option<usize>,
}

/// One route inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// The destination.
    #[serde(deserialize_with = "text::read")]
    pub dst: IpNetwork,
    /// The next hop, if there is one.
    #[serde(default, deserialize_with = "text::read_optional")]
    pub gw: Option<IpAddr>,
    /// MTU of the path in bytes. Printed since 1.1.0, as everything below.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// The segment size to advertise, in bytes.
    #[serde(default)]
    pub advmss: Option<u32>,
    /// The metric; lower wins.
    #[serde(default)]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(default)]
    pub table: Option<u32>,
    /// The scope: 0 global, 253 link, 254 host.
    #[serde(default)]
    pub scope: Option<u32>,
}

impl Route {
    /// A route with nothing but destination and next hop.
    pub fn new(dst: IpNetwork, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Dns {
    /// The servers, in order.
    #[serde(default, deserialize_with = "text::read_list")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default)]
    pub domain: Option<String>,
    /// The search list.
    #[serde(default, deserialize_with = "text::read_list")]
    pub search: Vec<String>,
    /// The resolver's options.
    #[serde(default, deserialize_with = "text::read_list")]
    pub options: Vec<String>,
}

impl CniResult {
    /// The result as a reader of this version expects it.
    pub fn to_json(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".to_owned(), version.as_str().into());
        self.append_to(&mut object, version);
        Value::Object(object)
    }

    /// Adds this result's entries to those of the plugins before, which stay as they are.
    pub(crate) fn append_to(&self, object: &mut Map<String, Value>, version: Version) {
        let known = object.get("interfaces").and_then(Value::as_array).map_or(0, Vec::len);
        append(object, "interfaces", self.interfaces.iter().map(|interface| interface.to_json(version)));
        append(object, "ips", self.ips.iter().map(|ip| ip.to_json(version, known)));
        append(object, "routes", self.routes.iter().map(|route| route.to_json(version)));
        if let Some(dns) = &self.dns
            && object.get("dns").and_then(Value::as_object).is_none_or(Map::is_empty)
        {
            object.insert("dns".to_owned(), dns.to_json());
        }
    }
}

fn append(object: &mut Map<String, Value>, key: &str, entries: impl ExactSizeIterator<Item = Value>) {
    if entries.len() == 0 {
        return;
    }
    match object.get_mut(key) {
        Some(Value::Array(list)) => list.extend(entries),
        _ => {
            object.insert(key.to_owned(), entries.collect());
        }
    }
}

/// Puts a value in if there is one.
fn put<T: Into<Value>>(object: &mut Value, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object[key] = value.into();
    }
}

impl Interface {
    fn to_json(&self, version: Version) -> Value {
        let mut object = json!({ "name": self.name });
        put(&mut object, "mac", self.mac.as_deref());
        put(&mut object, "sandbox", self.sandbox.as_deref());
        if version >= Version::V1_1_0 {
            put(&mut object, "mtu", self.mtu);
            put(&mut object, "socketPath", self.socket_path.as_deref());
            put(&mut object, "pciID", self.pci_id.as_deref());
        }
        object
    }
}

impl IpConfig {
    fn to_json(&self, version: Version, first_interface: usize) -> Value {
        let mut object = json!({ "address": self.address.to_string() });
        put(&mut object, "gateway", self.gateway.map(|gateway| gateway.to_string()));
        put(&mut object, "interface", self.interface.map(|index| index + first_interface));
        if version < Version::V1_0_0 {
            object["version"] = if self.address.is_ipv4() { "4" } else { "6" }.into();
        }
        object
    }
}

impl Route {
    fn to_json(&self, version: Version) -> Value {
        let mut object = json!({ "dst": self.dst.to_string() });
        put(&mut object, "gw", self.gw.map(|gw| gw.to_string()));
        if version >= Version::V1_1_0 {
            put(&mut object, "mtu", self.mtu);
            put(&mut object, "advmss", self.advmss);
            put(&mut object, "priority", self.priority);
            put(&mut object, "table", self.table);
            put(&mut object, "scope", self.scope);
        }
        object
    }
}

impl Dns {
    fn to_json(&self) -> Value {
        let mut object = json!({});
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        put(&mut object, "nameservers", some(&self.nameservers));
        put(&mut object, "domain", self.domain.as_deref());
        put(&mut object, "search", some(&self.search));
        put(&mut object, "options", some(&self.options));
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> CniResult {
        CniResult {
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                mac: Some("00:16:3e:01:02:03".to_owned()),
                mtu: Some(1500),
                sandbox: Some("/run/netns/a".to_owned()),
                socket_path: Some("/run/x.sock".to_owned()),
                pci_id: Some("0000:00:06.0".to_owned()),
            }],
            ips: vec![
                IpConfig {
                    address: "10.0.0.5/24".parse().unwrap(),
                    gateway: "10.0.0.253".parse().ok(),
                    interface: Some(0),
                },
                IpConfig { address: "fd00::5/64".parse().unwrap(), gateway: None, interface: Some(0) },
            ],
            routes: vec![Route {
                mtu: Some(1400),
                advmss: Some(1360),
                priority: Some(5),
                table: Some(100),
                scope: Some(253),
                ..Route::new("0.0.0.0/0".parse().unwrap(), "10.0.0.253".parse().ok())
            }],
            dns: Some(Dns {
                nameservers: vec!["10.0.0.10".to_owned()],
                domain: Some("local".to_owned()),
                search: vec!["svc.local".to_owned()],
                options: vec!["ndots:5".to_owned()],
            }),
        }
    }

    #[test]
    fn v2_r1_to_r6_the_newest_shape_has_everything() {
        let expected = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{
                "name": "eth0", "mac": "00:16:3e:01:02:03", "mtu": 1500, "sandbox": "/run/netns/a",
                "socketPath": "/run/x.sock", "pciID": "0000:00:06.0",
            }],
            "ips": [
                {"address": "10.0.0.5/24", "gateway": "10.0.0.253", "interface": 0},
                {"address": "fd00::5/64", "interface": 0},
            ],
            "routes": [{
                "dst": "0.0.0.0/0", "gw": "10.0.0.253",
                "mtu": 1400, "advmss": 1360, "priority": 5, "table": 100, "scope": 253,
            }],
            "dns": {
                "nameservers": ["10.0.0.10"], "domain": "local", "search": ["svc.local"], "options": ["ndots:5"],
            },
        });
        assert_eq!(full().to_json(Version::V1_1_0), expected);
    }

    #[test]
    fn v8_older_shapes_leave_out_what_they_do_not_know() {
        for version in Version::ALL {
            let json = full().to_json(version);
            let newest = version >= Version::V1_1_0;
            assert_eq!(json["cniVersion"], version.as_str());
            for key in ["mtu", "socketPath", "pciID"] {
                assert_eq!(json["interfaces"][0].get(key).is_some(), newest, "{version} {key}");
            }
            for key in ["mtu", "advmss", "priority", "table", "scope"] {
                assert_eq!(json["routes"][0].get(key).is_some(), newest, "{version} {key}");
            }
            let family = |at: usize| json["ips"][at].get("version").and_then(Value::as_str);
            let expected = if version < Version::V1_0_0 { [Some("4"), Some("6")] } else { [None, None] };
            assert_eq!([family(0), family(1)], expected, "{version}");
        }
    }

    #[test]
    fn v3_every_shape_reads_back() {
        for version in Version::ALL {
            let read: CniResult = serde_json::from_value(full().to_json(version)).unwrap();
            assert_eq!(read.ips, full().ips, "{version}");
            assert_eq!(read.interfaces[0].sandbox, full().interfaces[0].sandbox);
            if version == Version::V1_1_0 {
                assert_eq!(read, full());
            }
        }
    }
}
