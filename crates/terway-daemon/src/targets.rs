//! The pool's targets: the operator's wishes, held against what the node may have. What the node cannot do is
//! refused with the numbers; what it cannot do in full is cut down with a warning that names both numbers.

use std::time::Duration;

use sha1::{Digest as _, Sha1};
use terway_cloud::EniSource;
use terway_pool::{Mode, PoolSettings, Sharing};
use terway_types::{Fault, FaultCode, NodeMode};

use crate::node_facts::NodeFacts;
use crate::settings::Settings;

/// How long an attached ENI may take to show its netdev.
const LINK_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a released ENI's netdev may take to come home.
const HOME_TIMEOUT: Duration = Duration::from_mins(1);
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Whoever mends a permission or a quota should not have to wait long to see it.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Reads of the cloud may be older than this only when something is badly wrong.
pub const CONSISTENCY: Duration = Duration::from_secs(30);
/// Longer than the sum of what one operation may wait for.
const OPERATION_TIMEOUT: Duration = Duration::from_mins(10);
/// Addresses of a /28.
const PREFIX_SIZE: u32 = 16;

/// Whose pool it is.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The node's name.
    pub node: &'a str,
}

/// The pool's targets, and what of the operator's wishes the node cannot fulfil.
pub fn targets(
    facts: &NodeFacts,
    settings: &Settings,
    mode: NodeMode,
    holder: Holder<'_>,
) -> Result<(PoolSettings, Vec<String>), Fault> {
    if mode == NodeMode::VpcRoute {
        let pool = PoolSettings {
            mode: Mode::Routed(facts.pod_ranges),
            max_enis: 1,
            ..common(facts, settings, holder)
        };
        return Ok((pool, Vec::new()));
    }
    let kind = &facts.identity.instance_type;
    let mut clamp = Clamp { warnings: Vec::new() };
    if !settings.vswitches.is_empty() && !settings.vswitches.contains_key(&facts.identity.zone) {
        let (zone, own) = (&facts.identity.zone, &facts.identity.vswitch);
        clamp.warnings.push(format!("`vswitches` lists none for zone {zone}: using the node's own, {own}"));
    }
    let max_enis = max_enis(facts, settings, &mut clamp)?;
    check_families(facts, settings)?;
    let (mode, room) = match mode {
        NodeMode::Exclusive => (
            Mode::Exclusive,
            Room { most: max_enis, what: format!("the {max_enis} ENIs this node may have") },
        ),
        NodeMode::Shared if facts.kind.source == EniSource::Eflo => {
            let what = format!(
                "an ENI of this {kind} has one address, for the pod that owns it: pods cannot share ENIs"
            );
            return Err(Fault::new(FaultCode::ConfigInvalid, what)
                .remedy("start terwayd with --daemon-mode ENIOnly on Lingjun nodes"));
        }
        NodeMode::Shared | NodeMode::VpcRoute => {
            let sharing = sharing(facts, settings, max_enis, &mut clamp)?;
            (Mode::Shared(sharing), addresses(kind, max_enis, sharing))
        }
    };
    let mut sized = |key: &str, wished: u32| clamp.to(key, wished, room.most, &room.what);
    let sizes = &settings.sizes;
    let mut max_idle = sized("max_pool_size", sizes.max_idle);
    let min_idle = sized("min_pool_size", sizes.min_idle);
    let mut warm_up = sized("ip_warm_up_size", sizes.warm_up);
    if let (Mode::Shared(sharing), Some(wished)) = (mode, sizes.prefixes) {
        let (most, slots) = (room.most / PREFIX_SIZE, sharing.per_eni - 1);
        let why = format!("the {most} prefixes of {max_enis} ENIs with {slots} each on a {kind}");
        let whole = clamp.to("ipv4_prefix_count", wished, most, &why) * PREFIX_SIZE;
        // A count of prefixes is a stock of addresses that is there from the start and is not given back.
        (warm_up, max_idle) = (warm_up.max(whole), max_idle.max(whole));
    }
    let pool =
        PoolSettings { mode, min_idle, max_idle, warm_up, max_enis, ..common(facts, settings, holder) };
    Ok((pool, clamp.warnings))
}

