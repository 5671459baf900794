//! What attachments that are gone left on a node goes at the daemon's start and in the background, whoever died when;
//! what is not provably ours, or may be a living pod's, stays.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::reader;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, booted, once, started};

/// The background looks each minute.
const BACKGROUND: Duration = Duration::from_secs(100);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("leftovers::of_released_attachments_go_at_start_and_in_the_background", released),
        once("leftovers::of_a_lost_ledger_go_and_living_pods_stay", lost_ledger),
        once("leftovers::of_calls_killed_in_the_middle_go", killed),
    ]
}

fn sharing(plan: &Plan) -> Result<World> {
    let mut world = started(&Plan { shared: true, enis: 3, pool: (2, 6), ..plan.clone() })?;
    world.boot()?;
    Ok(world)
}

/// What on a node bears a mark, a protocol or a rule of ours.
fn ours(host: &Path) -> Result<String> {
    let all = reader::recording(host)? + &reader::text(host, "nft", &["list", "ruleset"])?;
    let signs = ["terway:", "proto 157", "lookup 10", "512:"];
    let lines = all.lines().filter(|line| signs.iter().any(|sign| line.contains(sign)));
    Ok(lines.fold(String::new(), |text, line| text + line.trim() + "\n"))
}

/// Waits until nothing is left of these.
fn gone(node: &Node, signs: &[String], limit: Duration) -> Result<()> {
    let mut left = String::new();
    let outcome = eventually("what is left goes", limit, || {
        left = ours(&node.netns).ok()?;
        signs.iter().all(|sign| !left.contains(sign.as_str())).then_some(())
    });
    outcome.with_context(|| format!("of {signs:?} is left:\n{left}\n{}", node.log_tail()))
}

fn run(host: &Path, line: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let (program, words) = words.split_first().context("no program")?;
    reader::text(host, program, words).with_context(|| line.to_owned()).map(drop)
}

/// Puts there what an attachment has on a node, as if its DEL had not got so far.
fn leave(host: &Path, link: &str, mark: &str, address: &str) -> Result<()> {
    run(host, &format!("ip link add {link} type veth peer name {link}p"))?;
    run(host, &format!("ip link set {link} alias {mark}"))?;
    run(host, &format!("ip link set {link} up"))?;
    run(host, &format!("ip route add {address} dev {link} proto 157"))?;
    run(host, "nft add table ip terway")?;
    run(
        host,
        "nft add chain ip terway postrouting { type nat hook postrouting priority 100 ; policy accept ; }",
    )?;
    run(
        host,
        &format!("nft add rule ip terway postrouting ip saddr {address} snat to 10.2.0.9 comment \"{mark}\""),
    )
}

fn mark(pod: &Pod) -> String {
    format!("terway:terway/{}/eth0", pod.container)
}

