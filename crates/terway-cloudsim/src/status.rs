//! Asks a running simulation for its page as text, over the control socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The page cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The socket does not answer.
    #[error("failed to reach a simulation at {}", path.display())]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What answers is no simulation.
    #[error("failed to understand the answer at {}: {answer:?}", path.display())]
    Strange {
        /// The control socket.
        path: PathBuf,
        /// How the answer begins.
        answer: String,
    },
}

/// The page of the simulation with this control socket.
pub fn page(control: &Path) -> Result<String, StatusError> {
    let answer =
        ask(control).map_err(|source| StatusError::Unreachable { path: control.to_owned(), source })?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => {
            let answer = answer.lines().next().unwrap_or_default().to_owned();
            Err(StatusError::Strange { path: control.to_owned(), answer })
        }
    }
}

/// One exchange; the connection ends with the answer, whose length is known, so it comes in one piece.
fn ask(control: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(control)?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\naccept: text/plain\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
