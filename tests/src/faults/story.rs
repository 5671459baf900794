//! What a node lives through in every cell: its pool warms up, its groups change, pods come and go, surplus leaves.
//! Whatever fails is asked for again, as a kubelet does. In the end one pod is left, and everybody's books must agree.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::manner::{Hand, Kind};
use super::{Cell, Mode};
use crate::books;
use crate::caller::Caller;
use crate::cloud::Names;
use crate::eventually::eventually;
use crate::linear::{Answer, Ask};
use crate::node::Node;
use crate::pod::Pod;
use crate::world::{Plan, World, eni_conf};

/// How long a part of the story may take, faults and all: two looks of the daemon at everything, half a minute apart,
/// and what follows from them.
const PATIENCE: Duration = Duration::from_secs(100);

/// The change of an ENI's groups.
const MODIFY: &str = "ModifyNetworkInterfaceAttribute";

/// What the story and the trouble maker share.
struct Stage {
    world: World,
    /// The process of the daemon that lives now.
    pid: AtomicI32,
    /// Whether the story is over.
    over: AtomicBool,
}

/// Tells a cell's story in a world of its own; how long it took.
pub(super) fn tell(cell: &Cell, name: &str, binaries: &Path, directory: &Path) -> Result<Duration> {
    let plan = plan(cell, name);
    let mut world = World::start(&plan, binaries, directory)?;
    let mut node = world.nodes.pop().context("the world has no node")?;
    world.change("/v1/faults", &cell.manner.orders(cell.cloud, cell.action))?;
    let stage = Stage { world, pid: AtomicI32::new(0), over: AtomicBool::new(false) };
    let begun = Instant::now();
    let (told, struck) = thread::scope(|scope| {
        let trouble = scope.spawn(|| trouble(cell, &stage));
        let told = match cell.mode {
            Mode::Exclusive => exclusive(cell, &stage, &mut node, &plan),
            Mode::Shared => shared(&stage, &mut node),
        };
        stage.over.store(true, Ordering::Release);
        (told.with_context(|| node.log_tail()), trouble.join())
    });
    let pods = told?;
    let took = begun.elapsed();
    struck.map_err(|_| anyhow!("the trouble maker panicked"))??;
    node.kill()?;
    let namespaces: Vec<&Path> = pods.iter().map(|pod| pod.netns.as_path()).collect();
    books::agree(&stage.world, &node, &namespaces)?;
    Ok(took)
}

fn plan(cell: &Cell, name: &str) -> Plan {
    let (pool, enis) = if cell.mode == Mode::Exclusive { ((1, 1), 4) } else { ((0, 0), 3) };
    Plan {
        name: name.to_owned(),
        cloud: cell.cloud,
        shared: cell.mode == Mode::Shared,
        addresses: 4,
        enis,
        pool,
        quarantine: "10ms".to_owned(),
        latency: [5, 50, 50, 5],
        // What only a look at everything can find is found soon, though two looks are half a minute apart.
        keys: vec![("eni_release_interval", json!("100ms")), ("ip_pool_sync_period", json!("10s"))],
        ..Plan::default()
    }
}

/// Makes the trouble that is more than an order, and sees to it that what was ordered came about.
fn trouble(cell: &Cell, stage: &Stage) -> Result<()> {
    let world = &stage.world;
    let names = cell.cloud.names();
    match &cell.manner.kind {
        Kind::Nothing => {}
        Kind::Calls(..) | Kind::Refused(..) => {
            eventually("the story is over", PATIENCE * 4, || {
                stage.over.load(Ordering::Acquire).then_some(())
            })?;
            let calls = world.cloud_calls(0)?;
            let struck = calls.iter().any(|call| call["action"] == cell.action && !call["fault"].is_null());
            ensure!(struck, "no call of {} was made: the cell shows nothing", cell.action);
        }
        Kind::Death(_) => {
            eventually("a call is with the cloud", PATIENCE, || {
                (!world.held_calls().ok()?.is_empty()).then_some(())
            })?;
            let pid = stage.pid.load(Ordering::Acquire);
            ensure!(pid > 0, "no daemon runs");
            kill(Pid::from_raw(pid), Signal::SIGKILL).context("failed to kill terwayd")?;
            world.change("/v1/faults", &json!([]))?;
        }
        Kind::Standing(on, off) => {
            change(world, on(names))?;
            if let Some((off, pause)) = off {
                let _ = eventually("the story ends first", *pause, || {
                    stage.over.load(Ordering::Acquire).then_some(())
                });
                change(world, off(names))?;
            }
        }
        Kind::Hand(hand) => lay_hands(hand, names, world)?,
    }
    Ok(())
}

fn change(world: &World, (path, body): (String, Value)) -> Result<()> {
    world.change(&path, &body).map(drop)
}

/// Does what a person does as soon as there is an ENI to do it to, and the node has seen it so: people are slow.
fn lay_hands(hand: &Hand, names: &Names, world: &World) -> Result<()> {
    if let Some((before, _)) = hand.meanwhile {
        change(world, before(names))?;
    }
    let eni = eventually(&format!("an ENI is {}", hand.state), PATIENCE, || {
        let enis = world.cloud_enis().ok()?;
        let found = enis.iter().find(|eni| eni["status"] == hand.state)?;
        found["id"].as_str().map(str::to_owned)
    })?;
    let before = world.cloud_calls(0)?.last().and_then(|call| call["seq"].as_u64()).unwrap_or_default();
    eventually("the node looks at its ENIs", PATIENCE, || {
        let calls = world.cloud_calls(before).ok()?;
        let looks = |call: &Value| call["action"] == "DescribeNetworkInterfaces" && call["outcome"] == "ok";
        calls.iter().any(looks).then_some(())
    })?;
    if let Some((_, after)) = hand.meanwhile {
        change(world, after(names))?;
    }
    change(world, (format!("/v1/console/enis/{eni}/{}", hand.deed), (hand.details)(names)))
}

