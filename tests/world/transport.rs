//! How the shipped daemon reaches the API: never in plain HTTP unless an endpoint says so, and never past a
//! certificate that nobody it believes vouches for.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};
use terway_rig::eventually::eventually;
use terway_rig::namespace;
use terway_rig::world::Plan;

use crate::cloud_trouble::says;
use crate::support::{LIMIT, Scenario, both, started};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("transport::an_endpoint_without_a_scheme_is_not_asked_in_plain_http", plain),
        both("transport::a_certificate_nobody_vouches_for_is_refused", certificate),
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

/// What a server of ours saw.
#[derive(Default)]
struct Seen {
    handshakes: AtomicUsize,
    bytes: AtomicUsize,
}

fn certificate(plan: &Plan) -> Result<()> {
    let mut world = started(plan)?;
    let seen = Arc::new(Seen::default());
    let server = serve(&world.nodes[0].netns, Arc::clone(&seen))?;
    world.nodes[0].api = format!("https://{server}");
    world.nodes[0].start()?;
    says(&world, "invalid peer certificate")?;
    eventually("the server was reached", LIMIT, || {
        (seen.handshakes.load(Ordering::Relaxed) > 0).then_some(())
    })?;
    ensure!(seen.bytes.load(Ordering::Relaxed) == 0, "a request was sent to a server nobody vouches for");
    Ok(())
}

/// A TLS server in the node's namespace, whose certificate an authority of our own signed.
fn serve(netns: &Path, seen: Arc<Seen>) -> Result<SocketAddr> {
    let certificate = include_bytes!("../../crates/terway-cloud/src/transport/tests/server.pem");
    let key = include_bytes!("../../crates/terway-cloud/src/transport/tests/server.key");
    let certificates = vec![CertificateDer::from_pem_slice(certificate).context("no certificate")?];
    let key = PrivateKeyDer::from_pem_slice(key).context("no key")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    let config = Arc::new(config);
    let listener = namespace::inside(netns, || TcpListener::bind("127.0.0.1:0"))??;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            seen.handshakes.fetch_add(1, Ordering::Relaxed);
            let Ok(mut connection) = ServerConnection::new(Arc::clone(&config)) else { continue };
            let mut request = [0; 1024];
            // A client that does not believe the certificate ends the handshake, so that nothing can be read.
            if let Ok(length) = Stream::new(&mut connection, &mut client).read(&mut request) {
                seen.bytes.fetch_add(length, Ordering::Relaxed);
            }
        }
    });
    Ok(address)
}
