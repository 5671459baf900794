//! Connections: who the server sees, and how much goes through.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::namespace;

/// A server inside a namespace that tells each client the address it came from.
pub struct Mirror {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Mirror {
    /// Starts it; it serves until the process ends.
    pub fn start(netns: &Path, address: SocketAddr) -> Result<Self> {
        let listener = listen(netns, address)?;
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if let Ok(peer) = stream.peer_addr() {
                    let _ = stream.write_all(peer.to_string().as_bytes());
                }
            }
        });
        Ok(Self { address })
    }
}

/// Connects from `netns` to a [`Mirror`], perhaps behind a translated address: the client as the server sees it.
pub fn ask(netns: &Path, server: SocketAddr, limit: Duration) -> Result<SocketAddr> {
    namespace::inside(netns, move || {
        let mut stream = TcpStream::connect_timeout(&server, limit)
            .with_context(|| format!("failed to connect to {server} within {limit:?}"))?;
        stream.set_read_timeout(Some(limit)).context("failed to set a time limit")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).with_context(|| format!("no answer from {server}"))?;
        text.parse().with_context(|| format!("{server} answered {text:?}"))
    })?
}

/// Sends from `client` to `server` (a namespace and a free address in it) for about `duration`; bytes per second
/// as the receiver counts them.
pub fn throughput(client: &Path, server: &Path, address: SocketAddr, duration: Duration) -> Result<f64> {
    let listener = listen(server, address)?;
    let receiver: JoinHandle<Result<f64>> = thread::spawn(move || {
        let (mut stream, _) = listener.accept().context("nobody connected")?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).context("failed to set a time limit")?;
        receive(&mut stream)
    });
    namespace::inside(client, move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
            .with_context(|| format!("failed to connect to {address}"))?;
        stream.set_write_timeout(Some(Duration::from_secs(5))).context("failed to set a time limit")?;
        let block = vec![0x5a; 256 * 1024];
        let start = Instant::now();
        while start.elapsed() < duration {
            stream.write_all(&block).context("failed to send")?;
        }
        Ok::<_, anyhow::Error>(())
    })??;
    receiver.join().map_err(|_| anyhow!("the receiver panicked"))?
}

/// Counts from the first byte to the last.
fn receive(stream: &mut TcpStream) -> Result<f64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0u64;
    let mut first = None;
    loop {
        let count = stream.read(&mut buffer).context("failed to receive")?;
        if count == 0 {
            break;
        }
        first.get_or_insert_with(Instant::now);
        total += count as u64;
    }
    let seconds = first.context("nothing was received")?.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    Ok(total as f64 / seconds)
}

fn listen(netns: &Path, address: SocketAddr) -> Result<TcpListener> {
    namespace::inside(netns, move || {
        TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))
    })?
}
