//! Terway's own keys of the network configuration, typed and checked; everything wrong is reported at
//! once. DEL reads only the paths, so that no other key can keep a pod from going away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni_protocol::{CniError, NetConf};
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use terway_datapath::kernel::IpvlanMode;
use terway_datapath::names::HOST_LINK_PREFIX;
use terway_rpc::DEFAULT_SOCKET;
use terway_types::{Bandwidth, Fault, FaultCode, PriorityClass};

use crate::annotations;
use crate::limits;
use crate::queueing::Asked;
use crate::virtual_type::{VirtualType, ipvlan_mode};

/// Where the daemon keeps its state; releases it missed are spooled below.
const DEFAULT_STATE_DIR: &str = "/var/lib/cni/terway";
/// Where the locks of attachments are; emptied by a reboot, as locks should be.
const DEFAULT_RUN_DIR: &str = "/var/run/eni/attachments";
/// The MTU of links unless the configuration says otherwise.
const DEFAULT_MTU: u32 = 1500;
/// The MTUs a data path can have; IPv6 needs 1280, which only the plan knows.
const MTU_RANGE: std::ops::RangeInclusive<i64> = 576..=9600;
/// The least of them, as the rates of limits want it.
const LEAST_MTU: u32 = 576;
/// Longest path of a Unix socket (`sun_path` without its NUL).
const SOCKET_PATH_LIMIT: usize = 107;
/// Runtimes say "no opinion about the burst" with values from here on (containerd `MaxUint32`, CRI-O
/// eight times that): 256 MiB of unlimited traffic is no limit.
const NO_BURST: i64 = i32::MAX as i64;

/// Capabilities that ask for something this plugin does not do. Passing them over in silence would give
/// the pod less than it was promised (CONVENTIONS.md, "Dynamic Plugin specific fields").
const UNSUPPORTED_CAPABILITIES: [(&str, &str); 5] = [
    ("portMappings", "chain the portmap plugin behind terway"),
    ("ips", "addresses are given by the VPC"),
    ("mac", "the hardware address is the ENI's"),
    ("ipRanges", "addresses are given by the VPC"),
    ("infinibandGUID", "terway has no Infiniband data path"),
];

/// How many seconds an ADD waits at most: an ENI may have to be made first. Less than the two minutes after
/// which a runtime gives up, so that the reason still reaches it.
const LONGEST_WAIT: i64 = 110;

/// Where things are on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// `socket_path`: the daemon's socket.
    pub(crate) socket: PathBuf,
    /// `state_dir`: the daemon's state; the spool is below it.
    pub(crate) state_dir: PathBuf,
    /// `run_dir`: locks of attachments.
    pub(crate) run_dir: PathBuf,
}

/// How the interfaces should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// `host_stack_cidrs`: destinations that pass the host's stack.
    pub(crate) host_stack_cidrs: Vec<IpNetwork>,
    /// `default_route`: whether the pod's default route is this network's; if not said, it is on `eth0`.
    pub(crate) default_route: Option<bool>,
    /// `eniip_virtual_type` and, for `IPVlan`, `ipvlan_mode` (`l2` or `l3s`): what pods on shared ENIs get.
    pub(crate) virtual_type: VirtualType,
    /// `require_virtual_type`: that, or nothing.
    pub(crate) require_virtual_type: bool,
    /// `vlan_strip_type: vlan`: whether members of trunks get a link for their VLAN, where they could do without.
    pub(crate) vlan_links: bool,
    /// Not `disable_host_peer`: whether the pod gets a pair of links to the node.
    pub(crate) host_peer: bool,
    /// `veth_prefix`: what the names of the pods' links on the node begin with.
    pub(crate) veth_prefix: String,
    /// `mtu` in bytes.
    pub(crate) mtu: u32,
    /// `auto_mtu`: the MTU is that of the node's own NIC, unless `mtu` says one.
    pub(crate) auto_mtu: bool,
    /// `allocate_timeout` in seconds: how long an ADD waits for an ENI.
    pub(crate) allocate_timeout: Duration,
    /// `runtimeConfig.bandwidth`: limit into the pod.
    pub(crate) ingress: Option<Bandwidth>,
    /// The same out of the pod.
    pub(crate) egress: Option<Bandwidth>,
    /// `bandwidth_mode`, `enable_network_priority` and the pod's class: how its packets wait.
    pub(crate) queueing: Asked,
}

