//! Pods that really serve: HTTP between containers of two nodes, over their own and over shared ENIs, while daemons are
//! killed and replaced by another binary.

use std::fs;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::world::Plan;

use crate::containerd::Containerd;
use crate::image;
use crate::stage::{LIMIT, booted, sharing, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("serving::http_across_nodes_while_daemons_are_killed_and_upgraded", exclusive),
        trial("serving::http_over_shared_enis_while_daemons_are_killed_and_upgraded", shared),
    ]
}

/// One request; busybox's `wget` looks names up, for which a static program of glibc wants more than our image has.
const GET: &str =
    "get() { printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 $1 80 | grep -q 'served by a pod'; }";
/// Asks all hosts once.
const ASK_ONCE: &str = "for host in \"$@\"; do get $host || exit 1; done";
/// Asks until it is told to stop; prints how often it was answered and how often not.
const ASK_ON: &str = "good=0; bad=0; until [ -e /tmp/stop ]; do for host in \"$@\"; do \
                      if get $host; then good=$((good+1)); else bad=$((bad+1)); fi; done; done; echo $good $bad";

fn exclusive(name: &str) -> Result<()> {
    http(&Plan { name: name.to_owned(), nodes: 2, ..Plan::default() })
}

fn shared(name: &str) -> Result<()> {
    http(&Plan { name: name.to_owned(), nodes: 2, ..sharing() })
}

/// The daemon's next start is of another file, as a new image brings it.
fn upgrade(node: &mut Node) -> Result<()> {
    let folder = node.path("upgraded");
    fs::create_dir_all(&folder)?;
    for program in ["terway", "terwayd", "terway-cli"] {
        fs::copy(node.binaries.join(program), folder.join(program))
            .with_context(|| format!("failed to copy {program}"))?;
    }
    node.binaries = folder;
    Ok(())
}

fn http(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let (near, far) = (Containerd::start(&world.nodes[0])?, Containerd::start(&world.nodes[1])?);
    near.wait_network()?;
    far.wait_network()?;

    let (server, client) = (far.cri()?, near.cri()?);
    let pod = far.pod("server");
    let sandbox = server.run(&pod)?;
    server.container(&sandbox, &pod, image::NAME, &["/bin/httpd", "-f", "-p", "80", "-h", "/www"])?;
    let hosts = server.addresses(&sandbox)?;
    ensure!(hosts.len() == 2, "{hosts:?}");
    let pod = near.pod("client");
    let asking = client.run(&pod)?;
    let container = client.container(&asking, &pod, image::NAME, &["/bin/sleep", "3600"])?;
    let ask = |what: &str| -> Result<String> {
        let script = format!("{GET}; {what}");
        let words = ["sh", "-c", &script, "sh"].into_iter().chain(hosts.iter().map(String::as_str));
        near.cri()?.exec(&container, &words.collect::<Vec<_>>())
    };
    eventually("the server answers", LIMIT, || ask(ASK_ONCE).ok())?;

    let tally = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(ASK_ON));
        for round in 0..2 {
            for node in &mut world.nodes {
                if round == 0 {
                    node.kill()?;
                } else {
                    node.stop()?;
                    upgrade(node)?;
                }
                node.start()?;
                node.wait_ready()?;
            }
        }
        client.exec(&container, &["sh", "-c", ": > /tmp/stop"])?;
        asking.join().map_err(|_| anyhow!("the asking thread panicked"))?
    })?;
    let (good, bad) = tally.trim().split_once(' ').with_context(|| format!("no tally: {tally}"))?;
    ensure!(bad == "0", "{bad} requests failed, {good} were answered");
    ensure!(good.parse::<u32>()? >= 10, "only {good} requests were made");
    Ok(())
}
