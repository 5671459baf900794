//! The keys a node has: those of its instance's role end and are renewed while pods come and go; and none of them is left
//! behind anywhere.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use terway_rig::cloud::Feature;
use terway_rig::node::Node;
use terway_rig::world::{ADDON_KEYS, Plan, ROLE_SECRET, ROLE_TOKEN, SECRET, World};

use crate::support::{LIMIT, Scenario, audit, booted, both, started, wait_quiet, with};

/// How long a token of the role lives: a few of them end in one scenario.
const LIFE: Duration = Duration::from_secs(6);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("keys::the_role_of_the_instance_serves_longer_than_its_tokens_live", role),
        with(Feature::AddonToken, "keys::a_mounted_token_is_replaced_while_pods_come_and_go", addon_token),
        both("keys::a_configured_key_is_found_nowhere", |plan| nowhere(plan, &[SECRET])),
        both("keys::a_key_of_the_role_is_found_nowhere", |plan| {
            let role = Some(u32::try_from(LIFE.as_millis())?);
            nowhere(&Plan { role, ..plan.clone() }, &[ROLE_SECRET, ROLE_TOKEN])
        }),
    ]
}

fn role(plan: &Plan) -> Result<()> {
    let role = Some(u32::try_from(LIFE.as_millis())?);
    let keys = vec![("eni_release_interval", json!("100ms"))];
    let mut world = booted(&Plan { role, pool: (0, 0), keys, ..plan.clone() })?;
    let begun = Instant::now();
    let mut number = 0;
    // Nothing is kept warm, so every pod costs the cloud calls: there are some with every token.
    while begun.elapsed() < LIFE * 3 {
        let mut pod = world.nodes[0].pod(&format!("web{number}"))?;
        pod.add().with_context(|| world.nodes[0].log_tail())?;
        pod.del()?;
        wait_quiet(&world.nodes[0])?;
        number += 1;
    }
    let calls = world.cloud_calls(0)?;
    let at = |call: &Value| call["at_ms"].as_u64().unwrap_or_default();
    let (Some(first), Some(last)) = (calls.first().map(at), calls.last().map(at)) else { bail!("no calls") };
    ensure!(
        u128::from(last - first) > 2 * LIFE.as_millis(),
        "no call was made with a later token: {number} pods"
    );
    let refused = calls.iter().find(|call| call["outcome"] != "ok" && call["key"] == "sim-role-key");
    ensure!(refused.is_none(), "a call was refused: {refused:?}");
    ensure!(calls.iter().all(|call| call["key"] == "sim-role-key"), "another key was used");
    audit(&world)
}

/// The parts of [`ADDON_KEYS`] as a token file has them, by `openssl enc -aes-128-cbc` with [`KEYRING`]; the vector in
/// front is 00 01 .. 0f.
const SEALED: [[&str; 3]; 2] = [
    [
        "AAECAwQFBgcICQoLDA0OD+zXxPUZ+k/SRu8AcJffTqA=",
        "AAECAwQFBgcICQoLDA0OD9ynaVdPDzxTa1IyNUwMWvA=",
        "AAECAwQFBgcICQoLDA0OD+fETKNgNmuCR5Dj0cHfDcQ=",
    ],
    [
        "AAECAwQFBgcICQoLDA0OD88ef66vG5ALL1xnsgmdCfc=",
        "AAECAwQFBgcICQoLDA0OD0Fsa4Fcnfrm0vkkY/KVjX4=",
        "AAECAwQFBgcICQoLDA0OD/2J1tDi9VIMRjfiAH56dDU=",
    ],
];
const KEYRING: &str = "0123456789abcdef";

/// Mounts one of the keys, as a kubelet does: the file is replaced as a whole.
fn mount(path: &Path, [id, secret, token]: [&str; 3]) -> Result<()> {
    let file = json!({
        "access.key.id": id, "access.key.secret": secret, "security.token": token,
        "expiration": "2099-01-01T00:00:00Z", "keyring": KEYRING,
    });
    let fresh = path.with_extension("new");
    fs::write(&fresh, file.to_string())?;
    fs::rename(fresh, path).context("failed to replace the token file")
}