/// Bits and bits per second, as the CNI conventions have it. containerd writes the keys with a capital letter, which
/// readers in Go do not notice.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BandwidthKeys {
    #[serde(alias = "IngressRate")]
    ingress_rate: i64,
    #[serde(alias = "IngressBurst")]
    ingress_burst: i64,
    #[serde(alias = "EgressRate")]
    egress_rate: i64,
    #[serde(alias = "EgressBurst")]
    egress_burst: i64,
}

impl Paths {
    pub(crate) fn read(conf: &NetConf) -> Result<Self, Fault> {
        let mut keys = Keys::new(conf);
        let paths = Self {
            socket: keys.path("socket_path", DEFAULT_SOCKET),
            state_dir: keys.path("state_dir", DEFAULT_STATE_DIR),
            run_dir: keys.path("run_dir", DEFAULT_RUN_DIR),
        };
        let length = paths.socket.as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            keys.refuse(format!("socket_path has {length} bytes, at most {SOCKET_PATH_LIMIT} are possible"));
        }
        keys.finish(paths)
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.state_dir.join("spool")
    }
}

impl Options {
    pub(crate) fn read(conf: &NetConf) -> Result<Self, Fault> {
        let mut keys = Keys::new(conf);
        let (mtu, annotations) = (keys.mtu(), keys.annotations());
        // An MTU that is given goes over the automatic one.
        let auto_mtu = keys.flag("auto_mtu") && mtu.is_none();
        let mtu = mtu.unwrap_or(DEFAULT_MTU);
        let (ingress, egress) = keys.bandwidth(&annotations, (!auto_mtu).then_some(mtu));
        let options = Self {
            host_stack_cidrs: keys.cidrs("host_stack_cidrs"),
            default_route: keys.typed(keys.conf.key("default_route")),
            virtual_type: keys.virtual_type(),
            require_virtual_type: keys.flag("require_virtual_type"),
            vlan_links: keys.vlan_links(),
            host_peer: !keys.flag("disable_host_peer"),
            veth_prefix: keys.veth_prefix(),
            mtu,
            auto_mtu,
            allocate_timeout: keys.allocate_timeout(),
            ingress,
            egress,
            queueing: keys.queueing(&annotations),
        };
        keys.check_keys_of_other_data_paths();
        keys.check_capabilities();
        keys.finish(options)
    }
}

/// Reads keys one after the other and remembers everything wrong.
struct Keys<'a> {
    conf: &'a NetConf,
    wrong: Vec<String>,
    code: FaultCode,
}

impl<'a> Keys<'a> {
    fn new(conf: &'a NetConf) -> Self {
        Self { conf, wrong: Vec::new(), code: FaultCode::ConfigInvalid }
    }

    fn finish<T>(self, value: T) -> Result<T, Fault> {
        if self.wrong.is_empty() { Ok(value) } else { Err(Fault::new(self.code, self.wrong.join("; "))) }
    }

    fn refuse(&mut self, text: String) {
        self.wrong.push(text);
    }

    /// The value of a key, or its default; a wrong type makes the whole failure one of decoding.
    fn typed<T: DeserializeOwned + Default>(&mut self, read: Result<Option<T>, CniError>) -> Option<T> {
        read.unwrap_or_else(|error| {
            self.code = FaultCode::CniDecode;
            self.refuse(error.msg);
            None
        })
    }

