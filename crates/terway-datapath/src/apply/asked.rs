//! What an ADD asks of the kernel, one thing after the other: so that tests can have each refused, by the kernel itself,
//! and look at the way back.

use std::sync::LazyLock;

use crate::kernel::Request;
use crate::kernel::nft::Batch;

/// Something that is about to be asked.
#[derive(Debug)]
pub enum Asked<'a, 'v> {
    /// A request over netlink.
    Request(&'a mut Request),
    /// A switch under `/proc/sys`, by its path, is to get this value.
    Switch(&'a str, &'a mut &'v str),
    /// The change with this number of a batch for nf_tables.
    Change(&'a mut Batch, usize),
}

/// More bytes than a kernel takes for a switch: it must have room for them in one piece (`KMALLOC_MAX_SIZE`, 4 MiB).
const TOO_LONG: usize = 8 << 20;
static REFUSED: LazyLock<String> = LazyLock::new(|| "1".repeat(TOO_LONG));

/// Whoever looks at each thing before it is asked.
pub(super) type Spoil<'s> = &'s dyn Fn(Asked<'_, '_>);

impl Asked<'_, '_> {
    /// What it does, as a refusal tells it.
    pub fn what(&self) -> String {
        match self {
            Self::Request(request) => request.what(),
            Self::Switch(path, _) => (*path).to_owned(),
            Self::Change(batch, number) => batch.what(*number),
        }
    }

    /// Makes it one that every kernel refuses.
    pub fn spoil(self) {
        match self {
            Self::Request(request) => request.spoil(),
            // Older kernels (6.1) take any word for some switches and say that all went well.
            Self::Switch(_, value) => *value = &REFUSED,
            Self::Change(batch, number) => batch.spoil(number),
        }
    }
}
