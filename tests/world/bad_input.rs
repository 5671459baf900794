//! Bad input: every refusal says code, cause and remedy, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_rig::plugin::Call;
use terway_rig::pod::Pod;
use terway_rig::reader;
use terway_rig::world::{Plan, World};

use crate::cloud_trouble::says;
use crate::support::{LIMIT, Scenario, audit, booted, events, once, started, text, wait_quiet};
use terway_rig::eventually::eventually;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("bad_input::each_refused_call_says_why_and_leaves_nothing", calls),
        once("bad_input::a_taken_interface_name", taken_name),
        once("bad_input::each_refused_configuration_is_fatal_and_complete", configurations),
        once("bad_input::a_state_directory_that_cannot_be_used", state_directory),
        once("bad_input::a_corrupt_ledger_is_refused_and_left_alone", broken_ledger),
        once("bad_input::a_second_daemon_on_one_node", second_daemon),
        once("bad_input::a_cni_configuration_that_no_runtime_could_use", no_list_of_plugins),
    ]
}

/// A way to spoil a good ADD, the CNI code it must give, and words its message must hold.
type Spoiled = (&'static str, fn(Call, &Pod) -> Call, u64, &'static [&'static str]);

const CALLS: &[Spoiled] = &[
    ("configuration is no object", |call, _| Call { configuration: json!("terway"), ..call }, 6, &[]),
    ("wrong type of a key", |call, _| call.configured("mtu", json!("large")), 6, &["mtu"]),
    ("unknown version", |call, _| call.configured("cniVersion", json!("9.9.9")), 1, &["9.9.9", "1.1.0"]),
    ("no container id", |call, _| call.without("CNI_CONTAINERID"), 4, &["CNI_CONTAINERID"]),
    ("hostile container id", |call, _| call.with("CNI_CONTAINERID", "../../etc"), 4, &["CNI_CONTAINERID"]),
    (
        "no variables at all",
        |call, _| Call { environment: vec![("CNI_COMMAND".into(), "ADD".into())], ..call },
        4,
        &["CNI_NETNS", "CNI_IFNAME"],
    ),
    ("hostile interface name", |call, _| call.with("CNI_IFNAME", "eth0/../x"), 4, &["CNI_IFNAME"]),
    ("too long an interface name", |call, _| call.with("CNI_IFNAME", "sixteen-bytes-xx"), 4, &["CNI_IFNAME"]),
    ("unknown verb", |call, _| call.with("CNI_COMMAND", "EXPLODE"), 4, &["CNI_COMMAND"]),
    ("network name with a slash", |call, _| call.configured("name", json!("a/b")), 7, &["name"]),
    (
        "host's namespace as the pod's",
        |call, pod| call.with("CNI_NETNS", &pod.host.to_string_lossy()),
        8,
        &["netns-invalid"],
    ),
    (
        "namespace that is not there",
        |call, _| call.with("CNI_NETNS", "/run/netns/nowhere"),
        8,
        &["/run/netns/nowhere"],
    ),
    ("namespace path that is a file", |call, _| call.with("CNI_NETNS", "/etc/passwd"), 8, &["/etc/passwd"]),
    ("MTU too small", |call, _| call.configured("mtu", json!(100)), 7, &["mtu", "100"]),
    ("MTU too large", |call, _| call.configured("mtu", json!(100_000)), 7, &["mtu", "100000"]),
    (
        "host-stack CIDR that takes the default route",
        |call, _| call.configured("host_stack_cidrs", json!(["0.0.0.0/0"])),
        7,
        &["0.0.0.0/0"],
    ),
    (
        "host-stack CIDR that is none",
        |call, _| call.configured("host_stack_cidrs", json!(["10.0.0.0/33"])),
        7,
        &["10.0.0.0/33"],
    ),
    (
        "negative limit",
        |call, _| call.configured("runtimeConfig", json!({ "bandwidth": { "egressRate": -1 } })),
        7,
        &["egressRate"],
    ),
    (
        "socket that is not there",
        |call, _| {
            call.configured("socket_path", json!("/run/nowhere.socket"))
                .configured("allocate_timeout", json!(1))
        },
        11,
        &["daemon-unreachable", "/run/nowhere.socket"],
    ),
];

fn calls(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let pod = world.nodes[0].pod("web")?;
    let before = (reader::recording(&pod.host)?, reader::recording(&pod.netns)?);
    for (what, spoil, code, words) in CALLS {
        let outcome = spoil(pod.call("ADD"), &pod).run()?;
        let (found, message) = outcome.expect_error(what)?;
        ensure!(found == *code || (*code == 7 && found == 101), "{what}: code {found}, {message}");
        for word in words.iter().chain(&["remedy: "]) {
            ensure!(message.contains(word), "{what}: no {word:?} in {message}");
        }
        ensure!(outcome.output["cniVersion"].is_string(), "{what}: {}", outcome.output);
    }
    wait_quiet(&world.nodes[0])?;
    ensure!(
        world.nodes[0].phases()?.iter().all(|phase| phase == "Ready"),
        "an ENI is held: {:?}",
        world.nodes[0].phases()
    );
    ensure!(
        before == (reader::recording(&pod.host)?, reader::recording(&pod.netns)?),
        "a refused call left something"
    );
    audit(&world)
}

fn taken_name(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let pod = world.nodes[0].pod("web")?;
    reader::text(&pod.netns, "ip", &["link", "add", "eth0", "type", "bridge"])?;
    let (code, message) = pod.call("ADD").run()?.expect_error("ADD into a used namespace")?;
    ensure!(
        code == 101 && message.contains("interface-exists") && message.contains("eth0"),
        "code {code}, {message}"
    );
    wait_quiet(&world.nodes[0])?;
    ensure!(
        reader::link(&pod.netns, "eth0")?.is_some_and(|link| link["linkinfo"]["info_kind"] == "bridge"),
        "not ours to touch"
    );
    audit(&world)
}

/// Starts a daemon that must refuse its configuration; what it says.
fn refused(world: &World, conf: &[(&str, Value)]) -> Result<String> {
    let node = &world.nodes[0];
    let sound: Value = serde_json::from_slice(&fs::read(node.path("eni_conf"))?)?;
    let mut spoiled = sound.clone();
    for (key, value) in conf {
        spoiled[*key] = value.clone();
    }
    node.configure(&spoiled)?;
    let said = ends_with_error(node.daemon_command(), &node.netns)?;
    node.configure(&sound)?;
    ensure!(said.contains("config-invalid") && said.contains("remedy: mend the keys named in"), "{said}");
    Ok(said)
}

/// Runs a daemon that must end with an error; what it says.
fn ends_with_error(mut command: Command, netns: &std::path::Path) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = terway_rig::namespace::spawn(netns, command)?;
    let ended = eventually("terwayd refuses to start", LIMIT, || child.try_wait().ok().flatten());
    let _ = child.kill();
    let output = child.wait_with_output().context("failed to wait for terwayd")?;
    ended.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(!output.status.success(), "terwayd started");
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn configurations(plan: &Plan) -> Result<()> {
    let world = started(plan)?;
    let said = refused(
        &world,
        &[
            ("min_pool_size", json!(5)),
            ("max_pool_size", json!(2)),
            ("ip_stack", json!("ipv6")),
            ("max_pool_sise", json!(1)),
        ],
    )?;
    for word in ["min_pool_size", "5", "2", "ip_stack", "ipv6", "max_pool_sise", "max_pool_size"] {
        ensure!(said.contains(word), "no {word:?} in: {said}");
    }
    for (key, value, word) in [
        ("service_cidr", json!("not-a-cidr"), "not-a-cidr"),
        ("security_groups", json!((0..11).map(|n| format!("sg-{n}")).collect::<Vec<_>>()), "10"),
        ("access_secret", json!(" key with spaces "), "access_secret"),
        ("eni_quarantine", json!("soon"), "soon"),
        ("max_pool_size", json!(-1), "max_pool_size"),
        ("vswitches", json!(["vsw-1"]), "vswitches"),
    ] {
        let said = refused(&world, &[(key, value)])?;
        ensure!(said.contains(key) && said.contains(word), "{key}: {said}");
    }
    let node = &world.nodes[0];
    fs::remove_file(node.path("eni_conf"))?;
    let said = ends_with_error(node.daemon_command(), &node.netns)?;
    for word in ["config-invalid", "eni_conf", "No such file", "remedy: ", "--config"] {
        ensure!(said.contains(word), "no {word:?} in: {said}");
    }
    Ok(())
}

fn state_directory(plan: &Plan) -> Result<()> {
    let world = started(plan)?;
    let node = &world.nodes[0];
    // A file where the directory should be: refused even to root, who may write anywhere else.
    fs::remove_dir_all(node.path("state"))?;
    fs::write(node.path("state"), "a file")?;
    let said = ends_with_error(node.daemon_command(), &node.netns)?;
    ensure!(said.contains("state-unwritable") && said.contains("state"), "{said}");
    Ok(())
}

fn broken_ledger(plan: &Plan) -> Result<()> {
    let mut world = started(plan)?;
    let node = &world.nodes[0];
    let path = node.path("state/ledger.redb");
    fs::write(&path, vec![0x5a; 8192])?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    // The daemon stays, to say why: pods can still be deleted, their releases wait in the spool.
    world.nodes[0].start()?;
    says(&world, "ledger-corrupt")?;
    ensure!(fs::read(&path)? == vec![0x5a; 8192], "a refused ledger was changed");
    Ok(())
}

/// It is not installed, which would keep the runtime from every pod, and the operator is told why.
fn no_list_of_plugins(plan: &Plan) -> Result<()> {
    let mut world = started(plan)?;
    fs::write(world.nodes[0].path("10-terway.conflist"), "{")?;
    world.boot()?;
    let node = &world.nodes[0];
    let told = || events(node, "CniConfNotInstalled").ok()?.into_iter().next();
    let said = eventually("the operator is told", LIMIT, told).with_context(|| node.log_tail())?;
    ensure!(said.contains("10-terway.conflist") && said.contains("is not JSON"), "{said}");
    ensure!(!node.conflist().exists(), "it was installed");
    Ok(())
}

fn second_daemon(plan: &Plan) -> Result<()> {
    let world = booted(plan)?;
    let said = ends_with_error(world.nodes[0].daemon_command(), &world.nodes[0].netns)?;
    ensure!(said.contains("another") || said.contains("lock"), "{said}");
    ensure!(text(&world.nodes[0].mapping()?[0], "phase") == "Ready", "the first daemon suffered");
    Ok(())
}
