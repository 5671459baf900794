//! An upgrade from a really earlier version. What its programs left on a disk is kept as files and taken over here on
//! every run. The programs themselves are too dear to build each time: with `TERWAY_EARLIER_BIN_DIR`, a folder of
//! `terway` and `terwayd` built from an earlier commit, a node is upgraded from them while pods run, and with
//! `TERWAY_RECORD=1` what they leave is kept anew.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use terway_rig::books;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::plugin::Call;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, eni_conf};

use crate::support::{LIMIT, Scenario, audit, binaries, once, started, wait_quiet, wait_warm};

/// Names the folder of an earlier version's programs.
const PROGRAMS: &str = "TERWAY_EARLIER_BIN_DIR";
/// Files of the state directory that are kept.
const LEDGER: &str = "ledger.redb";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![once("earlier::what_its_programs_left_is_taken_over", kept)];
    if env::var_os(PROGRAMS).is_some() {
        all.push(once("earlier::a_node_is_upgraded_from_its_programs_while_pods_run", upgraded));
    } else {
        eprintln!(
            "deselected: earlier::a_node_is_upgraded_from_its_programs_while_pods_run: {PROGRAMS} is not set"
        );
    }
    all
}

/// A ledger of schema 1 with a pod in it, and a release that its plugin spooled; the cloud knows nothing of either. The
/// daemon serves, keeps the mode, does the release, and a DEL of the pod that is left frees what it held.
fn kept(plan: &Plan) -> Result<()> {
    let mut world = started(&Plan { pool: (0, 2), ..plan.clone() })?;
    let node = &mut world.nodes[0];
    let state = node.path("state");
    unpack(&folder().join(LEDGER).with_extension("redb.gz"), &state.join(LEDGER))?;
    fs::create_dir_all(state.join("spool"))?;
    let told: Value = serde_json::from_slice(&fs::read(folder().join("node.json"))?)?;
    let spooled = told["spooled"]["file"].as_str().context("no name of a spool file")?;
    fs::write(state.join("spool").join(spooled), told["spooled"]["content"].to_string())?;
    // As it was then: an instance of this size would not begin with whole ENIs today, but it has begun.
    configure(node, plan)?;
    node.start()?;
    node.wait_ready()?;
    let held = |node: &Node| -> Result<Vec<String>> {
        let enis = node.mapping()?;
        Ok(enis
            .iter()
            .filter_map(|eni| eni["attachment"]["container_id"].as_str().map(str::to_owned))
            .collect())
    };
    let stays = told["stays"].as_str().context("no name of a container")?;
    eventually("only the pod that stays holds an ENI", LIMIT, || (held(node).ok()? == [stays]).then_some(()))
        .with_context(|| format!("{:?}\n{}", node.mapping(), node.log_tail()))?;
    ensure!(fs::read_dir(state.join("spool"))?.count() == 0, "the spool is not empty");
    let any = node.pod("any")?;
    let call = any.call("DEL").with("CNI_CONTAINERID", stays).with("CNI_NETNS", "");
    call.run()?.expect_ok("DEL of a pod that an earlier version added")?;
    eventually("nothing is held", LIMIT, || held(node).ok()?.is_empty().then_some(()))
        .with_context(|| format!("{:?}\n{}", node.mapping(), node.log_tail()))?;
    any.vanish()
}

fn upgraded(plan: &Plan) -> Result<()> {
    let mut world = started(&Plan { pool: (2, 4), ..plan.clone() })?;
    let (today, node) = (binaries(), &mut world.nodes[0]);
    node.binaries = earlier_programs(node)?;
    configure(node, plan)?;
    node.start()?;
    node.wait_ready()?;
    wait_warm(node, 1)?;
    let (mut stays, mut goes) = (node.pod("stays")?, node.pod("goes")?);
    stays.add()?;
    goes.add()?;
    whole_life(&mut by(node, "first", &today)?).context("today's plugin with the earlier daemon")?;

    wait_quiet(node)?;
    node.kill()?;
    let ledger = fs::read(node.path("state").join(LEDGER))?;
    goes.del().context("DEL of the earlier plugin while its daemon is away")?;
    if env::var_os("TERWAY_RECORD").is_some() {
        keep(node, &ledger, &stays)?;
    }
    node.binaries.clone_from(&today);
    node.start()?;
    node.wait_ready()?;
    eventually("the release of the earlier plugin is done", LIMIT, || {
        (node.phases().ok()?.iter().filter(|phase| *phase == "InUse").count() == 1).then_some(())
    })
    .with_context(|| node.log_tail())?;

    let earlier = stays.program.clone();
    checked(&stays, &today).context("today's plugin looks at the earlier one's pod")?;
    wait_warm(node, 1)?;
    whole_life(&mut by(node, "second", &earlier)?).context("the earlier plugin with today's daemon")?;
    wait_warm(node, 1)?;
    whole_life(&mut by(node, "third", &today)?).context("today's plugin with today's daemon")?;
    stays.del().context("DEL of the earlier plugin")?;
    wait_quiet(node)?;
    audit(&world)?;
    world.nodes[0].kill()?;
    books::agree(&world, &world.nodes[0], &[])
}

