//! Expressions to and from the attributes of nf_tables (`enum nft_*_attributes` in the kernel's
//! `linux/netfilter/nf_tables.h`; the numbers below are theirs, in the order libnftnl writes them).

use super::{Comparison, Expr, MetaKey, NatKind, PayloadBase, Register, Verdict};
use crate::kernel::attribute::{Attributes, text_value, u32_value, value};
use crate::kernel::transport::attributes;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
/// `NFT_CT_MARK`.
const CT_MARK: u32 = 3;
/// `NFT_CT_STATUS`.
const CT_STATUS: u32 = 2;
/// `NFT_FIB_RESULT_OIF`, and `NFTA_FIB_F_SADDR` with `NFTA_FIB_F_IIF`.
const FIB_OIF: u32 = 1;
const FIB_SOURCE_AND_LINK: u32 = 1 | 8;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`: the port is to be translated too.
const PROTO_SPECIFIED: u32 = 2;

/// Encodes the expressions of a rule as a list.
pub(in super::super) fn encode_all(expressions: &[Expr]) -> Attributes {
    expressions.iter().fold(Attributes::new(), |list, expression| {
        let (name, data) = expression.encode();
        let element = Attributes::new().text(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, &data);
        list.nest(NFTA_LIST_ELEM, &element)
    })
}

/// Reads the expressions of a rule.
pub(in super::super) fn decode_all(list: &[u8]) -> Vec<Expr> {
    attributes(list).map(|(_, element)| Expr::decode(element)).collect()
}

impl Expr {
    fn encode(&self) -> (&str, Attributes) {
        let new = Attributes::new;
        match self {
            Self::Meta { key, to } => ("meta", new().u32(2, *key as u32).u32(1, to.0)),
            Self::Payload { base, offset, length, to } => {
                ("payload", new().u32(1, to.0).u32(2, *base as u32).u32(3, *offset).u32(4, *length))
            }
            Self::Mask { register, mask } => ("bitwise", bitwise(*register, mask, &vec![0; mask.len()])),
            Self::Bits { register, keep, flip } => ("bitwise", bitwise(*register, keep, flip)),
            Self::CtMark { to } => ("ct", new().u32(2, CT_MARK).u32(1, to.0)),
            Self::CtStatus { to } => ("ct", new().u32(2, CT_STATUS).u32(1, to.0)),
            Self::SetCtMark { from } => ("ct", new().u32(2, CT_MARK).u32(4, from.0)),
            Self::SetMark { from } => ("meta", new().u32(2, MetaKey::Mark as u32).u32(3, from.0)),
            Self::Cmp { register, comparison, value } => {
                ("cmp", new().u32(1, register.0).u32(2, *comparison as u32).nest(3, &data_value(value)))
            }
            Self::Load { value, to } => ("immediate", new().u32(1, to.0).nest(2, &data_value(value))),
            Self::Lookup { map, key, to } => ("lookup", new().u32(2, key.0).u32(3, to.0).text(1, map)),
            Self::Verdict(verdict) => {
                let code = new().u32(NFTA_VERDICT_CODE, verdict.code());
                let data = new().nest(NFTA_DATA_VERDICT, &code);
                ("immediate", new().u32(1, Register::VERDICT.0).nest(2, &data))
            }
            Self::Nat { kind, ipv6, address, port } => {
                let data = new().u32(1, *kind as u32).u32(2, if *ipv6 { 10 } else { 2 }).u32(3, address.0);
                ("nat", port.iter().fold(data, |data, port| data.u32(5, port.0).u32(7, PROTO_SPECIFIED)))
            }
            Self::WayBack { to } => ("fib", new().u32(3, FIB_SOURCE_AND_LINK).u32(2, FIB_OIF).u32(1, to.0)),
            Self::Masquerade => ("masq", new()),
            Self::Counter => ("counter", new()),
            Self::Unknown(name) => (name, new()),
        }
    }

    fn decode(element: &[u8]) -> Self {
        let name = text_value(element, NFTA_EXPR_NAME).unwrap_or_default();
        let data = value(element, NFTA_EXPR_DATA).unwrap_or_default();
        Self::decode_known(&name, data).unwrap_or(Self::Unknown(name))
    }

    fn decode_known(name: &str, data: &[u8]) -> Option<Self> {
        let number = |kind| u32_value(data, kind);
        let register = |kind| number(kind).map(Register::from_kernel);
        let constant = |kind| Some(value(value(data, kind)?, NFTA_DATA_VALUE)?.to_vec());
        Some(match name {
            "meta" if number(3).is_some() => {
                (number(2)? == MetaKey::Mark as u32).then_some(Self::SetMark { from: register(3)? })?
            }
            "ct" if number(2)? == CT_MARK => match register(1) {
                Some(to) => Self::CtMark { to },
                None => Self::SetCtMark { from: register(4)? },
            },
            "ct" if number(2)? == CT_STATUS => Self::CtStatus { to: register(1)? },
            "meta" => Self::Meta { key: MetaKey::from_number(number(2)?)?, to: register(1)? },
            "payload" => Self::Payload {
                base: PayloadBase::from_number(number(2)?)?,
                offset: number(3)?,
                length: number(4)?,
                to: register(1)?,
            },
            "bitwise" if number(6).unwrap_or(0) == 0 && number(1) == number(2) => {
                let (register, keep, flip) = (register(1)?, constant(4)?, constant(5)?);
                if flip.iter().all(|byte| *byte == 0) {
                    Self::Mask { register, mask: keep }
                } else {
                    Self::Bits { register, keep, flip }
                }
            }
            "cmp" => Self::Cmp {
                register: register(1)?,
                comparison: match number(2)? {
                    0 => Comparison::Eq,
                    1 => Comparison::Ne,
                    _ => return None,
                },
                value: constant(3)?,
            },
            "immediate" if number(1)? == Register::VERDICT.0 => {
                let verdict = value(value(data, 2)?, NFTA_DATA_VERDICT)?;
                Self::Verdict(Verdict::from_code(u32_value(verdict, NFTA_VERDICT_CODE)?)?)
            }
            "immediate" => Self::Load { value: constant(2)?, to: register(1)? },
            "nat" => Self::Nat {
                kind: if number(1)? == 0 { NatKind::Source } else { NatKind::Destination },
                ipv6: number(2)? == 10,
                address: register(3)?,
                port: register(5),
            },
            "lookup" if number(5).unwrap_or(0) == 0 => {
                Self::Lookup { map: text_value(data, 1)?, key: register(2)?, to: register(3)? }
            }
            "fib" if (number(2)?, number(3)?) == (FIB_OIF, FIB_SOURCE_AND_LINK) => {
                Self::WayBack { to: register(1)? }
            }
            "masq" => Self::Masquerade,
            "counter" => Self::Counter,
            _ => return None,
        })
    }
}

impl Register {
    /// The kernel may name a 16-byte register by the number of its first 4-byte one (`NFT_REG32_00` is 8).
    fn from_kernel(number: u32) -> Self {
        match number {
            8..=23 if number.is_multiple_of(4) => Self(number / 4 - 1),
            _ => Self(number),
        }
    }
}

impl MetaKey {
    fn from_number(number: u32) -> Option<Self> {
        let all = [
            Self::Protocol,
            Self::Mark,
            Self::IifName,
            Self::OifName,
            Self::NfProto,
            Self::L4Proto,
            Self::IifGroup,
        ];
        all.into_iter().find(|key| *key as u32 == number)
    }
}

impl PayloadBase {
    fn from_number(number: u32) -> Option<Self> {
        [Self::Link, Self::Network, Self::Transport].into_iter().find(|base| *base as u32 == number)
    }
}

impl Verdict {
    fn code(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Return => (-5_i32).cast_unsigned(),
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Drop, Self::Accept, Self::Return].into_iter().find(|verdict| verdict.code() == code)
    }
}

/// In place, and bit by bit: what is kept, then what is turned over.
fn bitwise(register: Register, keep: &[u8], flip: &[u8]) -> Attributes {
    #[expect(clippy::cast_possible_truncation, reason = "a register has 16 bytes")]
    let length = keep.len() as u32;
    let data = Attributes::new().u32(1, register.0).u32(2, register.0).u32(3, length);
    data.nest(4, &data_value(keep)).nest(5, &data_value(flip))
}

fn data_value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(NFTA_DATA_VALUE, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_survive() {
        let (one, two) = (Register::FIRST, Register::SECOND);
        let all = vec![
            Expr::Meta { key: MetaKey::OifName, to: one },
            Expr::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: one },
            Expr::Mask { register: one, mask: vec![255, 255, 0, 0] },
            Expr::Bits { register: one, keep: vec![255; 4], flip: vec![16, 0, 0, 0] },
            Expr::CtMark { to: one },
            Expr::CtStatus { to: one },
            Expr::SetCtMark { from: two },
            Expr::SetMark { from: one },
            Expr::Cmp { register: one, comparison: Comparison::Ne, value: vec![10, 0, 0, 0] },
            Expr::Load { value: vec![10, 0, 0, 1], to: one },
            Expr::Load { value: vec![0, 80], to: two },
            Expr::Nat { kind: NatKind::Destination, ipv6: false, address: one, port: Some(two) },
            Expr::Meta { key: MetaKey::IifGroup, to: one },
            Expr::WayBack { to: two },
            Expr::Lookup { map: "pods".into(), key: one, to: two },
            Expr::Counter,
            Expr::Masquerade,
            Expr::Verdict(Verdict::Return),
            Expr::Unknown("fib".into()),
        ];
        assert_eq!(decode_all(&encode_all(&all).0), all);
    }
}
