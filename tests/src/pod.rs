//! A pod: a network namespace, and the calls a runtime makes for it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::cloud::CLASS;
use crate::eventually::ever_longer;
use crate::namespace;
use crate::plugin::{Call, Outcome};

/// A sandbox on a node.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The pod's name.
    pub name: String,
    /// The sandbox's id.
    pub container: String,
    /// The sandbox's network namespace.
    pub netns: PathBuf,
    /// The node's namespace.
    pub host: PathBuf,
    /// The plugin.
    pub program: PathBuf,
    /// The configuration every call gets.
    pub configuration: Value,
    /// The result of the ADD, once made.
    pub result: Option<Outcome>,
}

impl Pod {
    /// One call for this pod, as containerd would make it.
    pub fn call(&self, verb: &str) -> Call {
        let arguments = format!(
            "K8S_POD_NAMESPACE=default;K8S_POD_INFRA_CONTAINER_ID={};IgnoreUnknown=1;K8S_POD_UID=uid-{};K8S_POD_NAME={}",
            self.container, self.container, self.name
        );
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &self.container),
            ("CNI_NETNS", &self.netns.to_string_lossy()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", &arguments),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        Call {
            program: self.program.clone(),
            host: self.host.clone(),
            environment: variables
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            configuration: self.configuration.clone(),
        }
    }

    /// A call with the result of the ADD as `prevResult`, as CHECK and DEL get it.
    pub fn call_with_result(&self, verb: &str) -> Call {
        let call = self.call(verb);
        match &self.result {
            Some(result) => call.configured("prevResult", result.output.clone()),
            None => call,
        }
    }

    /// ADD, which must succeed.
    pub fn add(&mut self) -> Result<Outcome> {
        let outcome = self.call("ADD").run()?.expect_ok(&format!("ADD of {}", self.name))?;
        self.result = Some(outcome.clone());
        Ok(outcome)
    }

    /// ADD, which the daemon must refuse, at first within `time`: the error's code and whole text.
    pub fn add_refused(&self, time: Duration) -> Result<(u64, String)> {
        let mut unheard = String::new();
        for time in ever_longer(time) {
            let call = self.call("ADD").configured("allocate_timeout", json!(time.as_secs()));
            let (code, text) = call.run()?.expect_error(&format!("ADD of {}", self.name))?;
            if !text.contains("daemon-unreachable") {
                return Ok((code, text));
            }
            unheard = text;
        }
        bail!("ADD of {} is not answered: {unheard}", self.name)
    }

    /// DEL, which must succeed.
    pub fn del(&mut self) -> Result<Outcome> {
        let outcome = self.call_with_result("DEL").run()?.expect_ok(&format!("DEL of {}", self.name))?;
        self.result = None;
        Ok(outcome)
    }

    /// The pod's address of one family.
    pub fn address(&self, version: usize) -> Result<IpAddr> {
        let result = self.result.as_ref().with_context(|| format!("{} was not added", self.name))?;
        result.address(version)?.parse().context("the result holds no address")
    }

    /// The bandwidth limits a runtime sends with the ADD, in bits per second.
    pub fn limit(&mut self, ingress: Option<u64>, egress: Option<u64>) {
        let mut bandwidth = serde_json::Map::new();
        for (key, rate) in [("ingressRate", ingress), ("egressRate", egress)] {
            if let Some(rate) = rate {
                bandwidth.insert(key.to_owned(), json!(rate));
            }
        }
        if let Some(object) = self.configuration.as_object_mut() {
            object.insert("runtimeConfig".to_owned(), json!({ "bandwidth": bandwidth }));
        }
    }

    /// A class of traffic, which the network's configuration says there are.
    pub fn ask_for_class(&mut self, class: &str) {
        let annotations = json!({ CLASS: class });
        self.configuration["enable_network_priority"] = json!(true);
        self.configuration["runtimeConfig"] = json!({ "io.kubernetes.cri.pod-annotations": annotations });
    }

    /// Ends the sandbox's namespace without a DEL.
    pub fn vanish(&self) -> Result<()> {
        namespace::remove(&self.netns)
    }
}

/// Makes the namespace of a new sandbox.
pub fn sandbox(directory: &Path, container: &str) -> Result<PathBuf> {
    let path = directory.join(format!("cni-{container}"));
    namespace::create(&path)?;
    Ok(path)
}