/// A daemon that died is started again, as Kubernetes does.
fn keep_alive(stage: &Stage, node: &mut Node) -> Result<()> {
    if !node.is_running() {
        node.start()?;
        let pid = node.daemon_pid().context("a daemon without a process")?;
        stage.pid.store(i32::try_from(pid)?, Ordering::Release);
    }
    Ok(())
}

/// Waits for something on a node whose daemon is kept alive.
fn sees<T>(
    what: &str,
    stage: &Stage,
    node: &mut Node,
    mut look: impl FnMut(&mut Node) -> Option<T>,
) -> Result<T> {
    eventually(what, PATIENCE, || {
        keep_alive(stage, node).ok()?;
        look(node)
    })
}

fn exclusive(cell: &Cell, stage: &Stage, node: &mut Node, plan: &Plan) -> Result<Vec<Pod>> {
    sees("the pool is warm", stage, node, |node| (node.phases().ok()? == ["Ready"]).then_some(()))?;
    let mut conf = eni_conf(plan);
    regroup(cell, stage, node, &mut conf)?;
    let mut pod = node.pod("web")?;
    let result = sees("the pod has an ENI", stage, node, |_| added(&pod))?;
    pod.result = Some(result);
    sees("the pool is warm again", stage, node, |node| {
        let mut phases = node.phases().ok()?;
        phases.sort();
        (phases == ["InUse", "Ready"]).then_some(())
    })?;
    (conf["min_pool_size"], conf["max_pool_size"]) = (json!(0), json!(0));
    node.configure(&conf)?;
    sees("only the pod's ENI is left", stage, node, |node| {
        let left = stage.world.cloud_enis().ok()?.len();
        (left == 1 && node.phases().ok()? == ["InUse"]).then_some(())
    })
    .with_context(|| format!("{:?}", stage.world.cloud_enis()))?;
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK in the end")?;
    Ok(vec![pod])
}

/// The idle ENI gets other groups. Some time after its start a daemon rather makes another ENI than to change one, so
/// where the change is what may go wrong, the groups change to and fro until it is asked for.
fn regroup(cell: &Cell, stage: &Stage, node: &mut Node, conf: &mut Value) -> Result<()> {
    let names = cell.cloud.names();
    let begun = Instant::now();
    for group in [names.other_group, names.group].into_iter().cycle() {
        conf["security_group"] = json!(group);
        node.configure(conf)?;
        sees("the idle ENI is in the new group", stage, node, |node| {
            let enis = stage.world.cloud_enis().ok()?;
            let regrouped = enis.iter().all(|eni| eni["security_groups"] == json!([group]));
            (regrouped && node.phases().ok()? == ["Ready"]).then_some(())
        })?;
        let asked = || -> Result<bool> {
            Ok(stage.world.cloud_calls(0)?.iter().any(|call| call["action"] == cell.action))
        };
        if cell.action != MODIFY || asked()? {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE * 2, "no ENI was re-grouped");
    }
    Ok(())
}

/// One try of a runtime: ADD, and DEL after a failure.
fn added(pod: &Pod) -> Option<crate::plugin::Outcome> {
    let outcome = pod.call("ADD").configured("allocate_timeout", json!(10)).run().ok()?;
    if outcome.ok() {
        return Some(outcome);
    }
    pod.call("DEL").run().ok()?;
    None
}

fn shared(stage: &Stage, node: &mut Node) -> Result<Vec<Pod>> {
    let start = Instant::now();
    let mut given = BTreeSet::new();
    let asked = |node: &mut Node, ask: &Ask| -> Result<Answer> {
        let what = format!("{ask:?} is answered");
        sees(&what, stage, node, |node| {
            let mut caller = Caller::new(start, Duration::from_secs(10)).ok()?;
            let answer = caller.call(&node.socket(), ask.clone())?.answer;
            matches!(answer, Answer::Holds(_) | Answer::Released(_)).then_some(answer)
        })
    };
    for number in 0..3 {
        let answer = asked(node, &Ask::Add(format!("pod{number}")))?;
        let Answer::Holds(address) = answer else { bail!("an ADD was answered by {answer:?}") };
        ensure!(given.insert(address), "{address} was given twice");
    }
    for number in 1..3 {
        asked(node, &Ask::Del(format!("pod{number}")))?;
    }
    let alone = |eni: &Value, family: &str| eni[family].as_array().is_some_and(|list| list.len() == 1);
    sees("only one pair of addresses is left", stage, node, |node| {
        let enis = stage.world.cloud_enis().ok()?;
        let few = enis.len() == 1 && alone(&enis[0], "ipv4") && alone(&enis[0], "ipv6");
        (few && node.phases().ok()? == ["Ready"]).then_some(())
    })
    .with_context(|| format!("{:?}", stage.world.cloud_enis()))?;
    Ok(Vec::new())
}
