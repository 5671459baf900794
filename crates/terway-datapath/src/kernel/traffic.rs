//! What this process asked the kernel and how much it was told: what a call costs must not depend on how many pods the
//! node has, and this is how that is seen.

use std::sync::atomic::{AtomicU64, Ordering};

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static REPLIED: AtomicU64 = AtomicU64::new(0);

/// Counts since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Netlink requests sent.
    pub requests: u64,
    /// Bytes of the replies.
    pub reply_bytes: u64,
}

/// The counts now.
pub fn traffic() -> Traffic {
    Traffic { requests: REQUESTS.load(Ordering::Relaxed), reply_bytes: REPLIED.load(Ordering::Relaxed) }
}

pub(super) fn asked() {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn told(bytes: usize) {
    REPLIED.fetch_add(bytes as u64, Ordering::Relaxed);
}
