//! What services of the node take away of pods' routes, rules, neighbours, links and translation comes back by itself,
//! told and counted, what they put on pods' ENIs comes off; nobody is fought, and nothing of others is touched. The
//! whole state of the node, as iproute2 and nft show it, is compared.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use terway_datapath::attachment_lock;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};
use terway_rig::{namespace, reader};
use terway_types::{AttachmentKey, ContainerId, IfName, NetworkName};

use crate::support::{LIMIT, Scenario, booted, events, once, started, text};

/// Long before the guard looks at everything without being told.
const SOON: Duration = Duration::from_secs(15);
/// The promise. A busy machine may break it once in a while, so half of the repairs must keep it.
const PROMISED: Duration = Duration::from_secs(2);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("guard::what_is_taken_from_the_node_comes_back", exclusive),
        once("guard::what_is_taken_of_shared_enis_comes_back", shared),
        once("guard::without_a_way_out_of_one_family_the_other_is_guarded", one_family),
        once("guard::an_eni_gets_back_what_it_asks_for_its_gateway_with", link_local),
        once("guard::the_check_of_sources_comes_back", sources),
        once("guard::check_waits_for_its_first_look", first_look),
        once("guard::nobody_is_fought", fought),
        once("guard::who_did_it_is_named", named),
        once("guard::what_the_plugin_works_on_is_left_to_it", locked),
        once("guard::what_others_made_stays", others),
        once("guard::a_burst_of_events_costs_no_memory", burst),
    ]
}

/// One way to do a node harm: a program and its words. `LINK` stands for the pod's link on the node, `NIC` for the
/// shared ENI.
type Harm = (&'static str, &'static [&'static str]);

const WITH_A_WHOLE_ENI: &[Harm] = &[
    // First, while nothing else happens that makes the guard look.
    ("nft", &["flush", "table", "ip", "terway"]),
    ("nft", &["flush", "ruleset"]),
    ("ip", &["-4", "route", "flush", "proto", "157"]),
    ("ip", &["-6", "route", "flush", "proto", "157"]),
    ("ip", &["neighbour", "flush", "dev", "LINK", "nud", "permanent"]),
    ("ip", &["link", "set", "LINK", "down"]),
];

const ON_A_SHARED_ENI: &[Harm] = &[
    ("ip", &["-4", "rule", "del", "priority", "512"]),
    ("ip", &["-6", "rule", "del", "priority", "2048"]),
    ("ip", &["-4", "route", "flush", "proto", "157", "table", "all"]),
    ("ip", &["-6", "route", "flush", "proto", "157", "table", "all"]),
    ("ip", &["link", "set", "LINK", "down"]),
    // What a DHCP client and networkd do on a NIC they take for the node's.
    ("ip", &["address", "add", "10.1.14.7/20", "dev", "NIC"]),
    ("ip", &["route", "add", "default", "dev", "NIC", "metric", "5", "proto", "dhcp"]),
    ("ip", &["-6", "address", "add", "fd00:10:0:1::e77/64", "dev", "NIC"]),
];

fn exclusive(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 3), ..plan.clone() })?;
    harm(&mut world.nodes[0], WITH_A_WHOLE_ENI)
}

fn sharing(plan: &Plan) -> Result<World> {
    let mut world = started(&Plan { shared: true, enis: 3, pool: (2, 4), ..plan.clone() })?;
    world.boot()?;
    Ok(world)
}

fn shared(plan: &Plan) -> Result<()> {
    let mut world = sharing(plan)?;
    let node = &mut world.nodes[0];
    harm(node, ON_A_SHARED_ENI)?;
    let told = events(node, "EniCleared")?;
    ensure!(told.iter().any(|message| message.contains("10.1.14.7/20")), "{told:?}");
    Ok(())
}

/// The check of IPv6 sources belongs to no pod.
fn sources(plan: &Plan) -> Result<()> {
    let world = sharing(plan)?;
    let host = world.nodes[0].netns.clone();
    let there = || reader::text(&host, "nft", &["list", "table", "ip6", "terway_sources"]).ok();
    let whole = || there().filter(|table| table.contains("fib saddr . iif") && table.contains("drop"));
    let before = eventually("the check is there", LIMIT, whole)?;
    for words in [&["flush", "ruleset"][..], &["flush", "table", "ip6", "terway_sources"]] {
        reader::text(&host, "nft", words)?;
        let back = eventually("it is there again", SOON, || whole().filter(|now| *now == before));
        back.with_context(|| world.nodes[0].log_tail())?;
    }
    Ok(())
}

/// How long CHECK waits for the guard's first look.
const CHECK_WAITS: Duration = Duration::from_secs(3);

