//! ENIs as the cloud shows them, for tests.

use terway_types::{AddressSet, Addresses, Gateways, MacAddr, Subnets};

use crate::event::{Place, SeenEni};

/// One of ours.
pub(crate) fn seen(name: &str, place: Place) -> SeenEni {
    let last = name.bytes().last().unwrap_or_default();
    SeenEni {
        id: format!("eni-{name}").into(),
        token: Some(name.into()),
        ours: true,
        primary: false,
        mac: MacAddr([2, 0, 0, 0, 0, last]),
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::default(),
        assigned: AddressSet::default(),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        place,
    }
}