/// What does not depend on the mode.
fn common(facts: &NodeFacts, settings: &Settings, holder: Holder<'_>) -> PoolSettings {
    let identity = facts.identity.id.as_str();
    PoolSettings {
        mode: Mode::Exclusive,
        min_idle: 0,
        max_idle: 0,
        warm_up: 0,
        max_enis: 0,
        release: settings.release,
        reclaim: settings.reclaim,
        vswitches: facts.vswitches.iter().map(|vswitch| vswitch.id.clone()).collect(),
        vswitch_policy: settings.vswitch_policy,
        security_groups: facts.security_groups.clone(),
        ipv6: settings.ipv6,
        quarantine: settings.quarantine,
        quarantine_max: settings.quarantine_max,
        consistency: CONSISTENCY,
        link_timeout: LINK_TIMEOUT,
        home_timeout: HOME_TIMEOUT,
        operation_timeout: OPERATION_TIMEOUT,
        retry_first: RETRY_FIRST,
        retry_max: RETRY_MAX,
        parallel: settings.parallel,
        token_prefix: format!("terway-{:016x}", digest(&[holder.cluster, holder.node, identity])),
        generation: 0,
        // Each node chooses in its own order.
        seed: digest(&[identity]),
    }
}

struct Clamp {
    warnings: Vec<String>,
}

impl Clamp {
    fn to(&mut self, key: &str, wished: u32, most: u32, why: &str) -> u32 {
        if wished > most {
            self.warnings.push(format!("`{key}` {wished} is more than {why}: using {most}"));
        }
        wished.min(most)
    }
}

/// How much the pool can hold at most, and how that is said.
struct Room {
    most: u32,
    what: String,
}

fn max_enis(facts: &NodeFacts, settings: &Settings, clamp: &mut Clamp) -> Result<u32, Fault> {
    let (kind, enis) = (&facts.identity.instance_type, facts.limits.enis);
    let beside_primary = enis.saturating_sub(1);
    if beside_primary == 0 {
        let what = format!("instance type {kind} carries {enis} ENI: none besides the primary one");
        return Err(Fault::new(FaultCode::QuotaReached, what).remedy("use a larger instance type"));
    }
    let capped = cap(enis, settings.sizes.eni_cap).min(beside_primary);
    Ok(match settings.sizes.max_eni {
        Some(wished) => {
            let why = format!("the {capped} ENIs a {kind} may carry besides its primary one");
            clamp.to("max_eni", wished, capped, &why)
        }
        None => capped,
    })
}

/// Dual stack gives every pod one address of each family, so an ENI must take as many of one as of the other.
fn check_families(facts: &NodeFacts, settings: &Settings) -> Result<(), Fault> {
    if !settings.ipv6 {
        return Ok(());
    }
    let kind = &facts.identity.instance_type;
    let (v4, v6) = (facts.limits.ipv4_per_eni, facts.limits.ipv6_per_eni);
    let what = if facts.kind.lingjun {
        format!("{kind} is a Lingjun type, which has no dual stack, but `ip_stack` is \"dual\"")
    } else if v6 == 0 {
        format!("instance type {kind} has no IPv6, but `ip_stack` is \"dual\"")
    } else if v4 != v6 {
        format!(
            "an ENI of a {kind} takes {v4} IPv4 and {v6} IPv6 addresses; with `ip_stack` \"dual\" the numbers must be equal"
        )
    } else {
        return Ok(());
    };
    Err(Fault::new(FaultCode::ConfigInvalid, what)
        .remedy("use another instance type, or set `ip_stack` to \"ipv4\""))
}

