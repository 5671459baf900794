//! How fast the ledger is, for benchmarks: a ledger of a given size, how long a start with it takes, and how
//! long commits take. Nothing of the product calls this.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use terway_types::{
    AddressCounts, AddressPhase, AddressRecord, Addresses, AttachmentKey, AttachmentRecord, ContainerId,
    EniPhase, EniRecord, Gateways, HistoryEntry, IfName, IntentToken, LedgerChange, MacAddr, NameError,
    NetworkName, PastHolding, PodRef, Subnets, Timestamp,
};

use crate::{CommitError, Ledger, OpenError, ReadError};

/// Why a measurement was not made.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The ledger was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger was not written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The ledger's file was not seen.
    #[error("failed to look at the ledger's file")]
    File(#[from] io::Error),
    /// A made-up name broke its rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What a ledger of a measurement holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// ENIs.
    pub enis: u32,
    /// Single addresses, spread over the ENIs.
    pub addresses: u32,
    /// Attachments, each with one of the addresses.
    pub attachments: u32,
    /// Entries of history.
    pub history: u32,
}

impl Content {
    /// A large node: 10,000 records, and no history.
    pub const LARGE: Self = Self { enis: 1_000, addresses: 5_000, attachments: 4_000, history: 0 };

    /// How many records.
    pub fn records(&self) -> u32 {
        self.enis + self.addresses + self.attachments
    }
}

/// What a start costs.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// To check the file and open it.
    pub open: Duration,
    /// To read all records.
    pub snapshot: Duration,
    /// The file's length in bytes.
    pub bytes: u64,
}

/// Makes a ledger with this content.
pub fn fill(path: &Path, content: Content) -> Result<(), MeasureError> {
    let mut ledger = Ledger::open(path)?;
    let mut changes = Vec::new();
    for number in 0..content.enis {
        changes.push(LedgerChange::PutEni(eni(number)));
    }
    for number in 0..content.addresses {
        let held = number < content.attachments;
        let phase = if held { AddressPhase::InUse(key(number)?) } else { AddressPhase::Idle };
        changes.push(LedgerChange::PutAddress(AddressRecord {
            address: IpAddr::V4(ipv4(number)),
            eni: token(number % content.enis.max(1)),
            phase,
            since: SINCE,
        }));
    }
    for number in 0..content.attachments {
        changes.push(LedgerChange::PutAttachment(attachment(number, content)?));
    }
    for number in 0..content.history {
        changes.push(LedgerChange::Remember(past(number, content)?));
    }
    // As the daemon fills it: little by little.
    changes.chunks(64).try_for_each(|few| ledger.commit(few))?;
    Ok(())
}

/// Opens a ledger and reads it, as a starting daemon does.
pub fn start(path: &Path) -> Result<Start, MeasureError> {
    let begin = Instant::now();
    let mut ledger = Ledger::open(path)?;
    let open = begin.elapsed();
    let begin = Instant::now();
    ledger.snapshot()?;
    let snapshot = begin.elapsed();
    Ok(Start { open, snapshot, bytes: fs::metadata(path)?.len() })
}

/// How long each of some commits takes. Each gives so many addresses to attachments, or takes them back; and
/// remembers so many past holdings.
pub fn commits(
    ledger: &mut Ledger,
    times: u32,
    changes: u32,
    remembered: u32,
) -> Result<Vec<Duration>, MeasureError> {
    let mut taken = Vec::new();
    for turn in 0..times {
        let mut batch = Vec::new();
        for number in 0..changes {
            let number = turn.wrapping_mul(7).wrapping_add(number) % 4_000;
            batch.push(LedgerChange::PutAddress(AddressRecord {
                address: IpAddr::V4(ipv4(number)),
                eni: token(number % 1_000),
                phase: AddressPhase::Quarantined { until: Timestamp(u64::from(turn)) },
                since: SINCE,
            }));
        }
        for number in 0..remembered {
            batch.push(LedgerChange::Remember(past(turn.wrapping_add(number), Content::LARGE)?));
        }
        let begin = Instant::now();
        ledger.commit(&batch)?;
        taken.push(begin.elapsed());
    }
    Ok(taken)
}

const SINCE: Timestamp = Timestamp(1_790_000_000_000);

fn token(number: u32) -> IntentToken {
    IntentToken(format!("terway-1790000000000-{number:06}"))
}

fn ipv4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

fn key(number: u32) -> Result<AttachmentKey, NameError> {
    Ok(AttachmentKey {
        network: NetworkName::new("terway")?,
        container: ContainerId::new(format!(
            "{:064x}",
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ))?,
        ifname: IfName::new("eth0")?,
    })
}

fn pod(number: u32) -> PodRef {
    PodRef {
        namespace: "default".to_owned(),
        name: format!("web-7d4b9c6f5-{number:05}"),
        uid: Some(format!("6f1c2b1e-0000-4000-8000-{number:012x}")),
    }
}

fn addresses(number: u32) -> Addresses {
    Addresses::new(Some(ipv4(number)), Some(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(number))))
}

fn eni(number: u32) -> EniRecord {
    let [_, _, high, low] = number.to_be_bytes();
    let subnets = Subnets::new("10.0.0.0/16".parse().ok(), "fd00::/64".parse().ok());
    EniRecord {
        token: token(number),
        id: Some(format!("eni-bp1{number:017}").into()),
        mac: Some(MacAddr([0, 0x16, 0x3e, 0, high, low])),
        vswitch: "vsw-bp1s5fnvk4gn2tws03624".into(),
        security_groups: vec!["sg-bp15ed6xe1yxeycg7o1a".into()],
        addresses: addresses(number),
        subnets,
        gateways: Gateways::new("10.0.255.253".parse().ok(), "fd00::ffff:ffff:ffff:fffd".parse().ok()),
        phase: EniPhase::Ready,
        since: SINCE,
        counts: AddressCounts { ipv4: 1, ipv6: 1, ..AddressCounts::default() },
        claim: None,
        assigning: None,
    }
}

fn attachment(number: u32, content: Content) -> Result<AttachmentRecord, NameError> {
    Ok(AttachmentRecord {
        key: key(number)?,
        pod: pod(number),
        netns: format!("/var/run/netns/cni-6f1c2b1e-0000-4000-8000-{number:012x}"),
        eni: token(number % content.enis.max(1)),
        addresses: addresses(number),
        claim: None,
        since: SINCE,
    })
}

fn past(number: u32, content: Content) -> Result<HistoryEntry, NameError> {
    let eni = number % content.enis.max(1);
    Ok(HistoryEntry::Held(PastHolding {
        key: key(number)?,
        pod: pod(number),
        token: token(eni),
        eni: Some(format!("eni-bp1{eni:017}").into()),
        addresses: addresses(number),
        from: SINCE,
        to: SINCE + Duration::from_secs(u64::from(number)),
    }))
}
