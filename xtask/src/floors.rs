//! Who may depend on whom. The table is the house's plan (`ARCHITECTURE.md` draws it); an edge that is
//! not in it is a decision somebody has to take here, in the open.

use crate::metadata::Package;

/// What one of our crates may name in its manifest.
struct Room {
    name: &'static str,
    /// Crates of ours it may depend on.
    ours: &'static [&'static str],
    /// Crates of ours its tests may use besides.
    tests: &'static [&'static str],
    /// If it must do no I/O: the only other people's crates it may use outside tests.
    pure: Option<&'static [&'static str]>,
}

const fn room(name: &'static str, ours: &'static [&'static str]) -> Room {
    Room { name, ours, tests: &[], pure: None }
}

const fn pure(name: &'static str, ours: &'static [&'static str], others: &'static [&'static str]) -> Room {
    Room { name, ours, tests: &[], pure: Some(others) }
}

const PLAN: &[Room] = &[
    // ground
    pure("terway-types", &[], &["ipnetwork", "thiserror"]),
    pure("cni-protocol", &[], &["ipnetwork", "serde", "serde_json", "serde_path_to_error", "thiserror"]),
    room("grpc-unary", &[]),
    // domain: never each other
    pure("terway-pool", &["terway-types"], &["ipnetwork", "thiserror"]),
    room("terway-rpc", &["grpc-unary", "terway-types"]),
    room("terway-datapath", &["terway-types"]),
    room("terway-cloud", &["terway-types"]),
    room("terway-ledger", &["terway-types"]),
    // programs: never each other
    room("terway-cni", &["cni-protocol", "terway-datapath", "terway-rpc", "terway-types"]),
    room(
        "terway-daemon",
        &["terway-cloud", "terway-datapath", "terway-ledger", "terway-pool", "terway-rpc", "terway-types"],
    ),
    room("terway-cli", &["terway-datapath", "terway-rpc", "terway-types"]),
    Room {
        name: "terway-cloudsim",
        ours: &["terway-datapath", "terway-types"],
        // It speaks the providers' protocols; the provider's client is the best judge of that.
        tests: &["terway-cloud"],
        pure: None,
    },
    // beside the house: starts the shipped programs, links none of them
    Room {
        name: "terway-rig",
        // The benchmark measures the engine's decisions and the ledger in its own process.
        ours: &["terway-datapath", "terway-ledger", "terway-pool", "terway-rpc", "terway-types"],
        // A thousand nodes are too many for processes: one test puts engines, the daemon's hands and the pure cloud
        // together in one.
        tests: &["terway-cloud", "terway-cloudsim", "terway-daemon"],
        pure: None,
    },
    room("xtask", &[]),
];

/// The only crate that may name netlink's packet types.
const NETLINK_OWNER: &str = "terway-datapath";

/// Every edge of these packages that the plan does not have, as sentences.
pub(crate) fn violations<'a>(members: impl Iterator<Item = &'a Package> + Clone) -> Vec<String> {
    let ours: Vec<&str> = members.clone().map(|package| package.name.as_str()).collect();
    let mut found = Vec::new();
    for package in members {
        let Some(room) = PLAN.iter().find(|room| room.name == package.name) else {
            found.push(format!("{} has no room in the plan (xtask/src/floors.rs)", package.name));
            continue;
        };
        for edge in &package.dependencies {
            if edge.name == package.name {
                continue; // its own tests switching on its own features
            }
            let test_only = edge.kind.as_deref() == Some("dev");
            let complaint = if ours.contains(&edge.name.as_str()) {
                judge_ours(room, &edge.name, test_only)
            } else {
                judge_other(room, &edge.name, test_only)
            };
            found.extend(complaint);
        }
    }
    found
}

fn judge_ours(room: &Room, to: &str, test_only: bool) -> Option<String> {
    let allowed = room.ours.contains(&to) || (test_only && room.tests.contains(&to));
    (!allowed).then(|| format!("{} must not depend on {to}", room.name))
}

fn judge_other(room: &Room, to: &str, test_only: bool) -> Option<String> {
    let is_netlink = to.starts_with("netlink-") || to == "rtnetlink";
    if is_netlink && room.name != NETLINK_OWNER {
        return Some(format!("{} must not name {to}: only {NETLINK_OWNER} speaks netlink", room.name));
    }
    let impure = !test_only && room.pure.is_some_and(|others| !others.contains(&to));
    impure.then(|| format!("{} does no I/O and must not depend on {to}", room.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, edges: &[(&str, Option<&str>)]) -> Package {
        let json = serde_json::json!({
            "id": name, "name": name, "version": "0.0.0", "license": null, "source": null,
            "manifest_path": "", "dependencies": [], "targets": [],
        });
        let mut package: Package = serde_json::from_value(json).unwrap();
        package.dependencies = edges
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(str::to_owned) })
            .collect();
        package
    }

    fn judge(packages: &[Package]) -> Vec<String> {
        violations(packages.iter())
    }

    #[test]
    fn edges_of_the_plan_pass() {
        let found = judge(&[
            package("terway-types", &[("thiserror", None), ("proptest", Some("dev"))]),
            package("terway-pool", &[("terway-types", None), ("proptest", Some("dev"))]),
            package("terway-datapath", &[("terway-types", None), ("netlink-sys", None)]),
            package("terway-rpc", &[("terway-rpc", Some("dev")), ("tonic", None)]),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn neighbours_and_upward_edges_are_named() {
        let found = judge(&[
            package("terway-types", &[]),
            package("terway-pool", &[("terway-ledger", None), ("terway-ledger", Some("dev"))]),
            package("terway-ledger", &[("terway-daemon", Some("build"))]),
            package("terway-daemon", &[]),
        ]);
        assert_eq!(
            found,
            [
                "terway-pool must not depend on terway-ledger",
                "terway-pool must not depend on terway-ledger",
                "terway-ledger must not depend on terway-daemon",
            ]
        );
    }

    #[test]
    fn a_test_edge_is_no_normal_edge() {
        let cloud = package("terway-cloud", &[]);
        let sim = |kind| package("terway-cloudsim", &[("terway-cloud", kind)]);
        assert_eq!(judge(&[cloud, sim(Some("dev"))]), [""; 0]);
        let cloud = package("terway-cloud", &[]);
        assert_eq!(judge(&[cloud, sim(None)]), ["terway-cloudsim must not depend on terway-cloud"]);
    }

    #[test]
    fn netlink_and_io_stay_where_they_belong() {
        let found = judge(&[
            package("terway-cni", &[("netlink-packet-route", None)]),
            package("terway-rig", &[("rtnetlink", Some("dev"))]),
            package("terway-pool", &[("tokio", None)]),
        ]);
        assert_eq!(
            found,
            [
                "terway-cni must not name netlink-packet-route: only terway-datapath speaks netlink",
                "terway-rig must not name rtnetlink: only terway-datapath speaks netlink",
                "terway-pool does no I/O and must not depend on tokio",
            ]
        );
    }

    #[test]
    fn a_crate_without_a_room_is_named() {
        assert_eq!(
            judge(&[package("terway-utils", &[])]),
            ["terway-utils has no room in the plan (xtask/src/floors.rs)"]
        );
    }

    /// The plan cannot contradict itself: what it allows points down a floor, never sideways.
    #[test]
    fn the_plan_has_three_floors() {
        let floor = |name: &str| match name {
            "terway-types" | "cni-protocol" | "grpc-unary" => 0,
            "terway-pool" | "terway-rpc" | "terway-datapath" | "terway-cloud" | "terway-ledger" => 1,
            "terway-rig" => 3,
            _ => 2,
        };
        for room in PLAN {
            for to in room.ours.iter().chain(room.tests) {
                assert!(floor(to) < floor(room.name), "{} -> {to}", room.name);
            }
        }
    }
}
