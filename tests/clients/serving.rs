//! Pods that really serve: HTTP between containers of two nodes, over their own and over shared ENIs, while daemons are
//! killed and replaced by other files of the same programs, as by a new image (`world/earlier` upgrades from really earlier
//! ones). The pod that was there before answers throughout, and one that comes after serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::world::{Plan, World};

use crate::containerd::Containerd;
use crate::image;
use crate::stage::{LIMIT, books_agree, booted, sharing, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("serving::http_across_nodes_while_daemons_are_killed_and_upgraded", exclusive),
        trial("serving::http_over_shared_enis_while_daemons_are_killed_and_upgraded", shared),
    ]
}

/// One request; busybox's `wget` looks names up, for which a static program of glibc wants more than our image has.
const GET: &str =
    "get() { printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 $1 80 | grep -q 'served by a pod'; }";
/// Asks all hosts once.
const ASK_ONCE: &str = "for host in \"$@\"; do get $host || exit 1; done";
/// Asks them in turn, for ever, once the first has answered; a line for each request: how it ended, when it began and ended.
const ASK_ON: &str = "until get $1; do :; done; while :; do for host in \"$@\"; do \
                      read begun rest </proc/uptime; if get $host; then how=answered; else how=failed; fi; \
                      read ended rest </proc/uptime; echo $how $begun $ended $host >>/tmp/requests; done; done";
/// TCP asks again after one second, and again after one or two more: a path that is interrupted for longer than a second
/// makes an answer later than this. What is shorter shows in the count of such repetitions.
const SLOWEST: Duration = Duration::from_millis(1900);

fn exclusive(name: &str) -> Result<()> {
    http(&Plan { name: name.to_owned(), nodes: 2, pool: (2, 4), ..Plan::default() })
}

fn shared(name: &str) -> Result<()> {
    http(&Plan { name: name.to_owned(), nodes: 2, ..sharing() })
}

/// A pod with a container that answers, or with one that asks.
struct Serving<'a> {
    by: &'a Containerd,
    netns: PathBuf,
    container: String,
    hosts: Vec<String>,
}

impl<'a> Serving<'a> {
    fn start(by: &'a Containerd, name: &str, command: &[&str]) -> Result<Self> {
        let (cri, pod) = (by.cri()?, by.pod(name));
        let sandbox = cri.run(&pod)?;
        let container = cri.container(&sandbox, &pod, image::NAME, command)?;
        let hosts = cri.addresses(&sandbox)?;
        ensure!(hosts.len() == 2, "{hosts:?}");
        Ok(Self { by, netns: cri.netns(&sandbox)?, container, hosts })
    }

    fn server(by: &'a Containerd, name: &str) -> Result<Self> {
        Self::start(by, name, &["/bin/httpd", "-f", "-p", "80", "-h", "/www"])
    }

    fn client(by: &'a Containerd, name: &str, server: &Serving<'_>) -> Result<Self> {
        Self::start(by, name, &server.asked(ASK_ON).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The command that asks it.
    fn asked(&self, how: &str) -> Vec<String> {
        let words = ["/bin/sh", "-c", &format!("{GET}; {how}"), "sh"].map(str::to_owned);
        words.into_iter().chain(self.hosts.iter().cloned()).collect()
    }

    fn exec(&self, words: &[String]) -> Result<String> {
        self.by.cri()?.exec(&self.container, &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The requests that a client has made so far.
    fn requests(&self) -> Result<Vec<String>> {
        let text = self.exec(&["busybox", "cat", "/tmp/requests"].map(str::to_owned))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// How often a client's kernel had to ask for a connection again. The other kernel answers at once, however busy the
    /// machine is, so each is a packet that was lost.
    fn repeated(&self) -> Result<u64> {
        let text = self.exec(&["busybox", "cat", "/proc/net/netstat"].map(str::to_owned))?;
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
        let (names, values) = lines.next().zip(lines.next()).context("no counters of TCP")?;
        let found = names.zip(values).find(|(name, _)| *name == "TCPSynRetrans");
        Ok(found.context("no count of repeated requests")?.1.parse()?)
    }

    /// Waits until a client has asked all hosts anew; one request more, for the first may have been under way.
    fn goes_on(&self) -> Result<()> {
        let before = self.requests()?.len();
        eventually("the client goes on asking", LIMIT, || {
            (self.requests().ok()?.len() > before + self.hosts.len()).then_some(())
        })
    }
}

/// Puts another plugin and another daemon in place, as a new image does; the daemon's next start is of it.
fn upgrade(node: &mut Node, plugin: &Path) -> Result<()> {
    let folder = node.path("upgraded");
    fs::create_dir_all(&folder)?;
    for program in ["terway", "terwayd", "terway-cli"] {
        fs::copy(node.binaries.join(program), folder.join(program))
            .with_context(|| format!("failed to copy {program}"))?;
    }
    node.binaries = folder;
    let shipped = node.binaries.join("terway");
    let installed =
        node.cli(&["install", "--from", &shipped.to_string_lossy(), "--to", &plugin.to_string_lossy()])?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    Ok(())
}

fn http(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let (near, far) = (Containerd::start(&world.nodes[0])?, Containerd::start(&world.nodes[1])?);
    near.wait_network()?;
    far.wait_network()?;
    let server = Serving::server(&far, "server")?;
    let client = Serving::client(&near, "client", &server)?;
    eventually("the server answers", LIMIT, || (!client.requests().ok()?.is_empty()).then_some(()))?;
    let before = client.repeated()?;
    trouble(&mut world, &[&near, &far], &client)?;
    let late = Serving::server(&far, "late")?;
    eventually("a pod that came after the upgrade answers", LIMIT, || {
        client.exec(&late.asked(ASK_ONCE)).ok()
    })?;
    client.goes_on()?;
    judge(&client.requests()?)?;
    let lost = client.repeated()? - before;
    ensure!(lost == 0, "{lost} packets were lost on the way to the server");
    books_agree(&mut world, 0, &[&client.netns])?;
    books_agree(&mut world, 1, &[&server.netns, &late.netns])
}

/// Each daemon is killed, and later replaced; without it and with it again the client is answered.
fn trouble(world: &mut World, runtimes: &[&Containerd], client: &Serving<'_>) -> Result<()> {
    for replaces in [false, true] {
        for (node, runtime) in world.nodes.iter_mut().zip(runtimes) {
            if replaces {
                node.stop()?;
                upgrade(node, &runtime.plugins.plugin())?;
            } else {
                node.kill()?;
            }
            client.goes_on()?;
            node.start()?;
            node.wait_ready()?;
            client.goes_on()?;
        }
    }
    Ok(())
}

/// Every request was answered, and none late.
fn judge(requests: &[String]) -> Result<()> {
    for request in requests {
        let mut words = request.split(' ');
        ensure!(words.next() == Some("answered"), "{request}, one of {}", requests.len());
        let mut seconds = || words.next().unwrap_or_default().parse::<f64>().context("no time");
        let (begun, ended) = (seconds()?, seconds()?);
        ensure!(ended - begun < SLOWEST.as_secs_f64(), "{request}: an answer after {:.2} s", ended - begun);
    }
    Ok(())
}
