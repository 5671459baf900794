//! The expressions a rule is made of. A packet runs through a rule's expressions as through the lines of a
//! program: loads put data in registers, comparisons may end the rule.

mod codec;

pub(super) use codec::{decode_all, encode_all};

/// A place for data between expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register(pub u32);

impl Register {
    /// Where a verdict goes.
    pub const VERDICT: Self = Self(0);
    /// The first data register of 16 bytes.
    pub const FIRST: Self = Self(1);
    /// The second data register of 16 bytes.
    pub const SECOND: Self = Self(2);
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Loads something known about the packet.
    Meta {
        /// What.
        key: MetaKey,
        /// Whereto.
        to: Register,
    },
    /// Loads bytes of the packet.
    Payload {
        /// The header they are counted from.
        base: PayloadBase,
        /// The first byte.
        offset: u32,
        /// How many, at most 16.
        length: u32,
        /// Whereto.
        to: Register,
    },
    /// Keeps only the bits of a mask.
    Mask {
        /// The register changed.
        register: Register,
        /// The bits kept.
        mask: Vec<u8>,
    },
    /// Keeps only the bits of a mask, and turns those of another over.
    Bits {
        /// The register changed.
        register: Register,
        /// The bits kept.
        keep: Vec<u8>,
        /// The bits turned over; not all zero, that is [`Expr::Mask`].
        flip: Vec<u8>,
    },
    /// Loads the mark of the packet's connection, in host byte order.
    CtMark {
        /// Whereto.
        to: Register,
    },
    /// Loads what is known about the packet's connection (`enum ip_conntrack_status`), in host byte order.
    CtStatus {
        /// Whereto.
        to: Register,
    },
    /// Marks the packet's connection.
    SetCtMark {
        /// The register with the mark.
        from: Register,
    },
    /// Marks the packet.
    SetMark {
        /// The register with the mark.
        from: Register,
    },
    /// Goes on only if the comparison holds.
    Cmp {
        /// The register compared.
        register: Register,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Vec<u8>,
    },
    /// Loads a constant.
    Load {
        /// The constant.
        value: Vec<u8>,
        /// Whereto.
        to: Register,
    },
    /// Loads what a map of the rule's table has for the key in a register; goes on only if it has something.
    Lookup {
        /// The map's name.
        map: String,
        /// The register of the key.
        key: Register,
        /// Whereto.
        to: Register,
    },
    /// Decides on the packet.
    Verdict(Verdict),
    /// Translates an address, and a port if a register holds one.
    Nat {
        /// Which one.
        kind: NatKind,
        /// Whether the address is an IPv6 one.
        ipv6: bool,
        /// The register of the address.
        address: Register,
        /// The register of the port.
        port: Option<Register>,
    },
    /// Translates the source address to that of the link the packet leaves by.
    Masquerade,
    /// Loads the index of the link that the node would answer the packet's source by, among the routes over the link it
    /// came in by; zero if there is none.
    WayBack {
        /// Whereto.
        to: Register,
    },
    /// Counts packets and bytes.
    Counter,
    /// An expression this client has no word for.
    Unknown(String),
}

/// Something known about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetaKey {
    /// The EtherType, in network byte order.
    Protocol = 1,
    /// The mark, in host byte order.
    Mark = 3,
    /// The name of the link it came in by, padded to 16 bytes.
    IifName = 6,
    /// The name of the link it leaves by, padded to 16 bytes.
    OifName = 7,
    /// The family: 2 for IPv4, 10 for IPv6.
    NfProto = 15,
    /// The transport protocol number.
    L4Proto = 16,
    /// The group of the link it came in by, in host byte order.
    IifGroup = 21,
}

/// The header payload bytes are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadBase {
    /// Ethernet.
    Link = 0,
    /// IP or ARP.
    Network = 1,
    /// TCP, UDP, ICMP.
    Transport = 2,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal.
    Eq = 0,
    /// Not equal.
    Ne = 1,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Drop the packet.
    Drop,
    /// Let it pass this chain.
    Accept,
    /// Leave this chain.
    Return,
}

/// Which address is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// The source.
    Source = 0,
    /// The destination.
    Destination = 1,
}
