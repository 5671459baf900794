//! DEL always works: whatever is missing, whoever is away, however often it is called.

use anyhow::{Context as _, Result, ensure};
use terway_rig::eventually::eventually;
use terway_rig::pod::Pod;
use terway_rig::reader;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, audit, booted, once, text, wait_quiet};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("detach::the_nic_comes_home", comes_home),
        once("detach::an_empty_netns_path", |plan| {
            odd(plan, |pod| {
                pod.call("DEL").with("CNI_NETNS", "").run()?.expect_ok("DEL")?;
                // The NIC comes home when the namespace ends; until then nobody gets the ENI.
                pod.vanish()
            })
        }),
        once("detach::no_netns_variable", |plan| {
            odd(plan, |pod| {
                pod.call("DEL").without("CNI_NETNS").run()?.expect_ok("DEL")?;
                pod.vanish()
            })
        }),
        once("detach::a_vanished_netns", |plan| {
            odd(plan, |pod| {
                pod.vanish()?;
                pod.call("DEL").run()?.expect_ok("DEL").map(drop)
            })
        }),
        once("detach::repeated", |plan| {
            odd(plan, |pod| {
                for _ in 0..3 {
                    pod.call("DEL").run()?.expect_ok("DEL")?;
                }
                pod.call("DEL").with("CNI_NETNS", "").run()?.expect_ok("DEL").map(drop)
            })
        }),
        once("detach::of_an_add_never_seen", never_seen),
        once("detach::a_late_del_spares_the_new_sandbox", late),
    ]
}

/// An attached pod, an odd way to detach it, and then: nothing left, nothing lost.
fn odd(plan: &Plan, detach: fn(&Pod) -> Result<()>) -> Result<()> {
    let mut world = booted(&Plan { pool: (1, 2), ..plan.clone() })?;
    let before = reader::recording(&world.nodes[0].netns)?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    detach(&pod)?;
    settled(&world)?;
    let after = reader::recording(&world.nodes[0].netns)?;
    let ours =
        |text: &str| text.lines().filter(|line| line.contains("cali") || line.contains("proto 157")).count();
    ensure!(ours(&after) == 0, "left behind:\n{after}\nbefore:\n{before}");
    audit(&world)
}

/// Every ENI is idle again, its NIC at home.
fn settled(world: &World) -> Result<()> {
    let node = &world.nodes[0];
    wait_quiet(node)?;
    eventually("no ENI is in use and all NICs are at home", LIMIT, || {
        let enis = node.mapping().ok()?;
        let idle = enis.iter().all(|eni| text(eni, "phase") == "Ready");
        let home =
            enis.iter().all(|eni| matches!(reader::link_by_mac(&node.netns, &text(eni, "mac")), Ok(Some(_))));
        (idle && home && !enis.is_empty()).then_some(())
    })
    .with_context(|| format!("{:?}\n{}", node.mapping(), node.log_tail()))
}

fn comes_home(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (1, 2), ..plan.clone() })?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.limit(None, Some(100_000_000));
    let mac = text(&pod.add()?.output["interfaces"][0], "mac");
    pod.del()?;
    let nic = reader::link_by_mac(&pod.host, &mac)?.context("the NIC did not come home")?;
    ensure!(text(&nic, "ifname") == format!("eni{}", mac.replace(':', "")), "{nic}");
    ensure!(!nic["flags"].to_string().contains("\"UP\""), "the NIC is up: {nic}");
    ensure!(nic["ifalias"].is_null(), "the mark is still on it: {nic}");
    ensure!(nic["qdisc"] != "tbf", "the limit is still on it: {nic}");
    let addresses = reader::json(&pod.host, "ip", &["address", "show", "dev", &text(&nic, "ifname")])?;
    ensure!(addresses[0]["addr_info"].as_array().is_none_or(Vec::is_empty), "{addresses}");
    let left = reader::json(&pod.netns, "ip", &["link", "show"])?;
    ensure!(left.as_array().map(Vec::len) == Some(1), "only lo may stay in the pod: {left}");
    Ok(())
}

fn never_seen(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let pod = world.nodes[0].pod("ghost")?;
    pod.call("DEL").run()?.expect_ok("DEL of an unknown pod")?;
    pod.call("DEL").with("CNI_NETNS", "/run/netns/never-there").run()?.expect_ok("DEL of an unknown pod")?;
    audit(&world)
}

fn late(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut old = world.nodes[0].pod("db-0")?;
    old.add()?;
    let mut new = world.nodes[0].pod("db-0")?;
    new.add()?;
    ensure!(old.container != new.container, "the sandboxes must differ");
    // The runtime's late DEL of the old sandbox, once with its own namespace, once with the path of the new one.
    old.call("DEL").run()?.expect_ok("late DEL")?;
    old.call("DEL").with("CNI_NETNS", &new.netns.to_string_lossy()).run()?.expect_ok("late DEL")?;
    new.call_with_result("CHECK").run()?.expect_ok("CHECK of the new sandbox")?;
    let in_use: Vec<_> =
        world.nodes[0].mapping()?.into_iter().filter(|eni| text(eni, "phase") == "InUse").collect();
    ensure!(
        in_use.len() == 1 && in_use[0]["attachment"]["container_id"] == new.container.as_str(),
        "{in_use:?}"
    );
    Ok(())
}