/// The configuration as it could be then.
fn configure(node: &Node, plan: &Plan) -> Result<()> {
    let mut conf = eni_conf(plan);
    conf.as_object_mut().context("a configuration that is no object")?.remove("exclusive_min_enis");
    node.configure(&conf)
}

/// A pod whose calls this plugin gets.
fn by(node: &mut Node, name: &str, programs: &Path) -> Result<Pod> {
    let mut pod = node.pod(name)?;
    pod.program = if programs.is_dir() { programs.join("terway") } else { programs.to_owned() };
    Ok(pod)
}

fn whole_life(pod: &mut Pod) -> Result<()> {
    pod.add()?;
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    pod.del()?;
    pod.vanish()
}

/// CHECK by another plugin than the one that made it.
fn checked(pod: &Pod, programs: &Path) -> Result<()> {
    let call = Call { program: programs.join("terway"), ..pod.call_with_result("CHECK") };
    call.run()?.expect_ok("CHECK").map(drop)
}

/// The earlier programs, the daemon behind a script that drops the flags it did not have.
fn earlier_programs(node: &Node) -> Result<PathBuf> {
    let folder = node.path("earlier");
    let programs = PathBuf::from(env::var_os(PROGRAMS).with_context(|| format!("{PROGRAMS} is not set"))?);
    fs::create_dir_all(&folder)?;
    for name in ["terway", "terway-cli"] {
        fs::copy(programs.join(name), folder.join(name)).with_context(|| format!("failed to copy {name}"))?;
    }
    let daemon = programs.join("terwayd");
    let help = Command::new(&daemon).arg("--help").output().context("failed to run the earlier terwayd")?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let command = node.daemon_command();
    let flags = command.get_args().filter_map(OsStr::to_str).filter(|word| word.starts_with("--"));
    let unknown: Vec<_> = flags.filter(|flag| !help.contains(flag)).collect();
    let pattern = if unknown.is_empty() { "--none".to_owned() } else { unknown.join("|") };
    let script = format!(
        "#!/bin/sh\nskip=\nfor word do shift\ncase $skip$word in\n{pattern}) skip=x;;\n\
         x*) skip=;;\n*) set -- \"$@\" \"$word\";;\nesac\ndone\nexec '{}' \"$@\"\n",
        daemon.display()
    );
    let place = folder.join("terwayd");
    fs::write(&place, script)?;
    fs::set_permissions(&place, Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("world/fixtures/earlier")
}

/// Keeps what the earlier programs left.
fn keep(node: &Node, ledger: &[u8], stays: &Pod) -> Result<()> {
    fs::create_dir_all(folder())?;
    let path = folder().join(LEDGER);
    fs::write(&path, ledger)?;
    let packed = Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(&path).status()?;
    ensure!(packed.success(), "gzip failed");
    let mut spool = fs::read_dir(node.path("state/spool"))?;
    let file = spool.next().context("the earlier plugin spooled nothing")??;
    let content: Value = serde_json::from_slice(&fs::read(file.path())?)?;
    let told = json!({
        "stays": stays.container,
        "spooled": { "file": file.file_name().to_string_lossy(), "content": content },
    });
    fs::write(folder().join("node.json"), serde_json::to_string_pretty(&told)? + "\n").map_err(Into::into)
}

fn unpack(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("gzip").args(["--decompress", "--stdout"]).arg(from).output()?;
    if !output.status.success() {
        bail!("failed to unpack {}: {}", from.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    fs::write(to, output.stdout).with_context(|| format!("failed to write {}", to.display()))
}
