//! A metadata service that lies: it stands between a node and the real one and answers one question itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};

use crate::namespace;

/// Starts one inside `netns`, in front of the service at `real`. Questions whose path ends with `about` get `answer`,
/// or are told that there is no such thing. Where it listens.
pub fn stand_in(
    netns: &Path,
    real: SocketAddr,
    about: &'static str,
    answer: Option<&'static str>,
) -> Result<SocketAddr> {
    let listener = namespace::inside(netns, || TcpListener::bind("127.0.0.1:0"))??;
    let address = listener.local_addr()?;
    let netns = netns.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // Whoever hangs up early has what they wanted.
            let _ = serve(client, &netns, real, about, answer);
        }
    });
    Ok(address)
}

fn serve(
    mut client: TcpStream,
    netns: &Path,
    real: SocketAddr,
    about: &str,
    answer: Option<&str>,
) -> Result<()> {
    let head = read_head(&mut client)?;
    let path = head.split(' ').nth(1).context("no path")?;
    if path.ends_with(about) {
        let (status, body) = answer.map_or(("404 Not Found", ""), |text| ("200 OK", text));
        let length = body.len();
        let reply =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        return client.write_all(reply.as_bytes()).context("the client left");
    }
    let mut upstream = namespace::inside(netns, move || TcpStream::connect(real))??;
    let closing = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    upstream.write_all(closing.as_bytes())?;
    let mut reply = Vec::new();
    upstream.read_to_end(&mut reply)?;
    client.write_all(&reply).context("the client left")
}

/// A request without a body, as reads of metadata are.
fn read_head(client: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    String::from_utf8(head).context("the request is no text")
}
