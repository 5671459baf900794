//! The ranges of a node in VPC mode, as `--pod-cidr` gives them: one per family at most, each a whole network of a
//! size that pods can live in. In Kubernetes they are `spec.podCIDRs` of the Node object, where the Go implementation
//! (and Kubernetes' cloud controller, which writes the VPC's route table) takes them from.

use ipnetwork::IpNetwork;
use terway_types::{IpFamily, NodeMode, Subnets};

use crate::config::ConfigError;
use crate::json_keys::Problem;
use crate::settings::Settings;

/// The flag, as messages name it.
const FLAG: &str = "--pod-cidr";
/// Network, gateway and broadcast leave one address of a /30, and all of a /32 is the network.
const V4: std::ops::RangeInclusive<u8> = 8..=30;
/// All routers' address and the gateway's leave two of a /126.
const V6: std::ops::RangeInclusive<u8> = 16..=126;

/// The ranges, each at most once per family.
pub fn read(given: &[IpNetwork]) -> Result<Subnets, ConfigError> {
    let mut ranges = Subnets::default();
    let mut problems = Vec::new();
    for net in given {
        match wrong(*net, &ranges) {
            Some(message) => problems.push(Problem::new(FLAG, message)),
            None => match net {
                IpNetwork::V4(net) => ranges.v4 = Some(*net),
                IpNetwork::V6(net) => ranges.v6 = Some(*net),
            },
        }
    }
    if problems.is_empty() { Ok(ranges) } else { Err(ConfigError { problems }) }
}

fn wrong(net: IpNetwork, before: &Subnets) -> Option<String> {
    let family = IpFamily::of(&net.ip());
    let (sizes, first, usable) = match net {
        IpNetwork::V4(v4) => (V4, before.v4.map(IpNetwork::V4), !is_special(v4.ip())),
        IpNetwork::V6(v6) => {
            let ip = v6.ip();
            (V6, before.v6.map(IpNetwork::V6), !ip.is_multicast() && !ip.is_unicast_link_local())
        }
    };
    if let Some(first) = first {
        return Some(format!("{net} is the second {family} range beside {first}: a node has one per family"));
    }
    if net.ip() != net.network() {
        return Some(format!(
            "{net} is an address, not a range: the range is {}/{}",
            net.network(),
            net.prefix()
        ));
    }
    if !sizes.contains(&net.prefix()) {
        let (largest, smallest) = (sizes.start(), sizes.end());
        return Some(format!("{net} is not between /{largest} and /{smallest}, the sizes pods can live in"));
    }
    (!usable).then(|| format!("{net} is of addresses that no pod can have"))
}

fn is_special(ip: std::net::Ipv4Addr) -> bool {
    ip.is_loopback()
        || ip.is_multicast()
        || ip.is_link_local()
        || ip.octets()[0] == 0
        || ip.octets()[0] >= 240
}

/// Holds the ranges against mode and settings; what a node of another mode does not heed is a warning.
pub fn check(ranges: &Subnets, mode: NodeMode, settings: &Settings) -> Result<Option<String>, ConfigError> {
    if mode != NodeMode::VpcRoute {
        let said = *ranges != Subnets::default();
        return Ok(
            said.then(|| format!("`{FLAG}` has no effect: only --daemon-mode VPC gives its addresses"))
        );
    }
    let mut problems = Vec::new();
    let mut refuse = |key: &str, message: String| problems.push(Problem::new(key, message));
    if ranges.v4.is_none() {
        refuse(
            FLAG,
            "is missing: give the IPv4 range that the VPC's route table leads to this node, spec.podCIDR of its Node object"
                .to_owned(),
        );
    }
    match (ranges.v6, settings.ipv6) {
        (None, true) => refuse(
            FLAG,
            "has no IPv6 range, but `ip_stack` is \"dual\": give the second of spec.podCIDRs, or set `ip_stack` to \"ipv4\""
                .to_owned(),
        ),
        (Some(v6), false) => refuse(
            FLAG,
            format!("{v6} is IPv6, but `ip_stack` is \"ipv4\": set `ip_stack` to \"dual\", or leave it out"),
        ),
        _ => {}
    }
    for net in ranges.iter() {
        for service in settings.service_cidrs.iter().filter(|service| overlap(service, &net)) {
            refuse(
                FLAG,
                format!("{net} overlaps `service_cidr` {service}: give ranges of their own to each"),
            );
        }
    }
    if problems.is_empty() { Ok(None) } else { Err(ConfigError { problems }) }
}

fn overlap(one: &IpNetwork, other: &IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Result<Subnets, String> {
        let given: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
        read(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn one_range_per_family_is_taken() {
        let both = of(&["fd00:9::/64", "10.9.1.0/24"]).unwrap();
        assert_eq!(both, Subnets::new("10.9.1.0/24".parse().ok(), "fd00:9::/64".parse().ok()));
        assert_eq!(of(&[]).unwrap(), Subnets::default());
    }

    #[test]
    fn what_no_pod_can_live_in_is_refused_by_flag_value_and_remedy() {
        for (given, message) in [
            (
                &["10.9.1.7/24"][..],
                "--pod-cidr: 10.9.1.7/24 is an address, not a range: the range is 10.9.1.0/24",
            ),
            (&["10.9.1.0/31"], "--pod-cidr: 10.9.1.0/31 is not between /8 and /30"),
            (&["fd00::/127"], "--pod-cidr: fd00::/127 is not between /16 and /126"),
            (&["169.254.0.0/16"], "--pod-cidr: 169.254.0.0/16 is of addresses that no pod can have"),
            (&["fe80::/64"], "--pod-cidr: fe80::/64 is of addresses that no pod can have"),
            (&["10.1.0.0/24", "10.2.0.0/24"], "10.2.0.0/24 is the second IPv4 range beside 10.1.0.0/24"),
        ] {
            let refusal = of(given).unwrap_err();
            assert!(refusal.contains(message), "{refusal}");
        }
    }

    #[test]
    fn mode_stack_and_services_must_fit() {
        let check = |texts: &[&str], mode, config: &str| {
            let settings = Settings::parse(config, mode).unwrap();
            check(&of(texts).unwrap(), mode, &settings).map_err(|error| error.to_string())
        };
        let vpc = NodeMode::VpcRoute;
        let dual = r#"{"ip_stack": "dual"}"#;
        assert_eq!(check(&["10.9.1.0/24"], vpc, "{}"), Ok(None));
        assert_eq!(check(&["10.9.1.0/24", "fd00:9::/64"], vpc, dual), Ok(None));
        for (given, config, message) in [
            (&[][..], "{}", "--pod-cidr: is missing: give the IPv4 range"),
            (&["fd00:9::/64"], dual, "--pod-cidr: is missing"),
            (&["10.9.1.0/24"], dual, "has no IPv6 range, but `ip_stack` is \"dual\""),
            (&["10.9.1.0/24", "fd00:9::/64"], "{}", "fd00:9::/64 is IPv6, but `ip_stack` is \"ipv4\""),
            (&["10.9.0.0/16"], r#"{"service_cidr": "10.9.8.0/24"}"#, "overlaps `service_cidr` 10.9.8.0/24"),
        ] {
            let refusal = check(given, vpc, config).unwrap_err();
            assert!(refusal.contains(message), "{refusal}");
        }
        let warning = check(&["10.9.1.0/24"], NodeMode::Shared, "{}").unwrap().unwrap();
        assert!(warning.contains("has no effect"), "{warning}");
    }
}
