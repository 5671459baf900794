//! The table by which SMC-R knows what belongs to one physical network (`smc_pnet(8)`, `net/smc/smc_pnet.c`): a connection
//! of a link goes over RDMA if a device bears the same network's name. Entries of links are in the link's network
//! namespace, those of devices in the initial one. A generic netlink family of the module `smc`, which is not loaded here:
//! a node without it does not use SMC.

use std::fmt;

use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use super::attribute::{Attributes, text_value, value};
use super::error::{Cause, KernelError};
use super::namespace::Netns;
use super::transport::{Frame, Transport};

/// The family that knows the numbers of all others, and its own (`linux/genetlink.h`).
const CONTROL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// The family and its numbers (`linux/smc.h`).
const FAMILY: &str = "SMC_PNETID";
const SMC_PNETID_GET: u8 = 1;
const SMC_PNETID_ADD: u8 = 2;
const SMC_PNETID_DEL: u8 = 3;
const SMC_PNETID_NAME: u16 = 1;
const SMC_PNETID_ETHNAME: u16 = 2;
const SMC_PNETID_IBNAME: u16 = 3;
const SMC_PNETID_IBPORT: u16 = 4;
/// Both families have had one version.
const VERSION: u8 = 1;
/// An ENI's device has one port.
const PORT: u8 = 1;
/// The header of generic netlink, before the attributes.
const HEADER: usize = 4;
/// What an entry of a link says instead of a device's name, and the other way round.
const NONE: &str = "n/a";

/// What belongs to which physical network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmcEntry {
    /// The network: up to 16 capitals and digits.
    pub network: String,
    /// What belongs to it.
    pub member: SmcMember,
}

/// What can belong to a physical network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmcMember {
    /// The link of this name.
    Link(String),
    /// The first port of the RDMA device of this name.
    Device(String),
}

/// The table as one network namespace sees it.
#[derive(Debug)]
pub struct SmcTable {
    transport: Transport,
    family: u16,
}

impl SmcTable {
    /// Connects to a namespace; none where the kernel has no SMC, or has not loaded it.
    pub fn open(netns: &Netns) -> Result<Option<Self>, KernelError> {
        let failed = |cause| KernelError::new(format!("look for the netlink family {FAMILY}"), cause);
        let mut transport = Transport::open(NETLINK_GENERIC, netns).map_err(failed)?;
        let mut family = None;
        let answers = transport.exchange([&get_family()], |message| {
            let id = message.payload.get(HEADER..).and_then(|body| value(body, CTRL_ATTR_FAMILY_ID));
            family = id.and_then(|id| id.try_into().ok()).map(u16::from_ne_bytes);
        });
        match answers.map_err(|error| failed(Cause::Socket(error)))?.pop().flatten() {
            Some(Err(refusal)) if refusal.errno == Errno::ENOENT => Ok(None),
            Some(Err(refusal)) => Err(failed(refusal.into())),
            _ => Ok(family.map(|family| Self { transport, family })),
        }
    }

    /// All entries.
    pub fn entries(&mut self) -> Result<Vec<SmcEntry>, KernelError> {
        let frame = Frame::dump(self.family, &header(SMC_PNETID_GET));
        let read = self.transport.dump(&frame, Vec::new, |all, message| all.extend(entry(message.payload)));
        read.map_err(|cause| KernelError::new("list SMC networks", cause))
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &SmcEntry) -> Result<(), KernelError> {
        self.ask(format!("add {entry}"), &addition(self.family, entry))
    }

    /// Removes all entries of a network in this namespace.
    pub fn remove(&mut self, network: &str) -> Result<(), KernelError> {
        self.ask(format!("remove SMC network {network}"), &removal(self.family, network))
    }

    fn ask(&mut self, what: String, frame: &Frame) -> Result<(), KernelError> {
        match self.transport.exchange([frame], |_| {}).map(|mut answers| answers.pop().flatten()) {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(refusal))) => Err(KernelError::new(what, refusal)),
            Ok(None) => Err(KernelError::new(what, Cause::Unanswered)),
            Err(error) => Err(KernelError::new(what, Cause::Socket(error))),
        }
    }
}

fn get_family() -> Frame {
    let name = Attributes::new().text(CTRL_ATTR_FAMILY_NAME, FAMILY);
    Frame::acked(CONTROL, 0, &[&header(CTRL_CMD_GETFAMILY)[..], &name.0].concat())
}

fn addition(family: u16, SmcEntry { network, member }: &SmcEntry) -> Frame {
    let named = Attributes::new().text(SMC_PNETID_NAME, network);
    let member = match member {
        SmcMember::Link(name) => named.text(SMC_PNETID_ETHNAME, name),
        SmcMember::Device(name) => named.text(SMC_PNETID_IBNAME, name).bytes(SMC_PNETID_IBPORT, &[PORT]),
    };
    Frame::acked(family, 0, &[&header(SMC_PNETID_ADD)[..], &member.0].concat())
}

fn removal(family: u16, network: &str) -> Frame {
    let named = Attributes::new().text(SMC_PNETID_NAME, network);
    Frame::acked(family, 0, &[&header(SMC_PNETID_DEL)[..], &named.0].concat())
}

fn header(command: u8) -> [u8; HEADER] {
    [command, VERSION, 0, 0]
}

/// An entry as the kernel tells it; none for members of other kinds (SMC-D).
fn entry(payload: &[u8]) -> Option<SmcEntry> {
    let body = payload.get(HEADER..)?;
    let name = |kind| text_value(body, kind).filter(|name| name != NONE && !name.is_empty());
    let link = || name(SMC_PNETID_ETHNAME).map(SmcMember::Link);
    let member = link().or_else(|| name(SMC_PNETID_IBNAME).map(SmcMember::Device))?;
    Some(SmcEntry { network: text_value(body, SMC_PNETID_NAME)?, member })
}

impl SmcMember {
    /// The link, if it is one.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Link(name) => Some(name),
            Self::Device(_) => None,
        }
    }
}

impl fmt::Display for SmcMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => write!(f, "link {name}"),
            Self::Device(name) => write!(f, "RDMA device {name}"),
        }
    }
}

impl fmt::Display for SmcEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SMC network {} of {}", self.network, self.member)
    }
}

#[cfg(test)]
mod tests;
