//! CHECK and STATUS tell the truth.

use anyhow::{Context as _, Result, ensure};
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::support::{Scenario, booted, once, unguarded};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("check::every_drift_is_named", drifts),
        once("check::of_an_unknown_attachment_fails", unknown),
        once("check::status_says_ready_and_why_not", status),
    ]
}

/// What somebody does to a pod or its node, and the words CHECK must say about it. The guard, which puts back what is
/// taken from the node, is off here.
const DAMAGE: &[(&str, bool, &[&str], &str)] = &[
    ("default route gone", true, &["route", "del", "default"], "default"),
    ("IPv6 default route gone", true, &["-6", "route", "del", "default"], "default"),
    ("address gone", true, &["-6", "address", "flush", "dev", "eth0", "scope", "global"], "fd00"),
    ("service route gone", true, &["route", "del", "172.16.0.0/16"], "172.16.0.0/16"),
    ("MTU changed", true, &["link", "set", "eth0", "mtu", "1400"], "1400"),
    ("link down", true, &["link", "set", "eth0", "down"], "eth0"),
    ("pair gone", true, &["link", "del", "veth1"], "veth1"),
    ("neighbour gone", true, &["neighbour", "del", "169.254.1.1", "dev", "veth1"], "169.254.1.1"),
    ("route to the pod gone", false, &["route", "flush", "proto", "157"], "route"),
];

fn drifts(plan: &Plan) -> Result<()> {
    let mut world = unguarded(&Plan { pool: (1, 3), ..plan.clone() })?;
    for (what, inside, words, expected) in DAMAGE {
        let mut pod = world.nodes[0].pod("web")?;
        pod.add()?;
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK of a sound pod")?;
        reader::text(if *inside { &pod.netns } else { &pod.host }, "ip", words).context(*what)?;
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
