//! The vocabulary of Terway, shared by every crate above: ids, addresses, attachments, interface
//! plans, durable records, cloud failures and the fault catalogue. Values only; nothing here does I/O,
//! reads a clock or asks for randomness.

pub mod address;
pub mod attachment;
pub mod cloud;
pub mod eni;
pub mod fault;
pub mod history;
pub mod interface_plan;
pub mod record;
pub mod time;

pub use address::{
    AddressCounts, AddressSet, Addresses, DualStack, Gateways, IpFamily, MacAddr, MacAddrError, Subnets,
};
pub use attachment::{AttachmentKey, ContainerId, IfName, NameError, NetworkName, PodRef};
pub use cloud::{CloudFailure, CloudFailureKind};
pub use eni::{ClaimId, EniId, InstanceId, IntentToken, SecurityGroupId, VSwitchId, ZoneId};
pub use fault::{Fault, FaultCode};
pub use history::{HistoryEntry, PastCall, PastHolding};
pub use interface_plan::{Bandwidth, Datapath, InterfacePlan, PriorityClass, Queueing};
pub use record::{
    AddressPhase, AddressRecord, AfterClaim, AssignIntent, AttachmentRecord, ClaimHold, EniPhase, EniRecord,
    LedgerChange, LedgerSnapshot, NodeMode, PrefixPhase, PrefixRecord,
};
pub use time::Timestamp;