    fn allocate_timeout(&mut self) -> Duration {
        let seconds: i64 = self.typed(self.conf.key("allocate_timeout")).unwrap_or(LONGEST_WAIT);
        if !(1..=LONGEST_WAIT).contains(&seconds) {
            self.refuse(format!("allocate_timeout is {seconds} s, not 1 to {LONGEST_WAIT} s"));
        }
        Duration::from_secs(seconds.unsigned_abs())
    }

    fn flag(&mut self, key: &str) -> bool {
        self.typed(self.conf.key(key)).unwrap_or_default()
    }

    fn path(&mut self, key: &str, default: &str) -> PathBuf {
        let text: String = self.typed(self.conf.key(key)).unwrap_or_default();
        if text.is_empty() {
            return default.into();
        }
        if !Path::new(&text).is_absolute() || text.contains('\0') {
            self.refuse(format!("{key} {text:?} is not an absolute path"));
        }
        text.into()
    }

    /// A link's name has 15 bytes, of which 11 tell the pods apart.
    fn veth_prefix(&mut self) -> String {
        let text: String = self.typed(self.conf.key("veth_prefix")).unwrap_or_default();
        let fits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !fits {
            self.refuse(format!("veth_prefix {text:?} is not 1 to 4 letters or digits"));
        }
        if text.is_empty() || !fits { HOST_LINK_PREFIX.to_owned() } else { text }
    }

    fn virtual_type(&mut self) -> VirtualType {
        let text: String = self.typed(self.conf.key("eniip_virtual_type")).unwrap_or_default();
        let mode = self.ipvlan_mode();
        VirtualType::of(&text, mode).unwrap_or_else(|| {
            let words = VirtualType::WORDS.join(", ");
            self.refuse(format!(
                "eniip_virtual_type {text:?} is none of {words}; which mode IPVlan has is said by ipvlan_mode"
            ));
            VirtualType::Veth
        })
    }

    fn ipvlan_mode(&mut self) -> IpvlanMode {
        let text: String = self.typed(self.conf.key("ipvlan_mode")).unwrap_or_default();
        ipvlan_mode(&text).unwrap_or_else(|| {
            self.refuse(format!("ipvlan_mode {text:?} is none of l2, l3s; leave it out for l2"));
            IpvlanMode::L2
        })
    }

    fn vlan_links(&mut self) -> bool {
        let text: String = self.typed(self.conf.key("vlan_strip_type")).unwrap_or_default();
        match text.to_lowercase().as_str() {
            "vlan" => return true,
            "" | "filter" => {}
            _ => self.refuse(format!("vlan_strip_type {text:?} is none of filter, vlan")),
        }
        false
    }

    /// The MTU, if there is one; zero is none.
    fn mtu(&mut self) -> Option<u32> {
        let mtu: i64 = self.typed(self.conf.key("mtu")).filter(|mtu| *mtu != 0)?;
        if !MTU_RANGE.contains(&mtu) {
            let (least, most) = (MTU_RANGE.start(), MTU_RANGE.end());
            self.refuse(format!("mtu {mtu} is not within {least} to {most}"));
        }
        u32::try_from(mtu).ok()
    }

    /// The pod's annotations, as the runtime hands them over.
    fn annotations(&mut self) -> BTreeMap<String, String> {
        self.typed(self.conf.capability(annotations::CAPABILITY)).unwrap_or_default()
    }

