//! Death at a chosen effect, for crash tests: what is on disk and in the cloud then is exactly what a
//! `kill -9` between two effects leaves behind.

/// Counts effects down, and says when none may follow.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    left: Option<u64>,
    blow: fn(),
}

impl Fuse {
    /// Never burns down.
    pub const NONE: Self = Self { left: None, blow: || {} };

    /// Burns down after `effects`; `blow` is called then, by the driver's thread, which ends after it.
    pub fn new(effects: u64, blow: fn()) -> Self {
        Self { left: Some(effects), blow }
    }

    /// How many of the next `count` effects may still be carried out.
    pub(super) fn burn(&mut self, count: usize) -> usize {
        let Some(left) = &mut self.left else { return count };
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(count);
        *left -= allowed as u64;
        allowed
    }

    pub(super) fn blow(&self) {
        (self.blow)();
    }
}

/// Ends this process at once, without unwinding, flushing or a core file.
pub fn kill_self() {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
}
