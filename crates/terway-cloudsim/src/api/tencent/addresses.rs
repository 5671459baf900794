//! The actions that give an ENI more addresses and take them away. The addresses are in the answer; the task
//! that makes them work runs on.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde_json::{Value, json};
use terway_types::{AddressCounts, AddressSet, EniId};

use super::body;
use super::error::Refused;
use super::shape;
use crate::api::door::Errand;
use crate::model::{Assign, Goal, Wanted, World};

/// How many addresses one call may ask for. IPv6 addresses have no idempotency token.
const BATCH: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Ipv4Spec {
    private_ip_address: Ipv4Addr,
    #[serde(default)]
    primary: bool,
    #[serde(default, rename = "Description")]
    _description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Ipv4Request {
    network_interface_id: String,
    #[serde(default)]
    secondary_private_ip_address_count: u32,
    #[serde(default)]
    private_ip_addresses: Vec<Ipv4Spec>,
    #[serde(default, rename = "QosLevel")]
    _qos_level: Option<String>,
    #[serde(default)]
    client_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Ipv6Spec {
    address: Ipv6Addr,
    #[serde(default, rename = "Primary")]
    _primary: bool,
    #[serde(default, rename = "Description")]
    _description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Ipv6Request {
    network_interface_id: String,
    #[serde(default)]
    ipv6_address_count: u32,
    #[serde(default)]
    ipv6_addresses: Vec<Ipv6Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Ipv4Release {
    network_interface_id: String,
    private_ip_addresses: Vec<Ipv4Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Ipv6Release {
    network_interface_id: String,
    ipv6_addresses: Vec<Ipv6Spec>,
}

pub(super) fn assign_v4(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Ipv4Request = body::read(body)?;
    if given.private_ip_addresses.iter().any(|spec| spec.primary) {
        return Err(Refused::invalid("a primary address cannot be assigned"));
    }
    let ipv4: Vec<Ipv4Addr> = given.private_ip_addresses.iter().map(|spec| spec.private_ip_address).collect();
    let counts = AddressCounts { ipv4: given.secondary_private_ip_address_count, ..AddressCounts::default() };
    let these = AddressSet { ipv4, ..AddressSet::default() };
    let eni = EniId(given.network_interface_id);
    let set = assign(world, &eni, counts, these, given.client_token, errand)?;
    let state = shape::address_state(world, &eni, errand.now);
    let answer = set.ipv4.iter().map(|address| shape::private_address(*address, false, state));
    Ok(json!({ "PrivateIpAddressSet": answer.collect::<Vec<_>>() }))
}

pub(super) fn assign_v6(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Ipv6Request = body::read(body)?;
    let ipv6: Vec<Ipv6Addr> = given.ipv6_addresses.iter().map(|spec| spec.address).collect();
    let counts = AddressCounts { ipv6: given.ipv6_address_count, ..AddressCounts::default() };
    let these = AddressSet { ipv6, ..AddressSet::default() };
    let eni = EniId(given.network_interface_id);
    let set = assign(world, &eni, counts, these, None, errand)?;
    let state = shape::address_state(world, &eni, errand.now);
    let answer = set.ipv6.iter().map(|address| shape::ipv6_address(*address, state));
    Ok(json!({ "Ipv6AddressSet": answer.collect::<Vec<_>>() }))
}

fn assign(
    world: &mut World,
    eni: &EniId,
    counts: AddressCounts,
    these: AddressSet,
    client_token: Option<String>,
    errand: &Errand,
) -> Result<AddressSet, Refused> {
    let wanted = match (counts.is_empty(), these.is_empty()) {
        (true, true) => {
            return Err(Refused::new("MissingParameter", "neither a number nor addresses are given"));
        }
        (false, false) => {
            return Err(Refused::new(
                "InvalidParameter.Coexist",
                "a number and addresses exclude each other",
            ));
        }
        (false, true) => Wanted::Any(counts),
        (true, false) => Wanted::These(these),
    };
    let amount = wanted.counts();
    if (amount.ipv4 + amount.ipv6) as usize > BATCH {
        return Err(Refused::new(
            "InvalidParameterValue.LimitExceeded",
            format!("more than {BATCH} addresses"),
        ));
    }
    let request = Assign { eni: eni.clone(), wanted, client_token: body::client_token(client_token)? };
    let set = world.assign(&request, errand.partial, errand.now)?;
    world.start_task(&errand.request_id, eni, Goal::Addressed, errand.now);
    Ok(set)
}

pub(super) fn unassign_v4(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Ipv4Release = body::read(body)?;
    let ipv4 = given.private_ip_addresses.iter().map(|spec| spec.private_ip_address).collect();
    unassign(world, given.network_interface_id, &AddressSet { ipv4, ..AddressSet::default() }, errand)
}

pub(super) fn unassign_v6(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Ipv6Release = body::read(body)?;
    let ipv6 = given.ipv6_addresses.iter().map(|spec| spec.address).collect();
    unassign(world, given.network_interface_id, &AddressSet { ipv6, ..AddressSet::default() }, errand)
}

fn unassign(world: &mut World, eni: String, set: &AddressSet, errand: &Errand) -> Result<Value, Refused> {
    if set.is_empty() {
        return Err(Refused::new("MissingParameter", "no addresses are given"));
    }
    let eni = EniId(eni);
    world.unassign(&eni, set, errand.now)?;
    world.start_task(&errand.request_id, &eni, Goal::Addressed, errand.now);
    Ok(json!({}))
}
