//! Servers that stand between a node and the cloud's API, in the node's namespace: one that speaks TLS for it, and a
//! proxy that connects.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use terway_rig::namespace;

/// Where the simulated API listens.
const API: &str = "100.100.100.201:80";

/// A server's certificate and its key.
pub(crate) type Identity = (&'static [u8], &'static [u8]);

/// What a server of ours saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Who came.
    pub(crate) connections: AtomicUsize,
    /// Whole requests that were asked.
    pub(crate) requests: AtomicUsize,
}

/// A TLS server in the node's namespace that hands requests on to the API. Where it listens, and what it saw.
pub(crate) fn tls(netns: &Path, (certificate, key): Identity) -> Result<(SocketAddr, Arc<Seen>)> {
    let certificates = vec![CertificateDer::from_pem_slice(certificate).context("no certificate")?];
    let key = PrivateKeyDer::from_pem_slice(key).context("no key")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    let config = Arc::new(config);
    serve(netns, move |client, netns, seen| {
        let connection = ServerConnection::new(Arc::clone(&config))?;
        let mut stream = StreamOwned::new(connection, client);
        // A client that does not believe the certificate ends the handshake, so that nothing can be read.
        let request = read_request(&mut stream)?;
        seen.requests.fetch_add(1, Ordering::Relaxed);
        let mut api = connect(netns, API.parse()?)?;
        api.write_all(&request)?;
        let mut answer = Vec::new();
        api.read_to_end(&mut answer)?;
        stream.write_all(&answer)?;
        stream.conn.send_close_notify();
        stream.flush().context("the client left")
    })
}

/// A proxy in the node's namespace that connects (`CONNECT`) and does nothing else.
pub(crate) fn proxy(netns: &Path) -> Result<(SocketAddr, Arc<Seen>)> {
    serve(netns, |mut client, netns, seen| {
        let head = String::from_utf8(read_head(&mut client)?)?;
        let mut words = head.split(' ');
        ensure!(words.next() == Some("CONNECT"), "asked for something else: {head}");
        let server = connect(netns, words.next().context("no server")?.parse()?)?;
        seen.requests.fetch_add(1, Ordering::Relaxed);
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        let back = thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (client, server);
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        let _ = back.join();
        Ok(())
    })
}

/// Listens in the node's namespace; every client is served on a thread of its own.
fn serve(
    netns: &Path,
    one: impl Fn(TcpStream, &Path, &Seen) -> Result<()> + Send + Sync + 'static,
) -> Result<(SocketAddr, Arc<Seen>)> {
    let listener = namespace::inside(netns, || TcpListener::bind("127.0.0.1:0"))??;
    let (address, seen, one) = (listener.local_addr()?, Arc::new(Seen::default()), Arc::new(one));
    let (told, netns) = (Arc::clone(&seen), PathBuf::from(netns));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            told.connections.fetch_add(1, Ordering::Relaxed);
            let (one, netns, told) = (Arc::clone(&one), netns.clone(), Arc::clone(&told));
            // Whoever hangs up early has what they wanted.
            thread::spawn(move || one(client, &netns, &told));
        }
    });
    Ok((address, seen))
}

fn connect(netns: &Path, server: SocketAddr) -> Result<TcpStream> {
    namespace::inside(netns, move || TcpStream::connect(server))?.context("the server is away")
}

fn read_head(client: &mut impl Read) -> Result<Vec<u8>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(client.read(&mut byte)? == 1 && head.len() < 1 << 16, "no whole head");
        head.push(byte[0]);
    }
    Ok(head)
}

/// A request, told to be the last of its connection.
fn read_request(client: &mut impl Read) -> Result<Vec<u8>> {
    let head = String::from_utf8(read_head(client)?)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body)?;
    let closing = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    Ok([closing.as_bytes(), &body].concat())
}
