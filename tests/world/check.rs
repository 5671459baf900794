//! CHECK and STATUS tell the truth.

use anyhow::{Context as _, Result, ensure};
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::support::{Scenario, booted, once};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("check::every_drift_is_named", drifts),
        once("check::of_an_unknown_attachment_fails", unknown),
        once("check::status_says_ready_and_why_not", status),
    ]
}

/// What somebody does in a pod, and the words CHECK must say about it. What is taken from the node comes back by
/// itself, see `guard`.
const DAMAGE: &[(&str, &[&str], &str)] = &[
    ("default route gone", &["route", "del", "default"], "default"),
    ("IPv6 default route gone", &["-6", "route", "del", "default"], "default"),
    ("address gone", &["-6", "address", "flush", "dev", "eth0", "scope", "global"], "fd00"),
    ("service route gone", &["route", "del", "172.16.0.0/16"], "172.16.0.0/16"),
    ("MTU changed", &["link", "set", "eth0", "mtu", "1400"], "1400"),
    ("link down", &["link", "set", "eth0", "down"], "eth0"),
    ("pair gone", &["link", "del", "veth1"], "veth1"),
    ("neighbour gone", &["neighbour", "del", "169.254.1.1", "dev", "veth1"], "169.254.1.1"),
];

fn drifts(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (1, 3), ..plan.clone() })?;
    for (what, words, expected) in DAMAGE {
        let mut pod = world.nodes[0].pod("web")?;
        pod.add()?;
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK of a sound pod")?;
        reader::text(&pod.netns, "ip", words).context(*what)?;
        let (code, text) = pod.call_with_result("CHECK").run()?.expect_error(what)?;
        ensure!(
            code == 103 && text.contains("drift") && text.contains(expected),
            "{what}: code {code}, {text}"
        );
        pod.del()?;
    }
    Ok(())
}

fn unknown(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let pod = world.nodes[0].pod("ghost")?;
    let (_, text) = pod.call("CHECK").run()?.expect_error("CHECK of an unknown pod")?;
    ensure!(text.contains("attachment-unknown"), "{text}");
    Ok(())
}

fn status(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let pod = world.nodes[0].pod("any")?;
    let bare = || {
        let call = pod.call("STATUS");
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
            .iter()
            .fold(call, |call, key| call.without(key))
    };
    bare().run()?.expect_ok("STATUS of a ready node")?;
    world.nodes[0].stop()?;
    let (code, text) = bare().run()?.expect_error("STATUS without a daemon")?;
    ensure!(code == 50 && text.contains("eni.socket"), "code {code}, {text}");
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    bare().run()?.expect_ok("STATUS after the daemon came back")?;
    Ok(())
}
