//! How the shipped daemon reaches the API: never in plain HTTP unless an endpoint says so, never past a certificate
//! that does not fit or that nobody it believes vouches for, and by the proxy the environment names.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use terway_rig::eventually::eventually;
use terway_rig::world::{Plan, World};

use crate::between::{self, Identity};
use crate::cloud_trouble::says;
use crate::support::{LIMIT, Scenario, both, once, started, wait_warm};

// Made for the tests of the client: an authority, servers of its, and another authority.
const CA: &[u8] = include_bytes!("../../crates/terway-cloud/src/transport/tests/ca.pem");
const OTHER_CA: &[u8] = include_bytes!("../../crates/terway-cloud/src/transport/tests/other-ca.pem");
const SERVER: Identity = (
    include_bytes!("../../crates/terway-cloud/src/transport/tests/server.pem"),
    include_bytes!("../../crates/terway-cloud/src/transport/tests/server.key"),
);
const ELSEWHERE: Identity = (
    include_bytes!("../../crates/terway-cloud/src/transport/tests/elsewhere.pem"),
    include_bytes!("../../crates/terway-cloud/src/transport/tests/elsewhere.key"),
);
const EXPIRED: Identity = (
    include_bytes!("../../crates/terway-cloud/src/transport/tests/expired.pem"),
    include_bytes!("../../crates/terway-cloud/src/transport/tests/expired.key"),
);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("transport::an_endpoint_without_a_scheme_is_not_asked_in_plain_http", plain),
        both("transport::a_certificate_nobody_vouches_for_is_refused", |plan| {
            refused(plan, SERVER, None, "invalid peer certificate")
        }),
        both("transport::a_certificate_of_another_authority_is_refused", |plan| {
            refused(plan, SERVER, Some(OTHER_CA), "UnknownIssuer")
        }),
        both("transport::a_certificate_of_another_host_is_refused", |plan| {
            refused(plan, ELSEWHERE, Some(CA), "not valid for name")
        }),
        both("transport::an_expired_certificate_is_refused", |plan| {
            refused(plan, EXPIRED, Some(CA), "expired")
        }),
        both("transport::a_given_authority_is_believed", given),
        both("transport::calls_go_by_the_proxy_and_metadata_does_not", proxied),
        once("transport::useless_authorities_end_the_start_and_are_named", useless),
    ]
}

/// The simulated API speaks plain HTTP at this very address: it must not hear a thing.
fn plain(plan: &Plan) -> Result<()> {
    let mut world = started(plan)?;
    world.nodes[0].api = world.nodes[0].api.replace("http://", "") + ":80";
    world.nodes[0].start()?;
    says(&world, "cloud-unavailable")?;
    let calls = world.cloud_calls(0)?;
    ensure!(calls.is_empty(), "the API was asked in plain HTTP: {calls:?}");
    Ok(())
}

/// Tells the daemon whom to believe.
fn believe(world: &mut World, authorities: &[u8]) -> Result<PathBuf> {
    let node = &mut world.nodes[0];
    let path = node.path("authorities.pem");
    fs::write(&path, authorities)?;
    node.flags.extend(["--cloud-ca-file".to_owned(), path.display().to_string()]);
    Ok(path)
}

fn refused(plan: &Plan, identity: Identity, authorities: Option<&[u8]>, expected: &str) -> Result<()> {
    let mut world = started(plan)?;
    let (server, seen) = between::tls(&world.nodes[0].netns, identity)?;
    if let Some(authorities) = authorities {
        believe(&mut world, authorities)?;
    }
    world.nodes[0].api = format!("https://{server}");
    world.nodes[0].start()?;
    says(&world, expected)?;
    eventually("the server was reached", LIMIT, || {
        (seen.connections.load(Ordering::Relaxed) > 0).then_some(())
    })?;
    let asked = seen.requests.load(Ordering::Relaxed);
    ensure!(asked == 0, "{asked} requests were sent to a server that shows a wrong certificate");
    Ok(())
}

/// A running node whose calls go by TLS.
fn given(plan: &Plan) -> Result<()> {
    let mut world = started(plan)?;
    let (server, seen) = between::tls(&world.nodes[0].netns, SERVER)?;
    believe(&mut world, &[OTHER_CA, CA].concat())?;
    world.nodes[0].api = format!("https://{server}");
    world.boot()?;
    wait_warm(&world.nodes[0], plan.pool.0)?;
    ensure!(seen.requests.load(Ordering::Relaxed) > 0, "the calls went another way");
    Ok(())
}

/// Whatever is asked in plain HTTP would end at a closed port, if it went by the proxy for that.
fn proxied(plan: &Plan) -> Result<()> {
    let mut world = started(plan)?;
    let (server, asked) = between::tls(&world.nodes[0].netns, SERVER)?;
    let (proxy, connected) = between::proxy(&world.nodes[0].netns)?;
    believe(&mut world, CA)?;
    let node = &mut world.nodes[0];
    node.api = format!("https://{server}");
    let variables =
        [("HTTPS_PROXY", format!("http://{proxy}")), ("http_proxy", "http://127.0.0.1:9".to_owned())];
    node.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    world.boot()?;
    wait_warm(&world.nodes[0], plan.pool.0)?;
    let (asked, connected) = (&asked.connections, &connected.requests);
    let (asked, connected) = (asked.load(Ordering::Relaxed), connected.load(Ordering::Relaxed));
    ensure!(connected > 0 && connected == asked, "{asked} connections, of which {connected} by the proxy");
    Ok(())
}

fn useless(plan: &Plan) -> Result<()> {
    let mut world = started(plan)?;
    let path = believe(&mut world, b"no certificate")?;
    for missing in [false, true] {
        if missing {
            fs::remove_file(&path)?;
        }
        world.nodes[0].start()?;
        world.nodes[0].wait_end()?;
        let log = world.nodes[0].log_tail();
        let reason = if missing { "No such file" } else { "no PEM certificate" };
        let last = log.lines().last().context("nothing was said")?;
        ensure!(last.contains(&path.display().to_string()) && last.contains(reason), "{log}");
    }
    Ok(())
}
