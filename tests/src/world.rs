//! A simulated cloud with nodes in it: what a scenario starts from.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::namespace;
use crate::node::Node;

/// The secret half of the key that nodes are configured with.
pub const SECRET: &str = "sim-secret";
/// The secret half of the key of the instances' role, and what its tokens begin with.
pub const ROLE_SECRET: &str = "role-secret-of-sim";
/// See [`ROLE_SECRET`].
pub const ROLE_TOKEN: &str = "role-token-of-sim";
/// Id, secret and token of two temporary keys that clusters may mount for their add-ons.
pub const ADDON_KEYS: [[&str; 3]; 2] =
    [["sim-addon-1", "addon-secret-1", "addon-token-1"], ["sim-addon-2", "addon-secret-2", "addon-token-2"]];

/// What the world is like. The defaults suit most scenarios: dual stack, a fast cloud, a small pool.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the world's namespaces; one word.
    pub name: String,
    /// Whose protocols the cloud speaks.
    pub cloud: Cloud,
    /// How many nodes.
    pub nodes: usize,
    /// Whether pods get IPv6 too.
    pub dual_stack: bool,
    /// ENIs per instance, the primary one included.
    pub enis: u32,
    /// Idle ENIs to keep at least, and at most.
    pub pool: (u32, u32),
    /// How long a released ENI rests.
    pub quarantine: String,
    /// Milliseconds the cloud takes to create, attach, detach and delete.
    pub latency: [u32; 4],
    /// ENIs of the account at most.
    pub quota: u32,
    /// Whether pods share ENIs; the water marks then count addresses.
    pub shared: bool,
    /// Whether pods get addresses of ranges that the VPC's route table leads to their nodes, and of which size those of
    /// IPv4 are.
    pub routed: Option<u8>,
    /// Addresses per family that an ENI takes.
    pub addresses: u32,
    /// Whether the nodes are Lingjun nodes, whose ENIs come from an API of their own (only on the cloud that has them).
    pub lingjun: bool,
    /// The IPv4 gateway of the nodes' vSwitch, where it is not the one of the cloud's rule.
    pub gateway: Option<&'static str>,
    /// Whether the nodes have no key but their instance's role, whose tokens live that many milliseconds.
    pub role: Option<u32>,
    /// Whether the VPC's ports drop what does not bear their ENI's addresses; not every kernel of the lab can.
    pub port_security: bool,
    /// Further keys of the daemon's configuration.
    pub keys: Vec<(&'static str, Value)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            name: "sim".to_owned(),
            cloud: Cloud::default(),
            nodes: 1,
            dual_stack: true,
            enis: 8,
            pool: (1, 4),
            quarantine: "200ms".to_owned(),
            latency: [5, 30, 30, 5],
            quota: 1000,
            shared: false,
            routed: None,
            addresses: 10,
            lingjun: false,
            gateway: None,
            role: None,
            port_security: true,
            keys: Vec::new(),
        }
    }
}

/// A running simulated cloud and its nodes.
#[derive(Debug)]
pub struct World {
    /// The nodes; their daemons are not started yet.
    pub nodes: Vec<Node>,
    /// The VPC's namespace.
    pub vpc: PathBuf,
    control: PathBuf,
    cloud: Child,
}

