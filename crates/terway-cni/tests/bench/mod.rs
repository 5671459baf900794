//! A node of one's own: namespaces with an uplink, ENIs made of veth ends and a pod, and the built plugin
//! called in it as a runtime would. Nothing of the machine's own network is touched.

pub mod daemon;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use terway_rpc::wire::{AddressPair, BasicInfo, EniInfo, Interface};

/// The MAC address of the node's first ENI.
pub const ENI_MAC: &str = "00:16:3e:00:00:01";

/// The namespaces, held by a process of ours that ends when its standard input does.
pub struct Node {
    holder: Child,
    pub dir: tempfile::TempDir,
}

impl Node {
    /// A node with uplink `up0`, an ENI `nic0` and a pod's namespace `a`.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["-Urnm", "--", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        holder.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let node = Self { holder, dir: tempfile::tempdir().unwrap() };
        node.sh(&format!(
            "set -e
            mount -t tmpfs none /run
            mount -t sysfs none /sys
            ip link set lo up
            ip link add up0 type veth peer up1
            ip addr add 10.0.1.1/24 dev up0
            ip addr add fd00:1::1/64 dev up0 nodad
            ip link set up0 up
            ip link set up1 up
            ip route add default via 10.0.1.253
            ip -6 route add default via fd00:1::fd
            ip link add nic0 address {ENI_MAC} type veth peer nic1
            ip netns add a
            ip -n a link set lo up"
        ));
        node
    }

    /// Runs a script on the node; gives what it prints.
    pub fn sh(&self, script: &str) -> String {
        let output = self.enter("sh").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.holder.id().to_string();
        command.args(["-t", &pid, "-U", "-n", "-m", "--preserve-credentials", program]);
        command
    }

    /// A call of the plugin for pod `a` of container `c0ffee`.
    pub fn call(&self, verb: &str) -> Call<'_> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let conf = json!({
            "cniVersion": "1.1.0", "name": "terway", "type": "terway",
            "socket_path": path("eni.socket"), "state_dir": path("state"), "run_dir": path("locks"),
        });
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c0ffee"),
            ("CNI_NETNS", "/run/netns/a"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=default"),
        ];
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Call { node: self, env, conf }
    }

    /// The releases that wait for the daemon.
    pub fn spooled(&self) -> Vec<Value> {
        let read = |path: PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        match std::fs::read_dir(self.dir.path().join("state/spool")) {
            Ok(entries) => entries.map(|entry| read(entry.unwrap().path())).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// How many connections there are to a socket of somebody else from here.
    pub fn connections_to(&self, socket: &Path) -> usize {
        // The end that was accepted has the listener's path, and is listed where the other end is.
        let all = self.sh("cat /proc/net/unix");
        all.lines().filter(|line| line.ends_with(socket.to_str().unwrap())).count()
    }

    /// Everything the plugin may have made: links and routes of node and pod, without indices.
    pub fn state(&self) -> String {
        let show = "ip -br link | sed 's/@[^ ]*//' | sort; ip -o route; ip -6 -o route; nft list ruleset";
        self.sh(&format!("{show}; ip netns exec a sh -c \"{show}\""))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// A call, not yet made.
#[derive(Clone)]
pub struct Call<'a> {
    node: &'a Node,
    env: Vec<(String, String)>,
    conf: Value,
}

/// What came of a call.
#[derive(Debug)]
pub struct Outcome {
    pub ok: bool,
    pub output: Value,
    pub log: String,
}

impl Call<'_> {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(key, _)| key != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.conf[key] = value;
        self
    }

    pub fn start(&self) -> Child {
        let mut command = self.node.enter(env!("CARGO_BIN_EXE_terway"));
        command.env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(self.conf.to_string().as_bytes()).unwrap();
        child
    }

    pub fn run(&self) -> Outcome {
        Outcome::of(&self.start().wait_with_output().unwrap())
    }

    /// Runs what must succeed.
    #[track_caller]
    pub fn ok(&self) -> Value {
        let outcome = self.run();
        assert!(outcome.ok, "{outcome:?}");
        outcome.output
    }

    /// Runs what must fail with this code, and with these words in its message.
    #[track_caller]
    pub fn fails(&self, code: u32, words: &[&str]) {
        let outcome = self.run();
        assert!(!outcome.ok, "{outcome:?}");
        assert_eq!(outcome.output["code"], code, "{outcome:?}");
        let text = format!("{} {}", outcome.output["msg"], outcome.output["details"]);
        for word in words {
            assert!(text.contains(word), "no {word:?} in {text}");
        }
        assert!(text.contains("remedy: ") || code < 8, "{text}");
    }
}

impl Outcome {
    pub fn of(output: &Output) -> Self {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = String::from_utf8_lossy(&output.stdout);
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Self { ok: output.status.success(), output: value, log }
    }
}

fn pair(ipv4: &str, ipv6: &str) -> AddressPair {
    AddressPair { ipv4: ipv4.to_owned(), ipv6: ipv6.to_owned() }
}

/// The node's ENI as the daemon describes it.
pub fn interface() -> Interface {
    Interface {
        basic: Some(BasicInfo {
            pod_ip: Some(pair("10.0.1.5", "fd00:1::5")),
            pod_cidr: Some(pair("10.0.1.0/24", "fd00:1::/64")),
            gateway: Some(pair("10.0.1.253", "fd00:1::fd")),
            service_cidr: Some(pair("172.16.0.0/16", "")),
        }),
        eni: Some(EniInfo {
            mac: ENI_MAC.to_owned(),
            id: "eni-1".to_owned(),
            nic_kinds: vec!["veth".to_owned()],
            ..Default::default()
        }),
        default_route: true,
        ..Default::default()
    }
}

/// Whether a folder holds nothing.
pub fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}