/// An upgrade finds links of pods in no group of links, as programs made them that knew no check of sources: CHECK is asked
/// while the daemon starts, and says that all is well once it says anything of the pod.
fn first_look(plan: &Plan) -> Result<()> {
    let mut world = sharing(plan)?;
    let node = &mut world.nodes[0];
    let mut pods = ["a", "b", "c", "d"].map(|name| node.pod(name)).into_iter().collect::<Result<Vec<_>>>()?;
    pods.iter_mut().try_for_each(|pod| pod.add().map(drop))?;
    node.kill()?;
    for link in pod_links(&node.netns)? {
        reader::text(&node.netns, "ip", &["link", "set", &link, "group", "0"])?;
    }
    node.start()?;
    for pod in &pods {
        let mut said = String::new();
        eventually("CHECK is answered", LIMIT * 2, || {
            let answer = pod.call_with_result("CHECK").run().ok()?;
            said = answer.expect_error("CHECK").map(|(_, text)| text).unwrap_or_default();
            // On a busy machine the first look may take longer than CHECK waits for it.
            let waited = answer.elapsed >= CHECK_WAITS;
            (said.is_empty() || said.contains("drift") && !waited).then_some(())
        })
        .with_context(|| said.clone())?;
        ensure!(said.is_empty(), "{said}");
    }
    Ok(())
}

/// A service of the node takes its IPv6 default route for good, and later an IPv4 route of a pod.
fn one_family(plan: &Plan) -> Result<()> {
    let mut world = sharing(plan)?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    let host = node.netns.clone();
    steady(&host)?;
    let way = pod.address(4)?.to_string();
    let ip = |words: &[&str]| reader::text(&host, "ip", words).with_context(|| words.join(" "));
    let there = || ip(&["-4", "route", "show", &way]).is_ok_and(|shown| !shown.trim().is_empty());
    ensure!(there(), "the pod has no route");
    ip(&["-6", "route", "del", "default"])?;
    ip(&["-4", "route", "del", &way])?;
    let back = eventually("the IPv4 route is back", SOON, || there().then_some(()));
    back.with_context(|| node.log_tail())
}

/// Without a link-local address on the ENI the node cannot ask for the gateway on behalf of pods, and IPv6 is dead.
fn link_local(plan: &Plan) -> Result<()> {
    let mut world = sharing(plan)?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    let host = node.netns.clone();
    let nic = shared_nic(&host)?;
    let ip = |words: &[&str]| reader::text(&host, "ip", words).with_context(|| words.join(" "));
    let there = || ip(&["-6", "address", "show", "dev", &nic]).is_ok_and(|shown| shown.contains("fe80::"));
    eventually("the ENI has a link-local address", LIMIT, || there().then_some(()))?;
    ip(&["link", "set", &nic, "addrgenmode", "none"])?;
    ip(&["-6", "address", "flush", "dev", &nic, "scope", "link"])?;
    eventually("it has one again", SOON, || there().then_some(())).with_context(|| node.log_tail())?;
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    Ok(())
}

fn harm(node: &mut Node, ways: &[Harm]) -> Result<()> {
    let mut pods = [node.pod("web")?, node.pod("db")?];
    for pod in &mut pods {
        pod.add()?;
    }
    let host = node.netns.clone();
    let before = steady(&host)?;
    let links = pod_links(&host)?;
    let nic = shared_nic(&host)?;
    let mut took = Vec::new();
    for (program, words) in ways {
        let word = |word: &&'static str| match *word {
            "LINK" => links[0].clone(),
            "NIC" => nic.clone(),
            other => other.to_owned(),
        };
        let words: Vec<String> = words.iter().map(word).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        reader::text(&host, program, &words).with_context(|| words.join(" "))?;
        took.push(same(node, &before).with_context(|| format!("after {program} {}", words.join(" ")))?);
    }
    took.sort();
    ensure!(took[took.len() / 2] < PROMISED, "the repairs took {took:?}");
    for pod in &mut pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK after the repairs")?;
    }
    let told = events(node, "HostStateRepaired")?;
    ensure!(told.iter().any(|message| message.contains("default/web")), "{told:?}");
    for pod in &mut pods {
        pod.del()?;
    }
    let left = of_pods(&host)?;
    ensure!(links.iter().all(|link| !left.contains(link)) && !left.contains("proto 157"), "left:\n{left}");
    ensure!(!left.contains("terway:"), "left:\n{left}");
    Ok(())
}