fn addon_token(plan: &Plan) -> Result<()> {
    // The role's key would do as well, but is looked for later.
    let keys = vec![("eni_release_interval", json!("100ms"))];
    let mut world = started(&Plan { role: Some(3_600_000), pool: (0, 0), keys, ..plan.clone() })?;
    let path = world.nodes[0].path("token-config");
    let mut conf: Value = serde_json::from_slice(&fs::read(world.nodes[0].path("eni_conf"))?)?;
    conf["credential_path"] = json!(path);
    world.nodes[0].configure(&conf)?;
    mount(&path, SEALED[0])?;
    world.boot()?;
    let mut number = 0;
    let mut live = |world: &mut World| -> Result<()> {
        number += 1;
        let mut pod = world.nodes[0].pod(&format!("web{number}"))?;
        pod.add().with_context(|| world.nodes[0].log_tail())?;
        pod.del()?;
        wait_quiet(&world.nodes[0])
    };
    live(&mut world)?;
    let [[first, ..], [second, ..]] = ADDON_KEYS;
    let before = world.cloud_calls(0)?;
    ensure!(before.iter().all(|call| call["key"] == first), "another key was used: {before:?}");
    mount(&path, SEALED[1])?;
    let deadline = Instant::now() + LIMIT;
    while world.cloud_calls(0)?.last().is_none_or(|call| call["key"] != second) {
        ensure!(Instant::now() < deadline, "the second key was not used\n{}", world.nodes[0].log_tail());
        live(&mut world)?;
    }
    // Whoever replaced the key ends the old one.
    world.change(&format!("/v1/credentials/{first}"), &json!({ "state": "inactive" }))?;
    live(&mut world)?;
    let calls = world.cloud_calls(0)?;
    let refused = calls.iter().find(|call| call["outcome"] != "ok");
    ensure!(refused.is_none(), "a call was refused: {refused:?}");
    audit(&world)
}

/// Everything a node does, told in as many words as it has, with refusals of several kinds.
fn nowhere(plan: &Plan, secrets: &[&str]) -> Result<()> {
    let mut world = started(&Plan { pool: (0, 1), ..plan.clone() })?;
    world.nodes[0].flags.extend(["--log-level", "trace"].map(str::to_owned));
    let refusals = ["error:Throttling", "drop-before", "garble:html", "garble:truncated"];
    let refusals =
        refusals.map(|kind| json!({ "action": "CreateNetworkInterface", "kind": kind, "times": 1 }));
    world.change("/v1/faults", &json!(refusals))?;
    world.boot()?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    let node = &world.nodes[0];
    let mut said = vec![("metrics".to_owned(), metrics(node)?)];
    for words in [&["status"][..], &["mapping", "-o", "json"], &["history"], &["events"], &["inventory"]] {
        let output = node.cli(words)?;
        said.push((words.join(" "), [output.stdout, output.stderr].concat()));
    }
    world.change("/v1/manners", &json!({ "denied": ["*"] }))?;
    pod.del()?;
    world.nodes[0].kill()?;
    let node = &world.nodes[0];
    read_all(&node.directory, &mut said)?;
    read_all(&node.run, &mut said)?;
    let told = said.iter().any(|(name, text)| name.ends_with("terwayd.log") && text.len() > 1000);
    ensure!(told && said.len() > 8, "there is nothing to search: {} texts", said.len());
    for (name, text) in &said {
        for secret in secrets {
            let found = text.windows(secret.len()).any(|part| part == secret.as_bytes());
            // The operator's file is where the secret is from.
            ensure!(!found || name.ends_with("eni_conf"), "{secret:?} is in {name}");
        }
    }
    Ok(())
}

fn metrics(node: &Node) -> Result<Vec<u8>> {
    let mut stream =
        UnixStream::connect(node.run.join("eni_debug.socket")).context("no metrics are served")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "no metrics: {}", String::from_utf8_lossy(&answer));
    Ok(answer)
}

/// The files of a folder and of those in it.
fn read_all(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, into)?;
        } else if path.is_file() {
            into.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(())
}