fn sharing(
    facts: &NodeFacts,
    settings: &Settings,
    max_enis: u32,
    clamp: &mut Clamp,
) -> Result<Sharing, Fault> {
    let (kind, limits, sizes) = (&facts.identity.instance_type, &facts.limits, &settings.sizes);
    let most = limits.ipv4_per_eni.max(1);
    let mut per_eni = match sizes.max_ip_per_eni {
        Some(wished) => clamp.to(
            "max_ip_per_eni",
            wished,
            most,
            &format!("the {most} addresses an ENI of a {kind} takes"),
        ),
        None => most,
    };
    if sizes.prefixes.is_some() {
        let prefixes = limits.prefixes_per_eni;
        if prefixes == 0 {
            let what =
                format!("an ENI of a {kind} takes {prefixes} prefixes, but `enable_ip_prefix` is true");
            return Err(Fault::new(FaultCode::ConfigInvalid, what).remedy(
                "set `enable_ip_prefix` to false: this instance type, or all of this cloud, has no prefixes",
            ));
        }
        per_eni = per_eni.min(prefixes + 1);
    }
    let allowed = format!("the {max_enis} ENIs this node may have");
    Ok(Sharing {
        per_eni,
        prefixes: sizes.prefixes.is_some(),
        assign_batch: limits.assign_batch.max(1),
        eni_policy: settings.eni_policy,
        min_enis: clamp.to("min_eni", sizes.min_enis, max_enis, &allowed),
    })
}

/// How many addresses the node can have.
fn addresses(kind: &str, max_enis: u32, sharing: Sharing) -> Room {
    let (slots, each, unit) = if sharing.prefixes {
        (sharing.per_eni - 1, PREFIX_SIZE, "prefixes")
    } else {
        (sharing.per_eni, 1, "addresses")
    };
    let most = max_enis.saturating_mul(slots).saturating_mul(each);
    Room {
        most,
        what: format!("the {most} addresses of {max_enis} ENIs with {slots} {unit} each on a {kind}"),
    }
}

/// `int(adapters x ratio) + shift - 1`, as the existing implementation counts; the one is the primary.
fn cap(adapters: u32, (ratio, shift): (f64, i32)) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a small number times at most 1")]
    let share = (f64::from(adapters) * ratio) as i64;
    u32::try_from(share + i64::from(shift) - 1).unwrap_or(0)
}

