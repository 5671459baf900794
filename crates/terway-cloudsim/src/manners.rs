//! How badly the cloud behaves all the time, as opposed to faults that are ordered call by call. All of it
//! can be changed while the cloud runs (`POST /v1/manners`) and set in the world's description.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::FaultKind;
use crate::model::Lag;
use crate::spread::Spread;
use crate::throttle::Rate;

/// Standing bad manners. The defaults are those of a good day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manners {
    /// How long an answer takes, in milliseconds, per action; `*` stands for those not named.
    pub answer_ms: BTreeMap<String, Spread>,
    /// How often an action may be called, by everybody together; `*` stands for those not named, each by
    /// itself.
    pub throttle: BTreeMap<String, Rate>,
    /// Actions that nobody may call; `*` for all.
    pub denied: BTreeSet<String>,
    /// What goes wrong with some of an action's calls; `*` stands for those not named. Ordered faults come first.
    pub mishaps: BTreeMap<String, Mishap>,
    /// Reads are answered from a snapshot that old, in milliseconds.
    pub stale_ms: u64,
    /// Deleted ENIs are listed for so many milliseconds more.
    pub linger_ms: u64,
    /// New ENIs are not listed for so many milliseconds.
    pub missing_ms: u64,
    /// An assignment gives at most so many addresses or prefixes, and says so by what it answers.
    pub partial_assign: Option<u32>,
    /// Whether detaching is refused with the code of a busy ENI.
    pub detach_refused: bool,
    /// How the metadata service is.
    pub metadata: MetadataManners,
    /// The metadata service tells what was so many milliseconds ago.
    pub metadata_stale_ms: u64,
}

/// What goes wrong with some calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mishap {
    /// How it goes wrong.
    pub kind: FaultKind,
    /// With how many of a hundred.
    pub percent: u8,
}

/// How the metadata service answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataManners {
    /// As it should.
    #[default]
    Up,
    /// Connections break.
    Down,
    /// With status 503.
    Failing,
    /// Not at all; connections stay open.
    Silent,
    /// With a page for people, whatever is asked.
    Portal,
}

impl Manners {
    /// What holds for an action: what is said of it by name, or of all.
    pub fn of<'a, T>(table: &'a BTreeMap<String, T>, action: &str) -> Option<&'a T> {
        table.get(action).or_else(|| table.get("*"))
    }

    /// Whether nobody may call an action.
    pub fn denies(&self, action: &str) -> bool {
        self.denied.contains(action) || self.denied.contains("*")
    }

    /// How far API readers' sight lags behind.
    pub(crate) fn lag(&self) -> Lag {
        let ms = Duration::from_millis;
        Lag { stale: ms(self.stale_ms), linger: ms(self.linger_ms), missing: ms(self.missing_ms) }
    }

    /// How far the metadata service's sight lags behind.
    pub(crate) fn metadata_lag(&self) -> Lag {
        Lag { stale: Duration::from_millis(self.metadata_stale_ms), ..Lag::default() }
    }

    /// How long changes must be remembered for all that.
    pub(crate) fn memory(&self) -> Duration {
        let all = [self.stale_ms, self.linger_ms, self.missing_ms, self.metadata_stale_ms];
        Duration::from_millis(all.into_iter().max().unwrap_or_default())
    }
}
