//! One ENI and its life: what the API says of it, and whether its link exists in the fabric. The two run
//! side by side and wait for each other where the vendor's do.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;
use terway_types::{AddressSet, EniId, InstanceId, MacAddr, SecurityGroupId, Timestamp, VSwitchId};

/// The time of what does not happen by itself.
pub(super) const NEVER: Timestamp = Timestamp(u64::MAX);
/// How many addresses an IPv4 prefix has: it is a /28.
pub(super) const IPV4_PREFIX_SIZE: usize = 16;

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
    /// Carries members, each in a VLAN of its link.
    Trunk,
    /// Rides on a trunk; it is a secondary one again when it is detached.
    Member,
}

impl EniKind {
    /// The vendor's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "Primary",
            Self::Secondary => "Secondary",
            Self::Trunk => "Trunk",
            Self::Member => "Member",
        }
    }
}

/// Where an ENI is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The instance.
    pub instance: InstanceId,
    /// The slot there, 0 is the primary ENI's; a member's VLAN.
    pub device_index: u32,
    /// The trunk that carries it.
    pub trunk: Option<EniId>,
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
    /// Its addresses and prefixes; the primary IPv4 address is the first.
    pub addresses: AddressSet,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The idempotency token it was made with.
    pub client_token: Option<String>,
    /// Whether it goes with its instance.
    pub delete_on_release: bool,
    /// Whether it is one of the vendor's product for Lingjun nodes, and none of the other.
    pub lingjun: bool,
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
    /// The end of the task on its addresses that was started last.
    pub(super) busy_until: Timestamp,
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
        if self.link_wake().is_some_and(|at| at <= now) {
            let (link, step) = match self.link_from {
                Some(_) => (Link::Plugging, Step::Plug),
                None => (Link::Unplugging, Step::Unplug),
            };
            self.link = link;
            return Some(step);
        }
        if self.state_wake().is_none_or(|at| at > now) {
            return None;
        }
        match self.status {
            Status::Creating => self.status = Status::Available,
            Status::Attaching => self.status = Status::InUse,
            Status::Detaching => {
                self.status = Status::Available;
                self.attachment = None;
                if self.kind == EniKind::Member {
                    self.kind = EniKind::Secondary;
                }
            }
            Status::Deleting => return Some(Step::Gone),
            Status::Available | Status::InUse => return None,
        }
        Some(Step::Moved)
    }

    /// When [`Eni::step`] has something to say next, if it ever has by itself.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.link_wake().into_iter().chain(self.state_wake()).min()
    }

    fn link_wake(&self) -> Option<Timestamp> {
        match self.link {
            Link::Absent => self.link_from.filter(|from| *from != NEVER),
            Link::Present if self.link_from.is_none() => Some(Timestamp::default()),
            _ => None,
        }
    }

    fn state_wake(&self) -> Option<Timestamp> {
        let ready = match self.status {
            Status::Creating => true,
            Status::Attaching => !self.link_comes_first() || self.link == Link::Present,
            Status::Detaching | Status::Deleting => self.link == Link::Absent,
            Status::Available | Status::InUse => false,
        };
        (ready && self.due != NEVER).then_some(self.due)
    }

    /// Whether the API waits for the link before it says InUse.
    fn link_comes_first(&self) -> bool {
        self.link_from.is_some_and(|from| from <= self.due)
    }

    /// The instance it is attached to, or on its way to or from.
    pub fn instance(&self) -> Option<&InstanceId> {
        self.attachment.as_ref().map(|attachment| &attachment.instance)
    }

    /// The trunk that carries it, if it is a member.
    pub fn trunk(&self) -> Option<&EniId> {
        self.attachment.as_ref()?.trunk.as_ref()
    }

    /// Its primary IPv4 address.
    pub fn primary_ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.ipv4.first().copied()
    }

    /// How many IPv4 addresses it keeps from others, those of its prefixes too.
    pub(super) fn ipv4_held(&self) -> usize {
        let prefixes = self.addresses.prefixes.iter().filter(|prefix| prefix.is_ipv4()).count();
        self.addresses.ipv4.len() + IPV4_PREFIX_SIZE * prefixes
    }

    /// What counts against the instance type's limits: a prefix as much as an address.
    pub(super) fn slots(&self) -> (usize, usize) {
        let v4 = self.addresses.prefixes.iter().filter(|prefix| prefix.is_ipv4()).count();
        let v6 = self.addresses.prefixes.len() - v4;
        (self.addresses.ipv4.len() + v4, self.addresses.ipv6.len() + v6)
    }

    /// Whether a task on its addresses still runs.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        self.busy_until > now
    }
}