/// A number that stands for these texts.
fn digest(texts: &[&str]) -> u64 {
    let mut hash = Sha1::new();
    for text in texts {
        hash.update(text);
        hash.update([0]);
    }
    let bytes = hash.finalize();
    bytes.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_facts::tests::facts;
    use crate::node_kind::NodeKind;

    fn held(facts: &NodeFacts, config: &str, mode: NodeMode) -> Result<(PoolSettings, Vec<String>), Fault> {
        let settings = Settings::parse(config, mode).unwrap();
        targets(facts, &settings, mode, Holder { cluster: "c", node: "n" })
    }

    fn exclusive(enis: u32, config: &str) -> Result<(PoolSettings, Vec<String>), Fault> {
        held(&facts(enis, 6, 0), config, NodeMode::Exclusive)
    }

    fn shared(config: &str) -> (PoolSettings, Sharing, Vec<String>) {
        let (pool, warnings) = held(&facts(4, 10, 10), config, NodeMode::Shared).unwrap();
        let Mode::Shared(sharing) = pool.mode else { panic!("the mode is kept") };
        (pool, sharing, warnings)
    }

    #[test]
    fn wishes_beyond_the_instance_are_cut_down_and_said() {
        let (pool, warnings) =
            exclusive(3, r#"{"max_eni": 20, "min_pool_size": 4, "max_pool_size": 5, "ip_warm_up_size": 3}"#)
                .unwrap();
        assert_eq!((pool.max_enis, pool.min_idle, pool.max_idle, pool.warm_up), (2, 2, 2, 2));
        assert_eq!(
            warnings,
            [
                "`max_eni` 20 is more than the 2 ENIs a ecs.g7.large may carry besides its primary one: using 2",
                "`max_pool_size` 5 is more than the 2 ENIs this node may have: using 2",
                "`min_pool_size` 4 is more than the 2 ENIs this node may have: using 2",
                "`ip_warm_up_size` 3 is more than the 2 ENIs this node may have: using 2",
            ]
        );
        assert!(pool.token_prefix.len() <= 26);
    }

    #[test]
    fn shared_enis_are_counted_by_address() {
        let (pool, sharing, warnings) =
            shared(r#"{"max_ip_per_eni": 20, "min_eni": 5, "max_pool_size": 31, "min_pool_size": 2}"#);
        assert_eq!((pool.max_enis, pool.max_idle, pool.min_idle), (3, 30, 2));
        assert_eq!((sharing.per_eni, sharing.min_enis, sharing.assign_batch), (10, 3, 10));
        assert_eq!(
            warnings,
            [
                "`max_ip_per_eni` 20 is more than the 10 addresses an ENI of a ecs.g7.large takes: using 10",
                "`min_eni` 5 is more than the 3 ENIs this node may have: using 3",
                "`max_pool_size` 31 is more than the 30 addresses of 3 ENIs with 10 addresses each on a ecs.g7.large: using 30",
            ]
        );
        let (pool, sharing, _) = shared(r#"{"max_ip_per_eni": 4, "max_pool_size": 31}"#);
        assert_eq!((sharing.per_eni, pool.max_idle), (4, 12));
    }

    #[test]
    fn a_number_of_prefixes_is_there_from_the_start_and_stays() {
        let (pool, sharing, warnings) = shared(r#"{"enable_ip_prefix": true, "ipv4_prefix_count": 2}"#);
        assert!(sharing.prefixes && warnings.is_empty(), "{warnings:?}");
        assert_eq!((pool.warm_up, pool.max_idle, pool.min_idle), (32, 32, 0));
        let (pool, _, warnings) = shared(r#"{"enable_ip_prefix": true, "ipv4_prefix_count": 28}"#);
        assert_eq!(pool.warm_up, 432);
        assert_eq!(
            warnings,
            [
                "`ipv4_prefix_count` 28 is more than the 27 prefixes of 3 ENIs with 9 each on a ecs.g7.large: using 27"
            ]
        );
        let fault = held(&facts(4, 1, 0), r#"{"enable_ip_prefix": true}"#, NodeMode::Shared).unwrap_err();
        assert_eq!(fault.what, "an ENI of a ecs.g7.large takes 0 prefixes, but `enable_ip_prefix` is true");
    }

    #[test]
    fn ratio_and_shift_count_as_they_always_did() {
        for (config, wanted) in [
            ("{}", 7),
            (r#"{"eni_cap_ratio": 0.5}"#, 3),
            (r#"{"eni_cap_shift": -2}"#, 5),
            (r#"{"eni_cap_shift": 9}"#, 7),
            (r#"{"max_eni": 4}"#, 4),
        ] {
            assert_eq!(exclusive(8, config).unwrap().0.max_enis, wanted, "{config}");
        }
    }

    #[test]
    fn a_node_that_cannot_serve_says_why() {
        let fault = exclusive(1, "{}").unwrap_err();
        assert_eq!(fault.what, "instance type ecs.g7.large carries 1 ENI: none besides the primary one");
        let dual = |facts: &NodeFacts| {
            held(facts, r#"{"ip_stack": "dual"}"#, NodeMode::Exclusive)
                .map(|_| ())
                .map_err(|fault| fault.what)
        };
        assert_eq!(
            dual(&facts(4, 6, 0)).unwrap_err(),
            "instance type ecs.g7.large has no IPv6, but `ip_stack` is \"dual\""
        );
        assert_eq!(
            dual(&facts(4, 6, 1)).unwrap_err(),
            "an ENI of a ecs.g7.large takes 6 IPv4 and 1 IPv6 addresses; with `ip_stack` \"dual\" the numbers must be equal"
        );
        let kind = NodeKind { lingjun: true, ..NodeKind::default() };
        let lingjun = NodeFacts { kind, ..facts(4, 6, 6) };
        assert_eq!(
            dual(&lingjun).unwrap_err(),
            "ecs.g7.large is a Lingjun type, which has no dual stack, but `ip_stack` is \"dual\""
        );
        assert_eq!(dual(&facts(4, 6, 6)), Ok(()));
    }

    #[test]
    fn a_zone_that_is_not_listed_uses_the_nodes_own_vswitch_and_is_said() {
        let (_, warnings) = exclusive(8, r#"{"vswitches": {"g": ["vsw-9"]}}"#).unwrap();
        assert_eq!(warnings, ["`vswitches` lists none for zone h: using the node's own, vsw-1"]);
    }
}
