//! Maps from address to address that rules look up, so that a rule costs the same however many elements there are. Each
//! element carries its owner's comment.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::comment::Comment;
use super::object::{Family, Table};
use crate::kernel::attribute::{Attributes, value};
use crate::kernel::transport::attributes;

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
/// `NFT_SET_MAP`.
const IS_MAP: u32 = 8;
/// What `nft` wants to know of a map to print it: that keys and data are in network byte order and data no ranges
/// (`NFTNL_UDATA_SET_KEYBYTEORDER`, `_DATABYTEORDER` and `_DATA_INTERVAL` of libnftnl, as type, length and value).
const AS_NFT_HAS_IT: [u8; 18] = [0, 4, 2, 0, 0, 0, 1, 4, 2, 0, 0, 0, 6, 4, 0, 0, 0, 0];

const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_DATA_VALUE: u16 = 1;

/// A map of a table of family `ip` or `ip6`, from addresses of that family to addresses of that family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Map {
    /// Its table.
    pub table: Table,
    /// Its name, unique in the table.
    pub name: Cow<'static, str>,
}

/// An element of a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// What is looked up.
    pub key: IpAddr,
    /// What is found.
    pub value: IpAddr,
    /// Its comment.
    pub comment: Option<Comment>,
}

impl Map {
    /// Names a map.
    pub fn new(table: &Table, name: impl Into<Cow<'static, str>>) -> Self {
        Self { table: table.clone(), name: name.into() }
    }

    /// The attributes of a request to make it.
    pub(super) fn encode(&self) -> Attributes {
        // The numbers of types are those of `nft`; the kernel keeps them and knows lengths only.
        let (kind, length) = if self.is_ipv6() { (8, 16) } else { (7, 4) };
        let named = self.encode_name().u32(NFTA_SET_FLAGS, IS_MAP);
        let typed = named.u32(NFTA_SET_KEY_TYPE, kind).u32(NFTA_SET_KEY_LEN, length);
        let typed = typed.u32(NFTA_SET_DATA_TYPE, kind).u32(NFTA_SET_DATA_LEN, length);
        typed.u32(NFTA_SET_ID, 1).bytes(NFTA_SET_USERDATA, &AS_NFT_HAS_IT)
    }

    /// The attributes that name it.
    pub(super) fn encode_name(&self) -> Attributes {
        Attributes::new().text(NFTA_SET_TABLE, &self.table.name).text(NFTA_SET_NAME, &self.name)
    }

    /// The attributes that name it in a request about its elements.
    pub(super) fn encode_for_elements(&self) -> Attributes {
        let named = Attributes::new().text(NFTA_SET_ELEM_LIST_TABLE, &self.table.name);
        named.text(NFTA_SET_ELEM_LIST_SET, &self.name)
    }

    /// The attributes of a request about one element.
    pub(super) fn encode_with(&self, element: &Attributes) -> Attributes {
        let list = Attributes::new().nest(NFTA_LIST_ELEM, element);
        self.encode_for_elements().nest(NFTA_SET_ELEM_LIST_ELEMENTS, &list)
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.table.family == Family::Ip6
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

impl Element {
    /// The attributes of a request to add it.
    pub(super) fn encode(&self) -> Attributes {
        let element = key(self.key).nest(NFTA_SET_ELEM_DATA, &data(self.value));
        match &self.comment {
            Some(comment) => element.bytes(NFTA_SET_ELEM_USERDATA, &comment.encode()),
            None => element,
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let address = |kind| address(value(value(bytes, kind)?, NFTA_DATA_VALUE)?);
        Some(Self {
            key: address(NFTA_SET_ELEM_KEY)?,
            value: address(NFTA_SET_ELEM_DATA)?,
            comment: comment_of(bytes),
        })
    }
}

/// The attributes of a request about the element with this key.
pub(super) fn key(key: IpAddr) -> Attributes {
    Attributes::new().nest(NFTA_SET_ELEM_KEY, &data(key))
}

/// The elements that a message tells of, as far as they lead from address to address.
pub(super) fn elements(attributes: &[u8]) -> impl Iterator<Item = Element> {
    each(attributes).filter_map(Element::decode)
}

/// The comments of the elements that a message tells of.
#[cfg(feature = "monitor")]
pub(super) fn comments(attributes: &[u8]) -> impl Iterator<Item = Option<Comment>> {
    each(attributes).map(comment_of)
}

fn each(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let list = value(bytes, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(list).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).map(|(_, element)| element)
}

fn comment_of(element: &[u8]) -> Option<Comment> {
    Comment::decode(value(element, NFTA_SET_ELEM_USERDATA)?)
}

fn data(address: IpAddr) -> Attributes {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    Attributes::new().bytes(NFTA_DATA_VALUE, &bytes)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_survive() {
        let map = Map::new(&Table::new(Family::Ip, "terway"), "pods");
        let comment = Comment::new("terway:k8s/a/eth0").ok();
        for (key, value) in [("10.0.0.2", "10.0.0.9"), ("fd00::2", "fd00::9")] {
            let element = Element {
                key: key.parse().unwrap(),
                value: value.parse().unwrap(),
                comment: comment.clone(),
            };
            let message = map.encode_with(&element.encode());
            assert_eq!(elements(&message.0).collect::<Vec<_>>(), [element]);
        }
    }
}