impl World {
    /// Starts the cloud and makes the nodes below `directory`.
    pub fn start(plan: &Plan, binaries: &Path, directory: &Path) -> Result<Self> {
        let directory = directory.join(&plan.name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        let vpc = netns_path(&format!("{}-vpc", plan.name));
        let names: Vec<String> = (1..=plan.nodes).map(|number| format!("node{number}")).collect();
        let nodes = names
            .iter()
            .map(|name| {
                let netns = netns_path(&format!("{}-{name}", plan.name));
                namespace::create(&netns)?;
                let mut node = Node::new(plan.cloud, name, &netns, directory.join(name), binaries)?;
                node.configure(&eni_conf(plan))?;
                node.mode = match plan.routed {
                    Some(_) => "VPC",
                    None if plan.shared => "ENIMultiIP",
                    None => "ENIOnly",
                };
                for cidr in pod_cidrs(plan, name) {
                    node.flags.extend(["--pod-cidr".to_owned(), cidr]);
                }
                Ok(node)
            })
            .collect::<Result<Vec<_>>>()?;
        let control = Path::new("/run").join(format!("{}-control.socket", plan.name));
        fs::write(directory.join("world.json"), serde_json::to_vec_pretty(&world_json(plan, &nodes, &vpc))?)?;
        let cloud = start_cloud(binaries, &directory, &control)?;
        Ok(Self { nodes, vpc, control, cloud })
    }

    /// Starts every node's daemon and waits until all are ready.
    pub fn boot(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.start()?;
        }
        self.nodes.iter_mut().try_for_each(Node::wait_ready)
    }

    /// The whole cloud as its control socket tells it.
    pub fn cloud_state(&self) -> Result<Value> {
        self.control("GET", "/v1/state", &Value::Null)
    }

    /// The ENIs of the cloud that are nobody's primary one.
    pub fn cloud_enis(&self) -> Result<Vec<Value>> {
        let state = self.cloud_state()?;
        let enis = state["enis"].as_array().context("the cloud's state has no enis")?;
        Ok(enis.iter().filter(|eni| eni["type"] != "Primary").cloned().collect())
    }

    /// The calls of the cloud's API after number `since`, oldest first.
    pub fn cloud_calls(&self, since: u64) -> Result<Vec<Value>> {
        let log = self.control("GET", &format!("/v1/calls?since={since}"), &Value::Null)?;
        Ok(log["calls"].as_array().context("the cloud's log has no calls")?.clone())
    }

    /// The calls that an ordered fault (`hold-before`, `hold-after`) keeps unanswered.
    pub fn held_calls(&self) -> Result<Vec<Value>> {
        Ok(self.cloud_state()?["held"].as_array().context("the cloud's state has no held calls")?.clone())
    }

    /// Asks the cloud to change: latencies, faults, quotas, manners; releases held calls; acts by hand.
    pub fn change(&self, path: &str, body: &Value) -> Result<Value> {
        self.control("POST", path, body)
    }

    /// Asks the control socket something else than the whole state.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.control("GET", path, &Value::Null)
    }

    /// One HTTP/1.1 request over the control socket; the connection ends with the answer.
    fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream =
            UnixStream::connect(&self.control).context("failed to reach the cloud's control socket")?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("failed to read the cloud's answer")?;
        let (head, text) =
            answer.split_once("\r\n\r\n").context("the cloud's answer has no end of headers")?;
        if !head.starts_with("HTTP/1.1 2") {
            bail!("{method} {path}: {} {text}", head.lines().next().unwrap_or_default());
        }
        if text.trim().is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_str(text).context("the answer is no JSON")
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = self.cloud.kill();
        let _ = self.cloud.wait();
    }
}

fn netns_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// The ranges of a node in VPC mode, as its Node object would have them.
pub fn pod_cidrs(plan: &Plan, node: &str) -> Vec<String> {
    let number = node.trim_start_matches("node");
    let v6 = plan.dual_stack.then(|| format!("fd00:20:0:{number}::/64"));
    plan.routed.iter().map(|size| format!("172.20.{number}.0/{size}")).chain(plan.routed.and(v6)).collect()
}

/// The daemon's configuration, with the keys users already have.
pub fn eni_conf(plan: &Plan) -> Value {
    let names = plan.cloud.names();
    let mut conf = json!({
        "version": "1",
        "access_key": "sim-key",
        "access_secret": SECRET,
        "service_cidr": if plan.dual_stack { "172.16.0.0/16,fd00:5e::/108" } else { "172.16.0.0/16" },
        "vswitches": { names.zone: [names.pods] },
        "security_group": names.group,
        "min_pool_size": plan.pool.0,
        "max_pool_size": plan.pool.1,
        "ip_stack": if plan.dual_stack { "dual" } else { "ipv4" },
        "eni_quarantine": plan.quarantine,
        // The nodes here are smaller than those of real exclusive node pools.
        "exclusive_min_enis": 1,
    });
    if let (Some(_), Some(keys)) = (plan.role, conf.as_object_mut()) {
        keys.retain(|key, _| !key.starts_with("access_"));
    }
    for (key, value) in &plan.keys {
        conf[*key] = value.clone();
    }
    conf
}

