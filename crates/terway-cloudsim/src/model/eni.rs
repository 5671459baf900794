//! One ENI and its life: what the API says of it, and whether its link exists in the fabric. The two run
//! side by side and wait for each other where the vendor's do.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use terway_types::{EniId, InstanceId, MacAddr, SecurityGroupId, Timestamp, VSwitchId};

/// The state the API tells. Serialised as the vendor spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Status {
    /// Being made.
    Creating,
    /// Attached to nothing.
    Available,
    /// On its way to an instance.
    Attaching,
    /// Attached.
    InUse,
    /// On its way off its instance.
    Detaching,
    /// Going away.
    Deleting,
}

impl Status {
    /// The vendor's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Available => "Available",
            Self::Attaching => "Attaching",
            Self::InUse => "InUse",
            Self::Detaching => "Detaching",
            Self::Deleting => "Deleting",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the ENI's link exists, as far as the model has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// No link.
    Absent,
    /// The fabric was asked to make it.
    Plugging,
    /// It exists.
    Present,
    /// The fabric was asked to take it away.
    Unplugging,
}

/// The instance's own ENI, or one that may come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum EniKind {
    /// Born with its instance.
    Primary,
    /// Made by a call.
    Secondary,
}

impl EniKind {
    /// The vendor's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "Primary",
            Self::Secondary => "Secondary",
        }
    }
}

/// Where an ENI is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The instance.
    pub instance: InstanceId,
    /// The slot there; 0 is the primary ENI's.
    pub device_index: u32,
}

/// An ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eni {
    /// Its id.
    pub id: EniId,
    /// Primary or secondary.
    pub kind: EniKind,
    /// Its hardware address, for life.
    pub mac: MacAddr,
    /// Its vSwitch.
    pub vswitch: VSwitchId,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroupId>,
    /// Its IPv4 addresses, the primary one first.
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its description.
    pub description: String,
    /// The idempotency token it was made with.
    pub client_token: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Its state.
    pub status: Status,
    /// Where it is, or is on its way to or from.
    pub attachment: Option<Attachment>,
    /// Its link.
    pub link: Link,
    /// The earliest end of a passing state.
    pub(super) due: Timestamp,
    /// From when on the link should exist; `None` while it should not.
    pub(super) link_from: Option<Timestamp>,
}

/// What the passing of time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The state changed.
    Moved,
    /// The fabric must make the link.
    Plug,
    /// The fabric must take the link away.
    Unplug,
    /// The ENI is no more.
    Gone,
}

impl Eni {
    /// The next thing that happens to the ENI at `now`, if any. Call until it says `None`.
    pub(super) fn step(&mut self, now: Timestamp) -> Option<Step> {
        let link_due = self.link_from.is_some_and(|from| from <= now);
        match self.link {
            Link::Absent if link_due => {
                self.link = Link::Plugging;
                return Some(Step::Plug);
            }
            Link::Present if self.link_from.is_none() => {
                self.link = Link::Unplugging;
                return Some(Step::Unplug);
            }
            _ => {}
        }
        if self.due > now {
            return None;
        }
        match self.status {
            Status::Creating => self.status = Status::Available,
            Status::Attaching if !self.link_comes_first() || self.link == Link::Present => {
                self.status = Status::InUse;
            }
            Status::Detaching if self.link == Link::Absent => {
                self.status = Status::Available;
                self.attachment = None;
            }
            Status::Deleting if self.link == Link::Absent => return Some(Step::Gone),
            _ => return None,
        }
        Some(Step::Moved)
    }

    /// Whether the API waits for the link before it says InUse.
    fn link_comes_first(&self) -> bool {
        self.link_from.is_some_and(|from| from <= self.due)
    }

    /// The next time after `now` at which `step` may have something to say.
    pub(super) fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        [Some(self.due), self.link_from].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// The instance it is attached to, or on its way to or from.
    pub fn instance(&self) -> Option<&InstanceId> {
        self.attachment.as_ref().map(|attachment| &attachment.instance)
    }
}
