//! Network cards for guests. A guest's card is a connection to a socket of ours, made when the card is set up and
//! closed when it is set down; a cable carries frames between two such sockets. Nothing of this machine's network
//! takes part, so neither root nor a tap device is needed.
//!
//! To the guest such a card is what a cloud's card is: a netdev without an rtnl kind, which comes home when the
//! namespace it is in dies.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, SockAddr, Socket, Type};

/// A frame that the far card does not take in this time is lost, as on any cable.
const FULL: Duration = Duration::from_millis(100);

/// Two plugs and what carries frames between them.
pub(super) struct Cable {
    plugs: [Arc<Plug>; 2],
    carriers: Vec<JoinHandle<()>>,
}

/// Where a card is plugged in while it is up.
struct Plug {
    path: PathBuf,
    listener: Socket,
    card: Mutex<Option<Socket>>,
}

impl Cable {
    /// A cable whose plugs are sockets of these names in the folder, whose path must be short.
    pub(super) fn new(folder: &Path, names: [&str; 2]) -> Result<Self> {
        let [one, other] = names.map(|name| Plug::new(folder.join(name)).map(Arc::new));
        let plugs = [one?, other?];
        let carry = |from: usize, to: usize| {
            let (from, to) = (Arc::clone(&plugs[from]), Arc::clone(&plugs[to]));
            thread::spawn(move || from.carry_to(&to))
        };
        let carriers = vec![carry(0, 1), carry(1, 0)];
        Ok(Self { plugs, carriers })
    }

    /// The word on a guest's command line that makes a plug (0 or 1) its card of this number. The card's MAC ends in
    /// `mac`.
    pub(super) fn card(&self, plug: usize, number: usize, mac: u8) -> String {
        let path = self.plugs[plug].path.display();
        format!("vec{number}:transport=bess,dst={path},mac=00:16:3e:00:07:{mac:02x}")
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for plug in &self.plugs {
            // Ends the carrier's waiting. What cannot be shut down is shut already.
            _ = plug.listener.shutdown(Shutdown::Both);
            if let Some(card) = plug.card.lock().unwrap_or_else(PoisonError::into_inner).take() {
                _ = card.shutdown(Shutdown::Both);
            }
        }
        for carrier in self.carriers.drain(..) {
            // It only moves bytes and does not panic.
            _ = carrier.join();
        }
    }
}

impl Plug {
    fn new(path: PathBuf) -> Result<Self> {
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        let bound = SockAddr::unix(&path).and_then(|address| listener.bind(&address));
        bound
            .and_then(|()| listener.listen(1))
            .with_context(|| format!("failed to listen at {}", path.display()))?;
        Ok(Self { path, listener, card: Mutex::new(None) })
    }

    /// Carries what the card plugged in here sends, one card after the other, until the cable is cut.
    fn carry_to(&self, far: &Self) {
        while let Ok((card, _)) = self.listener.accept() {
            let known = card.set_write_timeout(Some(FULL)).and_then(|()| card.try_clone());
            let Ok(same) = known else { return };
            *self.card.lock().unwrap_or_else(PoisonError::into_inner) = Some(same);
            let mut frame = vec![0; 1 << 16];
            while let Ok(length @ 1..) = (&card).read(&mut frame) {
                if let Some(far) = far.card.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                    // A card that is down or full loses it.
                    _ = (&mut &*far).write(&frame[..length]);
                }
            }
            *self.card.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plug_in(path: &Path) -> Socket {
        let card = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        card.connect(&SockAddr::unix(path).unwrap()).unwrap();
        card.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        card
    }

    /// Sends until it arrives: a card is plugged in a moment after it has connected.
    fn arrives(from: &Socket, to: &Socket, frame: &[u8]) -> bool {
        let mut buffer = [0; 100];
        (0..500).any(|_| {
            (&mut &*from).write_all(frame).unwrap();
            matches!((&*to).read(&mut buffer), Ok(length) if &buffer[..length] == frame)
        })
    }

    #[test]
    fn frames_go_both_ways_also_after_a_card_was_down() {
        let folder = tempfile::tempdir().unwrap();
        let cable = Cable::new(folder.path(), ["a", "b"]).unwrap();
        let (one, mut other) = (plug_in(&folder.path().join("a")), plug_in(&folder.path().join("b")));
        assert!(arrives(&one, &other, b"there") && arrives(&other, &one, b"back"));
        drop(other);
        (&one).write_all(b"nobody").unwrap();
        other = plug_in(&folder.path().join("b"));
        assert!(arrives(&one, &other, b"again") && arrives(&other, &one, b"and back"));
        let word = cable.card(1, 3, 0x1f);
        assert!(
            word.starts_with("vec3:transport=bess,dst=/") && word.ends_with("/b,mac=00:16:3e:00:07:1f"),
            "{word}"
        );
        drop(cable);
    }
}
