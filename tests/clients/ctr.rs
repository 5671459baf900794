//! `ctr run --cni`: containerd's own tool calls the plugin itself, with fixed folders and no pod.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use terway_rig::namespace;
use terway_rig::world::Plan;

use crate::containerd::Containerd;
use crate::recording::Call;
use crate::stage::{books_agree, booted, in_use, trial};
use crate::{cgroups, fixture, image};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("ctr::a_container_without_a_pod_gets_an_eni", run)]
}

/// Our folders at the places the tool looks at, seen by it alone.
const AT_FIXED_PLACES: &str = "mkdir -p /opt/cni/bin && mount --bind \"$1\" /etc/cni/net.d && \
                               mount --bind \"$2\" /opt/cni/bin && shift 2 && exec \"$@\"";

fn run(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let node = &world.nodes[0];
    let containerd = Containerd::start(node)?;
    let group = format!("{}/ctr-{name}", cgroups::parent());
    let words =
        ["--namespace", "k8s.io", "run", "--rm", "--cni", "--snapshotter", "native", "--cgroup", &group];
    let words =
        [&words[..], &[image::NAME, name, "/bin/ip", "-o", "address", "show", "dev", "eth0"]].concat();
    let tool = containerd.ctr_command(&words);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", AT_FIXED_PLACES, "sh"]);
    command.arg(node.path("net.d")).arg(&containerd.plugins.folder);
    command.arg(tool.get_program()).args(tool.get_args());
    let output = namespace::inside(&node.netns, move || command.output())?.context("failed to run ctr")?;
    let shown = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(shown.contains("inet 10.1.") && shown.contains("inet6 fd00:10:0:1:"), "{shown}");
    let calls = containerd.plugins.calls()?;
    let verbs: Vec<&str> = calls.iter().map(Call::verb).collect();
    ensure!(verbs == ["ADD", "DEL"], "{verbs:?}");
    fixture::hold("ctr", &containerd.cri()?.version()?.runtime_version, node, &calls)?;
    ensure!(!calls[0].variable("CNI_ARGS").contains("K8S_POD_NAME"), "{:?}", calls[0]);
    ensure!(in_use(node)? == 0, "the ENI is still held");
    books_agree(&mut world, 0, &[])
}
