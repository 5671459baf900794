//! What the kernel itself takes for a crowd: the bare requests of so many ADDs, each with a NIC of its own, one by one from a
//! loop, and all at once, each from a thread. No process is started, nothing is validated, read back, recorded or answered.

use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use terway_datapath::kernel::namespace::Netns;

use crate::floor::{Added, Floor, Own};

/// A crowd's NICs on a node.
pub(crate) struct Crowd(Vec<Floor>);

impl Crowd {
    pub(crate) fn new(count: usize, host: &Path, vpc: &Path) -> Result<Self> {
        let count = u8::try_from(count).context("a crowd has 255 NICs at most")?;
        Ok(Self((0..count).map(|number| Floor::of_many(number, Own::Nic, host, vpc)).collect::<Result<_>>()?))
    }

    /// How long it takes to add all pods one by one, after a rest that their namespaces lie before.
    pub(crate) fn one_by_one(&mut self, rest: impl FnOnce()) -> Result<Duration> {
        let pods = self.sandboxes()?;
        rest();
        let start = Instant::now();
        let added = self.0.iter_mut().zip(&pods).map(|(floor, pod)| floor.add(pod)).collect::<Result<_>>()?;
        let elapsed = start.elapsed();
        self.del(added)?;
        Ok(elapsed)
    }

    /// The same at once.
    pub(crate) fn at_once(&mut self, rest: impl FnOnce()) -> Result<Duration> {
        let pods = self.sandboxes()?;
        rest();
        let barrier = Barrier::new(pods.len() + 1);
        let (added, elapsed) = thread::scope(|scope| {
            let threads: Vec<_> = (self.0.iter_mut().zip(&pods))
                .map(|(floor, pod)| {
                    scope.spawn(|| {
                        barrier.wait();
                        floor.add(pod)
                    })
                })
                .collect();
            barrier.wait();
            let start = Instant::now();
            let joined = threads.into_iter().map(|one| one.join().map_err(|_| anyhow!("an ADD panicked"))?);
            let added = joined.collect::<Result<_>>()?;
            Ok::<_, anyhow::Error>((added, start.elapsed()))
        })?;
        self.del(added)?;
        Ok(elapsed)
    }

    fn sandboxes(&self) -> Result<Vec<Netns>> {
        self.0.iter().map(|_| Floor::sandbox()).collect()
    }

    fn del(&mut self, added: Vec<Added>) -> Result<()> {
        self.0.iter_mut().zip(added).try_for_each(|(floor, mut added)| floor.del(&mut added).map(drop))
    }
}
