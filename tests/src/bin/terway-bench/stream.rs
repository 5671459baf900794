//! Own sender and receiver: how much goes through a path, how soon it is answered, how many small packets it takes, and
//! what all of it costs the processors. Each end is a thread with a socket of its pod's
//! namespace, on a processor of its own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use terway_rig::namespace;
use terway_rig::probe::udp;

use crate::machine::{self, End};
use crate::stats::Samples;

/// How long each sender sends.
const SENDING: Duration = Duration::from_millis(250);
/// How long an end waits for the other one.
const LIMIT: Duration = Duration::from_secs(10);
/// When a receiver of datagrams takes silence for the end.
const SILENCE: Duration = Duration::from_millis(200);
/// Questions of one byte, each answered before the next.
const QUESTIONS: usize = 2_000;
/// Questions before these: neighbours become known, caches fill.
const WARM_UP: usize = 100;
/// Bytes of a small datagram.
const SMALL: usize = 64;
const BLOCK: usize = 256 * 1024;
const PORT: u16 = 7_070;

/// Two namespaces with a way between them.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) client: PathBuf,
    pub(crate) server: PathBuf,
    /// Of the server, IPv4 and IPv6.
    pub(crate) addresses: [IpAddr; 2],
}

/// One turn over one way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) bytes: f64,
    pub(crate) seconds: f64,
    /// Of all processors while the bytes went through.
    pub(crate) busy_seconds: f64,
    /// Milliseconds.
    pub(crate) answer_p50: f64,
    pub(crate) answer_p99: f64,
    /// That arrived.
    pub(crate) datagrams_per_second: f64,
}

impl Way {
    /// Everything once, in one family (0: IPv4, 1: IPv6).
    pub(crate) fn turn(&self, family: usize) -> Result<Turn> {
        let server = SocketAddr::new(self.addresses[family], PORT);
        let answers = self.answers(server)?;
        let before = machine::busy()?;
        let (bytes, seconds) = self.bulk(server)?;
        let busy = machine::busy()?.saturating_sub(before);
        Ok(Turn {
            bytes,
            seconds,
            busy_seconds: busy.as_secs_f64(),
            answer_p50: answers.quantile(0.5),
            answer_p99: answers.quantile(0.99),
            datagrams_per_second: self.datagrams(server)?,
        })
    }

    /// A connection, both ends: the client's and the server's. Nobody waits for who may not come.
    fn connected(&self, server: SocketAddr) -> Result<[TcpStream; 2]> {
        let listener = namespace::inside(&self.server, move || TcpListener::bind(server))?
            .with_context(|| format!("failed to listen on {server}"))?;
        let near = namespace::inside(&self.client, move || TcpStream::connect_timeout(&server, LIMIT))?
            .with_context(|| format!("failed to reach {server}"))?;
        let (far, _) = listener.accept().context("nobody connected")?;
        for end in [&near, &far] {
            end.set_nodelay(true).context("failed to send at once")?;
            end.set_read_timeout(Some(LIMIT)).context("failed to set a time limit")?;
            end.set_write_timeout(Some(LIMIT)).context("failed to set a time limit")?;
        }
        Ok([near, far])
    }

    /// Bytes received, and seconds from the first to the last.
    fn bulk(&self, server: SocketAddr) -> Result<(f64, f64)> {
        let [mut near, far] = self.connected(server)?;
        let send = move || {
            let (block, start) = (vec![0x5a; BLOCK], Instant::now());
            while start.elapsed() < SENDING {
                near.write_all(&block).context("failed to send")?;
            }
            Ok(())
        };
        let (received, ()) = at_once(move || drain(far), send)?;
        Ok(received)
    }

    /// How soon each question was answered.
    fn answers(&self, server: SocketAddr) -> Result<Samples> {
        let [mut near, mut far] = self.connected(server)?;
        let answer = move || {
            let mut byte = [0];
            while far.read(&mut byte).context("failed to receive a question")? == 1 {
                far.write_all(&byte).context("failed to answer")?;
            }
            Ok(())
        };
        let ask = move || {
            let (mut byte, mut answers) = ([0], Samples::new());
            for number in 0..WARM_UP + QUESTIONS {
                let start = Instant::now();
                near.write_all(&byte).context("failed to ask")?;
                near.read_exact(&mut byte).context("a question was not answered")?;
                if number >= WARM_UP {
                    answers.add(start.elapsed());
                }
            }
            Ok(answers)
        };
        let ((), answers) = at_once(answer, ask)?;
        Ok(answers)
    }

    /// Small datagrams that arrived per second, while the sender sends as many as it can.
    fn datagrams(&self, server: SocketAddr) -> Result<f64> {
        let ear = udp::bind(&self.server, server)?;
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let mouth = udp::bind(&self.client, any.parse()?)?;
        mouth.connect(server).with_context(|| format!("no way to {server}"))?;
        let send = move || {
            let (payload, start) = ([0x5a; SMALL], Instant::now());
            while start.elapsed() < SENDING {
                mouth.send(&payload).context("failed to send a datagram")?;
            }
            Ok(())
        };
        let (rate, ()) = at_once(move || count(&ear), send)?;
        Ok(rate)
    }
}

/// Runs the receiving end on the first processor, the sending one on the last.
fn at_once<A: Send, B: Send>(
    receive: impl FnOnce() -> Result<A> + Send,
    send: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let receiver = scope.spawn(|| machine::pin(End::First).and_then(|()| receive()));
        let sender = scope.spawn(|| machine::pin(End::Last).and_then(|()| send()));
        let sent = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
        let received = receiver.join().map_err(|_| anyhow!("the receiver panicked"))?;
        Ok((received?, sent?))
    })
}

fn drain(mut stream: TcpStream) -> Result<(f64, f64)> {
    let (mut buffer, mut total, mut first) = (vec![0; BLOCK], 0_u64, None);
    loop {
        let count = stream.read(&mut buffer).context("failed to receive")?;
        if count == 0 {
            break;
        }
        first.get_or_insert_with(Instant::now);
        total += count as u64;
    }
    let seconds = first.context("nothing was received")?.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    Ok((total as f64, seconds))
}

fn count(ear: &UdpSocket) -> Result<f64> {
    ear.set_read_timeout(Some(LIMIT)).context("failed to set a time limit")?;
    let mut buffer = [0; SMALL];
    ear.recv(&mut buffer).context("no datagram arrived")?;
    ear.set_read_timeout(Some(SILENCE)).context("failed to set a time limit")?;
    let (first, mut last, mut count) = (Instant::now(), Duration::ZERO, 0_u32);
    loop {
        match ear.recv(&mut buffer) {
            Ok(_) => {
                count += 1;
                last = first.elapsed();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error).context("failed to receive a datagram"),
        }
    }
    ensure!(count > 0, "one datagram arrived only");
    Ok(f64::from(count) / last.as_secs_f64())
}