/// Link events faster than anybody looks at attachments, and so many that the kernel may drop some. They wait nowhere in
/// the daemon, and what was taken meanwhile comes back.
fn burst(plan: &Plan) -> Result<()> {
    const EVENTS: usize = 20_000;
    /// Decoded and kept, that many links would be more than a hundred MiB.
    const MORE: u64 = 6 * 1024;
    let mut world = booted(&Plan { pool: (2, 3), ..plan.clone() })?;
    let node = &mut world.nodes[0];
    for name in ["web", "db"] {
        node.pod(name)?.add()?;
    }
    let host = node.netns.clone();
    reader::text(&host, "ip", &["link", "add", "flap0", "type", "veth", "peer", "name", "flap1"])?;
    reader::text(&host, "ip", &["link", "set", "flap0", "up"])?;
    let before = steady(&host)?;
    let script = node.path("burst");
    let flaps = "link set flap0 mtu 1400\nlink set flap0 mtu 1401\n".repeat(EVENTS / 2);
    fs::write(&script, format!("route flush proto 157\n{flaps}link set flap0 mtu 1500\n"))?;
    let pid = node.daemon_pid().context("no daemon")?;
    // Forgets how much memory the process ever had.
    fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    let resident = memory_kib(pid, "VmRSS:")?;
    reader::text(&host, "ip", &["-batch", &script.display().to_string()])?;
    same(node, &before)?;
    let peak = memory_kib(pid, "VmHWM:")?;
    ensure!(peak <= resident + MORE, "{EVENTS} events took it from {resident} to {peak} KiB");
    Ok(())
}

fn memory_kib(pid: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)).context("no such line")?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

/// The process whose request the kernel obeyed, while it is still there.
fn named(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = namespace::spawn(&node.netns, command)?;
    let mut words = child.stdin.take().context("no standard input")?;
    words.write_all(b"route flush proto 157\n")?;
    words.flush()?;
    let told = eventually("the repair is told", LIMIT, || events(node, "HostStateRepaired").ok()?.pop());
    drop(words);
    child.wait()?;
    let (told, wanted) = (told?, format!("process {} (ip)", child.id()));
    ensure!(told.contains(&wanted), "{told:?} does not name {wanted}");
    Ok(())
}

/// While somebody holds an attachment's lock, as the plugin does, the guard sees to the others only.
fn locked(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 3), ..plan.clone() })?;
    let node = &mut world.nodes[0];
    let (mut web, mut db) = (node.pod("web")?, node.pod("db")?);
    web.add()?;
    db.add()?;
    let (host, before) = (node.netns.clone(), steady(&node.netns)?);
    let lock = attachment_lock::acquire(&node.run, &key(&web)?, LIMIT).context("the pod's lock")?;
    let way = |pod: &Pod| {
        let shown = reader::text(&host, "ip", &["route", "show", &pod.address(4)?.to_string()])?;
        Ok::<_, anyhow::Error>(!shown.trim().is_empty())
    };
    let take = |pod: &Pod| reader::text(&host, "ip", &["route", "del", &pod.address(4)?.to_string()]);
    take(&web)?;
    // Whoever comes first in a round: in the second the first has been looked at.
    for _ in 0..2 {
        take(&db)?;
        eventually("the way to the other pod is back", SOON, || way(&db).ok().filter(|there| *there))?;
    }
    ensure!(!way(&web)?, "the guard worked on an attachment whose lock another holds");
    drop(lock);
    same(node, &before).context("after the lock was given back")?;
    web.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    Ok(())
}

/// Objects beside ours, of the kinds the guard handles: other priorities, other protocols, other tables, other NICs.
fn others(plan: &Plan) -> Result<()> {
    let mut world = sharing(plan)?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    let host = node.netns.clone();
    let ours = steady(&host)?;
    let nic = shared_nic(&host)?;
    for line in [
        "link add other type veth peer name otherp",
        "link set otherp up",
        "link set other up",
        "address add 192.0.2.7/24 dev other",
        "route add 198.51.100.0/24 dev other proto static",
        "address add 192.0.2.99/32 dev eth0",
        "rule add priority 512 to 198.51.100.0/24 lookup main",
        "rule add priority 700 from 198.51.100.7 lookup 1234",
        "rule add priority 2048 from 198.51.100.0/24 lookup 1234",
        "route add default dev other table 1234",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        reader::text(&host, "ip", &words).context(line)?;
    }
    for line in
        ["add table ip others", "add chain ip others c", "add rule ip others c ip saddr 192.0.2.1 drop"]
    {
        reader::text(&host, "nft", &line.split(' ').collect::<Vec<_>>()).context(line)?;
    }
    let all = |host: &Path| {
        Ok::<_, anyhow::Error>(reader::recording(host)? + &reader::text(host, "nft", &["list", "ruleset"])?)
    };
    let settled = |state: &String| !state.contains("NO-CARRIER") && !state.contains("tentative");
    let before = eventually("all links are up", LIMIT, || all(&host).ok().filter(settled))?;
    // Each makes the guard look at everything it has to do with.
    for words in [
        &["-4", "rule", "del", "priority", "512", "to", &*pod.address(4)?.to_string()][..],
        &["-4", "route", "flush", "proto", "157", "table", "1234"],
        &["address", "add", "10.1.14.7/20", "dev", &nic],
    ] {
        reader::text(&host, "ip", words).with_context(|| words.join(" "))?;
        let mut now = String::new();
        let outcome = eventually("the node is as it was", SOON, || {
            now = all(&host).ok()?;
            (now == before).then_some(())
        });
        outcome.with_context(|| format!("was:\n{before}\nis:\n{now}"))?;
    }
    pod.del()?;
    let left = of_pods(&host)?;
    ensure!(left != ours && left.contains("198.51.100"), "what others made went with the pod:\n{left}");
    Ok(())
}