    fn cidrs(&mut self, key: &str) -> Vec<IpNetwork> {
        let texts: Vec<String> = self.typed(self.conf.key(key)).unwrap_or_default();
        let mut cidrs = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            match text.parse::<IpNetwork>() {
                Ok(cidr) if cidr.prefix() == 0 => {
                    self.refuse(format!("{key}[{at}] {text:?} would send all traffic through the host"));
                }
                Ok(cidr) if text.contains('/') => cidrs.push(cidr),
                Ok(_) => self.refuse(format!("{key}[{at}] {text:?} has no prefix length")),
                Err(error) => self.refuse(format!("{key}[{at}] {text:?} is not a CIDR: {error}")),
            }
        }
        cidrs
    }

    /// Limits into and out of the pod. The wire has bits, the kernel bytes; zero is no limit. What the runtime made of
    /// the pod's annotations itself goes over the annotations. An MTU not known yet is looked at with the node's.
    fn bandwidth(
        &mut self,
        annotations: &BTreeMap<String, String>,
        mtu: Option<u32>,
    ) -> (Option<Bandwidth>, Option<Bandwidth>) {
        let keys: BandwidthKeys = self.typed(self.conf.capability("bandwidth")).unwrap_or_default();
        for (name, value) in [
            ("ingressRate", keys.ingress_rate),
            ("ingressBurst", keys.ingress_burst),
            ("egressRate", keys.egress_rate),
            ("egressBurst", keys.egress_burst),
        ] {
            if value < 0 {
                self.refuse(format!("runtimeConfig.bandwidth.{name} {value} is negative; zero is no limit"));
            }
        }
        let (ingress, egress, wrong) = annotations::limits(annotations);
        self.wrong.extend(wrong);
        let own_ingress = asked("ingressRate", keys.ingress_rate, keys.ingress_burst);
        let own_egress = asked("egressRate", keys.egress_rate, keys.egress_burst);
        (self.possible(own_ingress.or(ingress), mtu), self.possible(own_egress.or(egress), mtu))
    }

    fn possible(&mut self, asked: Option<limits::Asked>, mtu: Option<u32>) -> Option<Bandwidth> {
        let limit = asked?.possible(mtu.unwrap_or(LEAST_MTU));
        limit.map_err(|wrong| self.refuse(wrong)).ok()
    }

    /// Keys of existing configurations that other data paths and other programs use: typed, so that a
    /// mistake shows on the first ADD and not when the data path changes.
    fn check_keys_of_other_data_paths(&mut self) {
        for key in ["debug", "symmetric_routing"] {
            self.flag(key);
        }
        let _policy: Option<String> = self.typed(self.conf.key("network_policy_provider"));
    }

    fn queueing(&mut self, annotations: &BTreeMap<String, String>) -> Asked {
        let mode: String = self.typed(self.conf.key("bandwidth_mode")).unwrap_or_default();
        let lower = mode.to_lowercase();
        if !["", "edt", "tc"].contains(&lower.as_str()) {
            self.refuse(format!("bandwidth_mode {mode:?} is none of edt, tc"));
        }
        let classes = self.flag("enable_network_priority");
        Asked { paced: lower == "edt", classes, class: if classes { self.class(annotations) } else { None } }
    }

    /// The class that the pod's annotation names.
    fn class(&mut self, annotations: &BTreeMap<String, String>) -> Option<PriorityClass> {
        let key = annotations::PRIORITY;
        let word = annotations.get(key).filter(|word| !word.is_empty())?;
        let class = PriorityClass::of(word);
        if class.is_none() {
            let words = PriorityClass::ALL.map(PriorityClass::word).join(", ");
            self.refuse(format!(
                "annotation {key} {word:?} is none of {words}; name one of them, or leave it out"
            ));
        }
        class
    }

    fn check_capabilities(&mut self) {
        for (name, remedy) in UNSUPPORTED_CAPABILITIES {
            let Some(value) = self.typed::<Value>(self.conf.capability(name)) else { continue };
            if !asks_for_nothing(&value) {
                self.code = FaultCode::CniField;
                self.refuse(format!("runtimeConfig.{name} is not supported: {value} ({remedy})"));
            }
        }
    }
}

/// What the capability asks for by this key.
fn asked(name: &str, rate: i64, burst: i64) -> Option<limits::Asked> {
    let by = format!("runtimeConfig.bandwidth.{name} {rate}");
    let rate = u64::try_from(rate).ok().filter(|rate| *rate > 0)?;
    let burst_bytes = u32::try_from(burst / 8).ok().filter(|bytes| *bytes > 0 && burst < NO_BURST);
    Some(limits::Asked { limit: Bandwidth { bytes_per_second: rate.div_ceil(8), burst_bytes }, by })
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests;
