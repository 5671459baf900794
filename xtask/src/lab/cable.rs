//! Network cards for guests. A guest's card is a connection to a socket of ours, made when the card is set up and
//! closed when it is set down; a cable carries frames between such sockets: what one card sends arrives at all others.
//! Nothing of this machine's network takes part, so neither root nor a tap device is needed.
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

/// A frame that a far card does not take in this time is lost, as on any cable.
const FULL: Duration = Duration::from_millis(100);

/// Plugs and what carries frames between them.
pub(super) struct Cable {
    plugs: Arc<[Plug]>,
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
    pub(super) fn new(folder: &Path, names: &[String]) -> Result<Self> {
        let plugs = names.iter().map(|name| Plug::new(folder.join(name)));
        let plugs: Arc<[Plug]> = plugs.collect::<Result<Vec<_>>>()?.into();
        let carry = |from: usize| {
            let plugs = Arc::clone(&plugs);
            thread::spawn(move || carry(&plugs, from))
        };
        let carriers = (0..plugs.len()).map(carry).collect();
        Ok(Self { plugs, carriers })
    }

    /// The word on a guest's command line that makes a plug its card of this number. The card's MAC ends in `mac`.
    pub(super) fn card(&self, plug: usize, number: usize, mac: u8) -> String {
        let path = self.plugs[plug].path.display();
        format!("vec{number}:transport=bess,dst={path},mac=00:16:3e:00:07:{mac:02x}")
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for plug in &*self.plugs {
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

    fn hear(&self, frame: &[u8]) {
        if let Some(card) = self.card.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // A card that is down or full loses it.
            _ = (&mut &*card).write(frame);
        }
    }
}

/// Carries what the cards at one plug send, one card after the other, until the cable is cut.
fn carry(plugs: &[Plug], from: usize) {
    let near = &plugs[from];
    let far = || plugs.iter().enumerate().filter(|(number, _)| *number != from).map(|(_, plug)| plug);
    while let Ok((card, _)) = near.listener.accept() {
        let known = card.set_write_timeout(Some(FULL)).and_then(|()| card.try_clone());
        let Ok(same) = known else { return };
        *near.card.lock().unwrap_or_else(PoisonError::into_inner) = Some(same);
        let mut frame = vec![0; 1 << 16];
        while let Ok(length @ 1..) = (&card).read(&mut frame) {
            far().for_each(|plug| plug.hear(&frame[..length]));
        }
        *near.card.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        let cable = Cable::new(folder.path(), &["a".into(), "b".into()]).unwrap();
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
    #[test]
    fn a_frame_arrives_at_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c"].map(str::to_owned);
        let _cable = Cable::new(folder.path(), &names).unwrap();
        let [one, other, third] = names.map(|name| plug_in(&folder.path().join(name)));
        assert!(arrives(&one, &other, b"to all") && arrives(&one, &third, b"to all"));
        assert!(arrives(&third, &one, b"back") && arrives(&third, &other, b"back"));
    }
}
