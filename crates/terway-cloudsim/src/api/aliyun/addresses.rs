//! The actions that give an ENI more addresses and take them away. Each call is about one thing: a number of
//! addresses, chosen addresses, a number of prefixes or chosen prefixes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde_json::{Value, json};
use terway_types::{AddressCounts, AddressSet, EniId};

use super::parameters::Parameters;
use crate::api::door::Errand;
use crate::api::error::ApiError;
use crate::model::{Assign, Wanted, World};

/// How many chosen addresses, IPv6 addresses or prefixes one call may ask for.
const BATCH: u32 = 10;
/// How many addresses one call may take away.
const UNASSIGN_BATCH: usize = 32;
/// The length of an IPv4 and of an IPv6 prefix.
const LENGTHS: (u8, u8) = (28, 80);

/// The parameters of one family.
struct Family {
    count: &'static str,
    most: u32,
    list: &'static str,
    prefix_count: &'static str,
    prefix_list: &'static str,
    prefix_length: u8,
}

const V4: Family = Family {
    count: "SecondaryPrivateIpAddressCount",
    most: 49,
    list: "PrivateIpAddress",
    prefix_count: "Ipv4PrefixCount",
    prefix_list: "Ipv4Prefix",
    prefix_length: LENGTHS.0,
};
const V6: Family = Family {
    count: "Ipv6AddressCount",
    most: BATCH,
    list: "Ipv6Address",
    prefix_count: "Ipv6PrefixCount",
    prefix_list: "Ipv6Prefix",
    prefix_length: LENGTHS.1,
};

/// `AssignPrivateIpAddresses`.
pub(super) fn assign_v4(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    let counts = |ipv4, ipv4_prefixes| AddressCounts { ipv4, ipv4_prefixes, ..AddressCounts::default() };
    let singles = |ipv4| AddressSet { ipv4, ..AddressSet::default() };
    let (eni, set) = assign(world, given, errand, &V4, counts, singles)?;
    Ok(json!({
        "AssignedPrivateIpAddressesSet": {
            "NetworkInterfaceId": eni.as_str(),
            "PrivateIpSet": { "PrivateIpAddress": set.ipv4 },
            "Ipv4PrefixSet": { "Ipv4Prefixes": set.prefixes },
        },
    }))
}

/// `AssignIpv6Addresses`.
pub(super) fn assign_v6(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    let counts = |ipv6, ipv6_prefixes| AddressCounts { ipv6, ipv6_prefixes, ..AddressCounts::default() };
    let singles = |ipv6| AddressSet { ipv6, ..AddressSet::default() };
    let (eni, set) = assign(world, given, errand, &V6, counts, singles)?;
    Ok(json!({
        "NetworkInterfaceId": eni.as_str(),
        "Ipv6Sets": { "Ipv6Address": set.ipv6 },
        "Ipv6PrefixSets": { "Ipv6Prefix": set.prefixes },
    }))
}

/// `UnassignPrivateIpAddresses`.
pub(super) fn unassign_v4(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    unassign(world, given, errand, &V4, |ipv4: Vec<Ipv4Addr>| AddressSet { ipv4, ..AddressSet::default() })
}

/// `UnassignIpv6Addresses`.
pub(super) fn unassign_v6(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    unassign(world, given, errand, &V6, |ipv6: Vec<Ipv6Addr>| AddressSet { ipv6, ..AddressSet::default() })
}

/// What a new ENI is given is counted. Whoever also chooses by name is refused as the vendor does; whoever only
/// chooses, because this cloud cannot: in silence it would give other ones.
pub(super) fn counted(given: &Parameters) -> Result<(), ApiError> {
    for Family { count, list, prefix_count, prefix_list, .. } in [V4, V6] {
        for (count, list) in [(count, list), (prefix_count, prefix_list)] {
            match (given.get(count), given.list(list).is_empty()) {
                (_, true) => {}
                (Some(_), false) => return Err(ApiError::conflict(count, list)),
                (None, false) => {
                    let message = format!("{list}.N of a new ENI is not simulated: use {count}");
                    return Err(ApiError::new("InvalidParameter", message));
                }
            }
        }
    }
    Ok(())
}

fn assign<A: FromStr>(
    world: &mut World,
    given: &Parameters,
    errand: &Errand,
    family: &Family,
    counts: impl Fn(u32, u32) -> AddressCounts,
    singles: impl Fn(Vec<A>) -> AddressSet,
) -> Result<(EniId, AddressSet), ApiError> {
    let eni = EniId::from(given.required("NetworkInterfaceId")?);
    let count = given.count(family.count, family.most)?;
    let prefix_count = given.count(family.prefix_count, BATCH)?;
    let list: Vec<A> = parse(given, family.list, BATCH as usize)?;
    let prefixes = prefixes(given, family)?;
    let said = [
        (family.count, count > 0),
        (family.list, !list.is_empty()),
        (family.prefix_count, prefix_count > 0),
        (family.prefix_list, !prefixes.is_empty()),
    ];
    let said: Vec<&str> = said.into_iter().filter_map(|(name, said)| said.then_some(name)).collect();
    match said[..] {
        [] => return Err(ApiError::missing(family.count)),
        [_] => {}
        [one, other, ..] => return Err(ApiError::conflict(one, other)),
    }
    let wanted = if list.is_empty() && prefixes.is_empty() {
        Wanted::Any(counts(count, prefix_count))
    } else {
        Wanted::These(AddressSet { prefixes, ..singles(list) })
    };
    let request = Assign { eni: eni.clone(), wanted, client_token: given.client_token()? };
    let set = world.assign(&request, errand.partial, errand.now)?;
    Ok((eni, set))
}

fn unassign<A: FromStr>(
    world: &mut World,
    given: &Parameters,
    errand: &Errand,
    family: &Family,
    singles: impl Fn(Vec<A>) -> AddressSet,
) -> Result<Value, ApiError> {
    let eni = EniId::from(given.required("NetworkInterfaceId")?);
    let list: Vec<A> = parse(given, family.list, UNASSIGN_BATCH)?;
    let prefixes = prefixes(given, family)?;
    match (list.is_empty(), prefixes.is_empty()) {
        (true, true) => return Err(ApiError::missing(family.list)),
        (false, false) => return Err(ApiError::conflict(family.list, family.prefix_list)),
        _ => {}
    }
    world.unassign(&eni, &AddressSet { prefixes, ..singles(list) }, errand.now)?;
    Ok(json!({}))
}

fn prefixes(given: &Parameters, family: &Family) -> Result<Vec<IpNetwork>, ApiError> {
    let prefixes: Vec<IpNetwork> = parse(given, family.prefix_list, BATCH as usize)?;
    let fits = |prefix: &&IpNetwork| {
        prefix.prefix() == family.prefix_length && prefix.is_ipv4() == (family.prefix_length == LENGTHS.0)
    };
    match prefixes.iter().find(|prefix| !fits(prefix)) {
        Some(wrong) => Err(ApiError::invalid(family.prefix_list, &wrong.to_string())),
        None => Ok(prefixes),
    }
}

fn parse<A: FromStr>(given: &Parameters, name: &str, most: usize) -> Result<Vec<A>, ApiError> {
    let texts = given.list(name);
    if texts.len() > most {
        return Err(ApiError::new("InvalidParameter", format!("more than {most} values of {name}.N")));
    }
    texts.iter().map(|text| text.parse().map_err(|_| ApiError::invalid(name, text))).collect()
}
