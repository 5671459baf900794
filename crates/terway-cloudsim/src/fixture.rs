//! A small world for unit tests: two nodes in one zone, a dual-stack vSwitch, a tiny one, one far away.

use crate::config::Config;

pub(crate) fn config() -> Config {
    Config::parse(
        r#"{
        "region": "sim-region-1",
        "vpc": {"id": "vpc-1", "ipv4_cidr": "10.0.0.0/8", "ipv6_cidr": "fd00:10::/32"},
        "vswitches": [
            {"id": "vsw-a", "zone": "zone-a", "ipv4": "10.0.1.0/24", "ipv6": "fd00:10:0:1::/64"},
            {"id": "vsw-tiny", "zone": "zone-a", "ipv4": "10.0.2.0/29"},
            {"id": "vsw-far", "zone": "zone-b", "ipv4": "10.0.3.0/24"}
        ],
        "security_groups": ["sg-1", "sg-2"],
        "instance_types": [{"id": "small", "enis": 3, "ipv4_per_eni": 6, "ipv6_per_eni": 6, "members": 10}],
        "instances": [
            {"id": "i-1", "type": "small", "vswitch": "vsw-a"},
            {"id": "i-2", "type": "small", "vswitch": "vsw-a"}
        ],
        "credentials": [{"access_key_id": "key", "access_key_secret": "secret", "role": "worker"}]
    }"#,
    )
    .expect("the fixture is a world description")
}
