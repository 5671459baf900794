//! How two programs on two nodes find out that each hears the other.

use std::env;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use terway_datapath::kernel::Netns;

/// Longest wait for the other side, which may still be booting.
const PATIENCE: Duration = Duration::from_mins(2);
/// Who hears nothing for so long says his word again.
const AGAIN: Duration = Duration::from_millis(50);
const PORT: u16 = 7000;
/// What fits into a packet of 1500 bytes.
const FULL: [usize; 2] = [1472, 1452];

/// What one test is about.
pub(crate) struct Meeting {
    folder: PathBuf,
    about: &'static str,
    deadline: Instant,
}

impl Meeting {
    pub(crate) fn new(about: &'static str) -> Self {
        let folder = env::var_os("TERWAY_MEETING").unwrap().into();
        Self { folder, about, deadline: Instant::now() + PATIENCE }
    }

    fn heard_by(&self, who: IpAddr) -> PathBuf {
        self.folder.join(format!("{}-heard-by-{}", self.about, who.to_string().replace(':', "-")))
    }

    /// Whether each of these has heard the other.
    pub(crate) fn have_heard(&self, who: &[IpAddr]) -> bool {
        let missing = who.iter().find(|address| !self.heard_by(**address).exists());
        assert!(Instant::now() < self.deadline, "{missing:?} heard nothing");
        missing.is_none()
    }

    /// Says a word to the other side until each has heard the other.
    pub(crate) fn talk(&self, pod: &Netns, near: IpAddr, far: IpAddr) {
        let [here, there] = [near, far].map(|address| SocketAddr::new(address, PORT));
        let socket = pod.run(|| UdpSocket::bind(here)).unwrap().unwrap();
        socket.set_read_timeout(Some(AGAIN)).unwrap();
        let word = vec![7; FULL[usize::from(near.is_ipv6())]];
        let mut buffer = [0; 2000];
        while !self.have_heard(&[near, far]) {
            // Until the other node has its pod, nobody answers for its address.
            _ = socket.send_to(&word, there);
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                assert_eq!((&buffer[..length], from), (&*word, there));
                fs::write(self.heard_by(near), "").unwrap();
            }
        }
    }
}