fn released(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 3), ..plan.clone() })?;
    let node = &mut world.nodes[0];
    let host = node.netns.clone();
    let mut stays = node.pod("stays")?;
    stays.add()?;
    let mut marks = Vec::new();
    for name in ["one", "two"] {
        let mut pod = node.pod(name)?;
        pod.add()?;
        pod.del()?;
        marks.push(mark(&pod));
    }
    // Of one nobody ever knew, and of somebody else: both may be in use.
    leave(&host, "caliunknown", "terway:terway/neverseen/eth0", "10.1.9.1")?;
    run(&host, "ip link add calicoother type bridge")?;
    run(&host, "ip link set calicoother alias calico:terway/x/eth0")?;
    run(&host, "nft add rule ip terway postrouting ip saddr 192.0.2.1 counter")?;
    let unknown = |text: &str| text.lines().filter(|line| line.contains("neverseen")).count();

    node.kill()?;
    leave(&host, "calileft1", &marks[0], "10.1.9.2")?;
    node.start()?;
    node.wait_ready()?;
    gone(node, &marks, LIMIT).context("at start")?;
    leave(&host, "calileft2", &marks[1], "10.1.9.3")?;
    gone(node, &marks, BACKGROUND).context("in the background")?;

    ensure!(unknown(&ours(&host)?) >= 2, "what may be a pod's was taken:\n{}", ours(&host)?);
    run(&host, "ip link show calicoother")?;
    ensure!(reader::text(&host, "nft", &["list", "table", "ip", "terway"])?.contains("192.0.2.1"));
    let told = node.cli(&["events", "-o", "json"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for word in ["LeftoversRemoved", "AttachmentUnknown", "caliunknown", "-one-"] {
        ensure!(told.contains(word), "{word} is not told: {told}");
    }
    stays.call_with_result("CHECK").run()?.expect_ok("CHECK of the pod that stays")?;
    stays.del()?;
    Ok(())
}

/// As after a reboot that took state directory and pods along, while one pod somehow lives on.
fn lost_ledger(plan: &Plan) -> Result<()> {
    let mut world = sharing(plan)?;
    let node = &mut world.nodes[0];
    let host = node.netns.clone();
    let mut pods = [node.pod("one")?, node.pod("two")?, node.pod("lives")?];
    for pod in &mut pods {
        pod.add()?;
    }
    node.kill()?;
    let [one, two, lives] = &pods;
    let addresses =
        |pod: &Pod| Ok::<_, anyhow::Error>([pod.address(4)?.to_string(), pod.address(6)?.to_string()]);
    let mut signs: Vec<String> = [one, two].map(mark).into();
    for pod in [one, two] {
        signs.extend(addresses(pod)?.map(|address| format!("{address} ")));
        pod.vanish()?;
    }
    eventually("the kernel has taken the links of the sandboxes", LIMIT, || {
        ours(&host).ok().filter(|left| signs[..2].iter().all(|mark| !left.contains(mark.as_str())))
    })?;
    let state = node.path("state");
    fs::remove_dir_all(&state).context("the state directory")?;
    fs::create_dir_all(&state)?;
    node.start()?;
    node.wait_ready()?;
    gone(node, &signs, LIMIT)?;
    let left = ours(&host)?;
    for sign in addresses(lives)?.into_iter().chain([mark(lives)]) {
        ensure!(left.contains(&sign), "{sign} of a living pod was taken:\n{left}");
    }
    lives.call("DEL").run()?.expect_ok("DEL of the pod that lived")?;
    gone(node, &["terway:".to_owned(), "proto 157".to_owned()], LIMIT)
}

/// Plugin and daemon die by SIGKILL in the middle of ADDs and DELs, sandboxes vanish, and only GC comes after.
fn killed(plan: &Plan) -> Result<()> {
    for shared in [false, true] {
        let name = format!("{}{}", plan.name, usize::from(shared));
        let pool = if shared { (4, 12) } else { (4, 6) };
        let mut world = started(&Plan { name, shared, pool, ..plan.clone() })?;
        world.boot()?;
        let node = &mut world.nodes[0];
        let mut other = node.pod("other")?;
        other.add()?;
        let up = |state: &String| !state.contains("NO-CARRIER") && !state.contains("state DOWN");
        let before = eventually("all links are up", LIMIT, || ours(&node.netns).ok().filter(up))?;
        for round in 0..8_u32 {
            let pod = node.pod(&format!("dies{round}"))?;
            let verb = if round % 2 == 0 { "ADD" } else { "DEL" };
            if verb == "DEL" {
                pod.call("ADD").run()?.expect_ok("ADD")?;
            }
            let mut child = pod.call(verb).start()?;
            // Not a wait for anything: where the call is when it dies is what differs from round to round.
            std::thread::sleep(Duration::from_millis(u64::from(round) * 4));
            kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
            child.wait()?;
            if round == 4 {
                node.kill()?;
                node.start()?;
                node.wait_ready()?;
            }
            pod.vanish()?;
        }
        let call = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
        let call = call.iter().fold(other.call("GC"), |call, key| call.without(key));
        let valid = json!([{ "containerID": other.container, "ifname": "eth0" }]);
        call.configured("cni.dev/valid-attachments", valid).run()?.expect_ok("GC")?;
        node.kill()?;
        node.start()?;
        node.wait_ready()?;
        let mut left = String::new();
        eventually("nothing is left of those that died", BACKGROUND, || {
            left = ours(&node.netns).ok()?;
            (left == before).then_some(())
        })
        .with_context(|| format!("shared: {shared}; was:\n{before}\nis:\n{left}\n{}", node.log_tail()))?;
        other.call_with_result("CHECK").run()?.expect_ok("CHECK of the other pod")?;
        other.del()?;
    }
    Ok(())
}