fn key(pod: &Pod) -> Result<AttachmentKey> {
    Ok(AttachmentKey {
        network: NetworkName::new("terway")?,
        container: ContainerId::new(&*pod.container)?,
        ifname: IfName::new("eth0")?,
    })
}

/// A service that takes a route away as often as it is put back is let have its way for a while, and told of.
fn fought(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    let host = node.netns.clone();
    let before = steady(&host)?;
    let take = || reader::text(&host, "ip", &["-4", "route", "flush", "proto", "157"]);
    for _ in 0..3 {
        take()?;
        same(node, &before)?;
    }
    take()?;
    eventually("the fight is told of", LIMIT, || {
        let told = events(node, "HostStateFought").ok()?;
        told.iter().any(|message| message.contains("terway-cli doctor")).then_some(())
    })?;
    ensure!(of_pods(&host)? != before, "it was put back at once");
    same(node, &before).map(drop).context("after the pause")
}

/// What there is on the node for pods: their links and all on them, what bears our protocol number, all rules, global
/// addresses, ways out, and translation. ENIs come and go meanwhile, and link-local addresses are the kernel's own.
fn of_pods(host: &Path) -> Result<String> {
    let concerns = |line: &&str| {
        let is_rule = line.split_once(':').is_some_and(|(priority, _)| priority.parse::<u32>().is_ok());
        let words = ["cali", "proto 157", "scope global"];
        let is_of_pods = words.iter().any(|word| line.contains(word)) || line.starts_with("default");
        (is_of_pods || (is_rule && line.contains("lookup"))) && !line.contains("fe80::")
    };
    let all = reader::recording(host)?;
    let filter = reader::text(host, "nft", &["list", "ruleset"])?;
    let mut translated: Vec<&str> =
        filter.lines().filter(|line| line.contains("terway:")).map(str::trim).collect();
    translated.sort_unstable();
    let lines = all.lines().filter(concerns).chain(translated);
    Ok(lines.fold(String::new(), |text, line| text + line + "\n"))
}

/// The same, once all links are up and have their addresses for good: the kernel tells of both.
fn steady(host: &Path) -> Result<String> {
    let unsteady = ["NO-CARRIER", "state DOWN", "tentative"];
    eventually("all links are up", LIMIT, || {
        let all = reader::recording(host).ok()?;
        let of_a_pod = |line: &str| line.contains("cali") && unsteady.iter().any(|word| line.contains(word));
        if all.lines().any(of_a_pod) { None } else { of_pods(host).ok() }
    })
}

/// Waits until the node's state is as it was; says how long that took.
fn same(node: &Node, before: &str) -> Result<Duration> {
    let (mut now, since) = (String::new(), Instant::now());
    let outcome = eventually("the node's state is as it was", SOON, || {
        now = of_pods(&node.netns).ok()?;
        (now == before).then(|| since.elapsed())
    });
    outcome.with_context(|| format!("was:\n{before}\nis:\n{now}\n{}", node.log_tail()))
}

/// The ENI that pods' packets leave by; the node's own NIC where there is none.
fn shared_nic(host: &Path) -> Result<String> {
    let routes = reader::json(host, "ip", &["-4", "route", "show", "table", "all", "proto", "157"])?;
    let ways = routes.as_array().into_iter().flatten();
    let out = ways.filter(|route| route["dst"] == "default").map(|route| text(route, "dev")).next();
    Ok(out.unwrap_or_else(|| "eth0".to_owned()))
}

fn pod_links(host: &Path) -> Result<Vec<String>> {
    let links = reader::json(host, "ip", &["link", "show"])?;
    let names = links.as_array().into_iter().flatten().map(|link| text(link, "ifname"));
    Ok(names.filter(|name| name.starts_with("cali")).collect())
}
