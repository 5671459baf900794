//! A medium in memory that keeps a log of what reached it, and fails when told to.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::Chance;

/// The unit that a medium writes whole.
const SECTOR: usize = 512;

/// Something done to the medium.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
    Sync,
}

/// When and how it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// The number of the step that fails, from when it was told.
    pub(super) at: usize,
    /// How it fails.
    pub(super) kind: ErrorKind,
    /// Whether every later step fails, too.
    pub(super) lasting: bool,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    log: Vec<Step>,
    failure: Option<Failure>,
}

/// Clones are the same medium.
#[derive(Clone, Debug)]
pub(super) struct Medium(Arc<Mutex<Inner>>);

impl Medium {
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Inner { bytes, ..Inner::default() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// What a process sees in the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.inner().bytes.clone()
    }

    /// The steps since the last call.
    pub(super) fn take_log(&self) -> Vec<Step> {
        std::mem::take(&mut self.inner().log)
    }

    /// Fails from now on, counted from the next step.
    pub(super) fn fail(&self, failure: Failure) {
        let mut inner = self.inner();
        inner.log.clear();
        inner.failure = Some(failure);
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut inner = self.inner();
        let number = inner.log.len();
        inner.log.push(step.clone());
        match inner.failure {
            Some(failure) if number == failure.at || failure.lasting && number > failure.at => {
                if let Step::Write { offset, bytes } = step {
                    let half = bytes[..bytes.len() / 2].to_vec();
                    apply(&mut inner.bytes, &Step::Write { offset, bytes: half });
                }
                Err(failure.kind.into())
            }
            _ => {
                apply(&mut inner.bytes, &step);
                Ok(())
            }
        }
    }
}

fn apply(file: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write { offset, bytes } => {
            let end = offset + bytes.len();
            file.resize(file.len().max(end), 0);
            file[*offset..end].copy_from_slice(bytes);
        }
        Step::Length(length) => file.resize(*length, 0),
        Step::Sync => {}
    }
}

/// What the medium holds when the power goes after the first `done` of these steps: all that was synced, and of
/// the rest whatever sectors chance lets through.
pub(super) fn after_power_cut(before: &[u8], log: &[Step], done: usize, chance: &mut Chance) -> Vec<u8> {
    let done = &log[..done];
    let synced = done.iter().rposition(|step| matches!(step, Step::Sync)).map_or(0, |at| at + 1);
    let mut file = before.to_vec();
    done[..synced].iter().for_each(|step| apply(&mut file, step));
    // From none to nearly all.
    let odds = chance.below(9);
    for step in &done[synced..] {
        match step {
            Step::Write { offset, bytes } => {
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if chance.below(8) < odds {
                        let offset = offset + number * SECTOR;
                        apply(&mut file, &Step::Write { offset, bytes: sector.to_vec() });
                    }
                }
            }
            step => {
                if chance.below(8) < odds {
                    apply(&mut file, step);
                }
            }
        }
    }
    file
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = inner.bytes.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Step::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.step(Step::Write { offset, bytes: data.to_vec() })
    }
}
