//! Stories of pods whose packets pass the node's stack, the same whatever leads there: addresses of shared ENIs or of the
//! node's podCIDR. Nothing of a pod stays on the node, whatever way it ends, and CHECK names what somebody takes.

use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;
use terway_rig::pod::Pod;
use terway_rig::reader;
use terway_rig::world::World;

/// What somebody does to a pod or its node: its name, whether to the pod, by which words to `ip`, and what CHECK must say.
pub(crate) type Damage = (&'static str, bool, &'static [&'static str], &'static str);

/// Damage to the pod's own side.
pub(crate) const TO_THE_POD: [Damage; 3] = [
    ("default route gone", true, &["route", "del", "default"], "default"),
    ("IPv6 address gone", true, &["-6", "address", "flush", "dev", "eth0", "scope", "global"], "fd00"),
    ("pair gone", true, &["link", "del", "eth0"], "eth0"),
];

/// What of pods is on a node: rules and routes of our making, links of pods, without the shared ENIs themselves.
pub(crate) fn left(pod: &Pod) -> Result<String> {
    let mut left = Vec::new();
    for (words, sign) in [
        (&["-4", "rule"][..], "157"),
        (&["-6", "rule"], "157"),
        (&["-4", "route", "show", "table", "all"], "proto 157"),
        (&["-6", "route", "show", "table", "all"], "proto 157"),
        (&["-o", "link"], "terway:"),
    ] {
        let shown = reader::text(&pod.host, "ip", words)?;
        // What the node says of its range is no pod's.
        let of_pods = shown.lines().filter(|line| line.contains(sign) && !line.starts_with("unreachable"));
        left.extend(of_pods.map(str::to_owned));
    }
    Ok(left.join("\n"))
}

/// Nothing of any pod is on the node.
pub(crate) fn nothing_left(pod: &Pod) -> Result<()> {
    let left = left(pod)?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

/// Each damage is named by CHECK, and the pod's end clears up all the same. Nobody may repair anything meanwhile.
pub(crate) fn damage_is_named(world: &mut World, to_the_node: &[Damage]) -> Result<()> {
    for (what, inside, words, expected) in TO_THE_POD.iter().chain(to_the_node) {
        let mut pod = world.nodes[0].pod("web")?;
        pod.add()?;
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK of a sound pod")?;
        reader::text(if *inside { &pod.netns } else { &pod.host }, "ip", words).context(*what)?;
        let (code, text) = pod.call_with_result("CHECK").run()?.expect_error(what)?;
        ensure!(code == 103 && text.contains(expected), "{what}: code {code}, {text}");
        pod.del()?;
        nothing_left(&pod).context(*what)?;
    }
    Ok(())
}

/// A pod goes in every way there is, and of it nothing stays, of the other pod everything.
pub(crate) fn ends(world: &mut World) -> Result<()> {
    let mut stays = world.nodes[0].pod("stays")?;
    stays.add()?;
    let before = left(&stays)?;
    for way in ["usual", "again", "namespace gone", "daemon away", "daemon away, namespace gone"] {
        let mut pod = world.nodes[0].pod("goes")?;
        pod.add()?;
        let del = pod.call_with_result("DEL");
        if way.contains("namespace gone") {
            pod.vanish()?;
        }
        if way.contains("daemon away") {
            world.nodes[0].kill()?;
        }
        for _ in 0..=usize::from(way == "again") {
            del.run()?.expect_ok(way)?;
        }
        ensure!(left(&stays)? == before, "{way}: {before}\nbecame\n{}", left(&stays)?);
        if way.contains("daemon away") {
            world.nodes[0].start()?;
            world.nodes[0].wait_ready()?;
        }
        stays.call_with_result("CHECK").run()?.expect_ok(way)?;
        alone(world).context(way)?;
    }
    stays.del()?;
    nothing_left(&stays)
}

/// One pod's sandbox vanishes, and GC takes what is left of it and nothing of the other's.
pub(crate) fn garbage(world: &mut World) -> Result<()> {
    let mut stays = world.nodes[0].pod("stays")?;
    stays.add()?;
    let before = left(&stays)?;
    let mut goes = world.nodes[0].pod("goes")?;
    goes.add()?;
    goes.vanish()?;
    let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
    let call = names.iter().fold(stays.call("GC"), |call, key| call.without(key));
    let valid = json!([{ "containerID": stays.container, "ifname": "eth0" }]);
    call.configured("cni.dev/valid-attachments", valid).run()?.expect_ok("GC")?;
    ensure!(left(&stays)? == before, "{before}\nbecame\n{}", left(&stays)?);
    alone(world)?;
    stays.call_with_result("CHECK").run()?.expect_ok("CHECK of the pod that stays").map(drop)
}

/// Nobody but the pod that stays has an address: what was spooled is released too.
fn alone(world: &World) -> Result<()> {
    let output = world.nodes[0].cli(&["status"])?;
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(status.contains("1 in use"), "{status}");
    Ok(())
}

/// Forty pods come at once, each with an address of its own, and go at once.
pub(crate) fn forty_at_once(world: &mut World) -> Result<()> {
    let mut pods =
        (0..40).map(|number| world.nodes[0].pod(&format!("web{number}"))).collect::<Result<Vec<_>>>()?;
    at_once(&mut pods, |pod| pod.add().map(drop)).with_context(|| world.nodes[0].log_tail())?;
    let mut addresses: Vec<_> = pods.iter().map(|pod| pod.address(4)).collect::<Result<_>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    ensure!(addresses.len() == 40, "{addresses:?}");
    at_once(&mut pods, |pod| pod.call_with_result("CHECK").run()?.expect_ok("CHECK").map(drop))?;
    at_once(&mut pods, |pod| pod.del().map(drop))?;
    nothing_left(&pods[0])
}

/// Does the same with all pods at once.
fn at_once(pods: &mut [Pod], deed: fn(&mut Pod) -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        let all: Vec<_> = pods.iter_mut().map(|pod| scope.spawn(move || deed(pod))).collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a call panicked"))?)
    })
}