fn world_json(plan: &Plan, nodes: &[Node], vpc: &Path) -> Value {
    let [create, attach, detach, delete] = plan.latency;
    let names = plan.cloud.names();
    let kind = if plan.lingjun { "efg2.sim" } else { names.kind };
    let instance = |node: &Node| json!({ "id": node.instance, "type": kind, "vswitch": names.nodes, "netns": node.netns });
    let instances: Vec<Value> = nodes.iter().map(instance).collect();
    let leads_to = |node: &Node| {
        let route = |cidr| json!({ "destination": cidr, "instance": node.instance });
        pod_cidrs(plan, &node.name).into_iter().map(route).collect::<Vec<_>>()
    };
    let routes: Vec<Value> = nodes.iter().flat_map(leads_to).collect();
    json!({
        "cloud": plan.cloud.name(),
        "region": names.region,
        "vpc": { "id": names.vpc, "netns": vpc, "ipv4_cidr": "10.0.0.0/8", "ipv6_cidr": "fd00:10::/48",
                 "routes": routes, "port_security": plan.port_security },
        "vswitches": [
            { "id": names.pods, "zone": names.zone, "ipv4": "10.1.0.0/20", "ipv6": "fd00:10:0:1::/64" },
            { "id": names.nodes, "zone": names.zone, "ipv4": "10.2.0.0/24", "ipv6": "fd00:10:0:2::/64",
              "gateway": plan.gateway },
            { "id": names.elsewhere, "zone": names.other_zone, "ipv4": "10.3.0.0/24", "ipv6": "fd00:10:0:3::/64" },
        ],
        "security_groups": [names.group, names.other_group],
        "other_vpcs": [{
            "id": names.other_vpc,
            "vswitches": [{ "id": names.foreign, "zone": names.zone, "ipv4": "192.168.0.0/24", "ipv6": "fd00:11::/64" }],
            "security_groups": [names.foreign_group],
        }],
        "instance_types": [
            { "id": kind, "enis": plan.enis, "ipv4_per_eni": plan.addresses, "ipv6_per_eni": plan.addresses, "members": 0,
              "lingjun": plan.lingjun },
        ],
        "instances": instances,
        "credentials": [
            { "access_key_id": "sim-key", "access_key_secret": SECRET },
            { "access_key_id": "sim-role-key", "access_key_secret": ROLE_SECRET, "security_token": ROLE_TOKEN,
              "role": "sim-role", "life_ms": plan.role },
            addon_key(0),
            addon_key(1),
        ],
        "latency_ms": { "create": create, "attach": attach, "detach": detach, "delete": delete, "link": 0 },
        "quota": { "enis": plan.quota },
    })
}

fn addon_key(number: usize) -> Value {
    let [id, secret, token] = ADDON_KEYS[number];
    json!({ "access_key_id": id, "access_key_secret": secret, "security_token": token })
}

/// Starts the simulated cloud and waits for the line that says it is ready.
fn start_cloud(binaries: &Path, directory: &Path, control: &Path) -> Result<Child> {
    let log = File::create(directory.join("cloudsim.log"))?;
    let program = binaries.join("terway-cloudsim");
    let mut child = Command::new(&program)
        .arg("--config")
        .arg(directory.join("world.json"))
        .arg("--control")
        .arg(control)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("failed to start {}", program.display()))?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
    if !line.contains("\"ready\":true") {
        let _ = child.wait();
        let log = fs::read_to_string(directory.join("cloudsim.log")).unwrap_or_default();
        bail!("terway-cloudsim did not become ready: {line}{log}");
    }
    Ok(child)
}
