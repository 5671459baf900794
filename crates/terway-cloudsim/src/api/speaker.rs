//! Who calls: the instance whose ENI has the caller's source address; over loopback, `127.0.0.N` is the N-th
//! instance of the description.

use std::net::IpAddr;

use terway_types::InstanceId;

use crate::model::{Instance, World};

/// The instance that speaks with an address.
pub(super) fn of(world: &World, address: IpAddr) -> Option<&Instance> {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => {
            let index = usize::from(v4.octets()[3]).checked_sub(1)?;
            let id = &world.config().instances.get(index)?.id;
            world.instance(&InstanceId(id.clone()))
        }
        address => world.instance_at(address),
    }
}

/// Its name, or the address where it is no instance's.
pub(super) fn name(world: &World, address: IpAddr) -> String {
    of(world, address).map_or_else(|| address.to_string(), |instance| instance.id.to_string())
}
