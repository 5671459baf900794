//! Rows as they lie on disk: JSON objects of their own, so that the vocabulary may change without the
//! file, and a person can read them. Names and meanings here belong to schema version 2.

mod address;
mod attachment;
mod eni;
mod history;

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use terway_types::{AddressCounts, Addresses, AttachmentKey, ContainerId, IfName, NetworkName};

use crate::error::CommitError;

/// A row that is well-formed but says something impossible.
#[derive(Debug, thiserror::Error)]
#[error("{field} {value:?} is no {wanted}")]
pub(crate) struct RowError {
    field: &'static str,
    value: String,
    wanted: &'static str,
}

/// A value with a row of its own.
pub(crate) trait Stored: Sized + TryFrom<Self::Row, Error = RowError> {
    /// Its shape on disk.
    type Row: Serialize + DeserializeOwned + for<'a> From<&'a Self>;
    /// What it is, for people.
    const WHAT: &'static str;
}

/// A value as it lies on disk. `key` is for the error only.
pub(crate) fn encode<T: Stored>(key: &impl ToString, value: &T) -> Result<Vec<u8>, CommitError> {
    serde_json::to_vec(&T::Row::from(value)).map_err(|source| {
        let what = format!("{} {}", T::WHAT, key.to_string());
        CommitError::Encode { what, source }
    })
}

/// A value from what lies on disk.
pub(crate) fn decode<T: Stored>(key: &impl ToString, bytes: &[u8]) -> Result<T, redb::Error> {
    let wrong =
        |detail: String| redb::Error::Corrupted(format!("row of {} {}: {detail}", T::WHAT, key.to_string()));
    let row: T::Row = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    row.try_into().map_err(|error: RowError| wrong(error.to_string()))
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pair<V4, V6> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<V4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<V6>,
}

impl From<Addresses> for Pair<Ipv4Addr, Ipv6Addr> {
    fn from(addresses: Addresses) -> Self {
        Self { ipv4: addresses.v4, ipv6: addresses.v6 }
    }
}

impl From<Pair<Ipv4Addr, Ipv6Addr>> for Addresses {
    fn from(pair: Pair<Ipv4Addr, Ipv6Addr>) -> Self {
        Self { v4: pair.ipv4, v6: pair.ipv6 }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CountsRow {
    ipv4: u32,
    ipv6: u32,
    ipv4_prefixes: u32,
    ipv6_prefixes: u32,
}

impl From<AddressCounts> for CountsRow {
    fn from(counts: AddressCounts) -> Self {
        let AddressCounts { ipv4, ipv6, ipv4_prefixes, ipv6_prefixes } = counts;
        Self { ipv4, ipv6, ipv4_prefixes, ipv6_prefixes }
    }
}

impl From<CountsRow> for AddressCounts {
    fn from(row: CountsRow) -> Self {
        let CountsRow { ipv4, ipv6, ipv4_prefixes, ipv6_prefixes } = row;
        Self { ipv4, ipv6, ipv4_prefixes, ipv6_prefixes }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    network: String,
    container: String,
    ifname: String,
}

impl From<&AttachmentKey> for KeyRow {
    fn from(key: &AttachmentKey) -> Self {
        Self {
            network: key.network.to_string(),
            container: key.container.to_string(),
            ifname: key.ifname.to_string(),
        }
    }
}

impl TryFrom<KeyRow> for AttachmentKey {
    type Error = RowError;

    fn try_from(row: KeyRow) -> Result<Self, RowError> {
        let network = NetworkName::new(row.network.clone());
        let container = ContainerId::new(row.container.clone());
        let ifname = IfName::new(row.ifname.clone());
        Ok(Self {
            network: network.map_err(|_| wrong("network", row.network, "network name"))?,
            container: container.map_err(|_| wrong("container", row.container, "container id"))?,
            ifname: ifname.map_err(|_| wrong("ifname", row.ifname, "interface name"))?,
        })
    }
}

fn wrong(field: &'static str, value: String, wanted: &'static str) -> RowError {
    RowError { field, value, wanted }
}

fn parsed<T: std::str::FromStr>(
    field: &'static str,
    text: Option<String>,
    wanted: &'static str,
) -> Result<Option<T>, RowError> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| wrong(field, text, wanted))
}
