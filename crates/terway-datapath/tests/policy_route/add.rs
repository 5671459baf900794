//! ADD: the state it makes, read back by `ip`, and what it refuses.

use terway_datapath::{ApplyError, apply};
use terway_types::{IpFamily::V4, IpFamily::V6};

use crate::shared::{self, SharedEni};
use crate::world::{Pod, World, similar};

/// Rules, tables and the pod's links as `ip` prints them, with what differs from run to run replaced by what it is.
fn state(world: &World, eni: &SharedEni, pod: &Pod) -> Vec<String> {
    let layout = world.layout(pod);
    let cali = layout.host.links[0].name.clone();
    let table = eni.table(world).to_string();
    let (v4, v6) = (pod.plan.addresses.v4.unwrap().to_string(), pod.plan.addresses.v6.unwrap().to_string());
    let names = [
        (cali.clone(), "CALI"),
        (table.clone(), "TABLE"),
        (v4, "V4"),
        (v6, "V6"),
        (layout.host.links[0].mac.to_string(), "HOSTEND"),
        (layout.pod.links[0].mac.to_string(), "PODEND"),
    ];
    let mut lines = Vec::new();
    let mut all = |sort: &str, said: String| {
        let said = names.iter().fold(said, |said, (text, name)| said.replace(text, name));
        let words = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let kept = words.filter(|line| !line.is_empty() && !line.contains("proto kernel"));
        lines.extend(kept.map(|line| format!("{sort} {line}")));
    };
    for family in ["-4", "-6"] {
        all("rule", world.node(&format!("{family} rule show priority 512")));
        all("rule", world.node(&format!("{family} rule show priority 2048")));
        all("table", world.node(&format!("{family} route show table {table}")));
        all("main", world.node(&format!("{family} route show dev {cali}")));
        all("neigh", world.node(&format!("{family} neigh show dev {cali} nud permanent")));
        all("pod route", pod.ip(&format!("{family} route")));
        all("pod neigh", pod.ip(&format!("{family} neigh show nud permanent")));
    }
    lines
}

pub(crate) fn a_dual_stack_pod() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    let pod = eni.pod(&world, &[V4, V6]);
    let layout = world.add(&pod);
    let wanted = "
rule 512: from all to V4 lookup main proto 157
rule 2048: from V4 lookup TABLE proto 157
table default via 10.0.1.253 dev ens4 proto 157 onlink
main V4 proto 157 scope link src 10.0.0.9
neigh V4 lladdr PODEND PERMANENT
pod route default via 169.254.1.1 dev eth0 proto 157 onlink
pod neigh 169.254.1.1 dev eth0 lladdr HOSTEND PERMANENT
rule 512: from all to V6 lookup main proto 157
rule 2048: from V6 lookup TABLE proto 157
table fd00:1::fffd dev ens4 proto 157 metric 1024 pref medium
table default via fd00:1::fffd dev ens4 proto 157 metric 1024 pref medium
main V6 proto 157 src fd00::9 metric 1024 pref medium
neigh V6 lladdr PODEND PERMANENT
pod route default via fe80::1 dev eth0 proto 157 metric 1024 pref medium
pod neigh fe80::1 dev eth0 lladdr HOSTEND PERMANENT";
    let (mut wanted, mut made): (Vec<_>, _) = (wanted.lines().skip(1).collect(), state(&world, &eni, &pod));
    wanted.sort_unstable();
    made.sort_unstable();
    assert_eq!(made.join("\n"), wanted.join("\n"));
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    let addresses = world.node("-o addr show dev ens4 scope global");
    assert_eq!(addresses, "", "the ENI has no address of our making");
    assert!(world.node("link show ens4").contains("UP"));
}

pub(crate) fn a_second_pod_shares_the_table() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    let (one, two) = (eni.pod(&world, &[V4, V6]), eni.pod(&world, &[V4, V6]));
    let layouts = [world.add(&one), world.add(&two)];
    assert_eq!(world.check(&one, &layouts[0]), Vec::<String>::new());
    assert_eq!(world.check(&two, &layouts[1]), Vec::<String>::new());
    let table = eni.table(&world);
    let routes = || {
        world.node(&format!("-4 route show table {table}"))
            + &world.node(&format!("-6 route show table {table}"))
    };
    assert_eq!(routes().lines().count(), 3);
    world.del(&one);
    assert_eq!(world.check(&two, &layouts[1]), Vec::<String>::new());
    world.del(&two);
    assert_eq!(routes(), "");
}

/// The plugin before us, or an ADD that died, left rules of the same address that lead elsewhere, and some that fit.
pub(crate) fn what_an_older_pod_left_makes_way() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 1);
    let pod = eni.pod(&world, &[V4, V6]);
    let (v4, v6) = (pod.plan.addresses.v4.unwrap(), pod.plan.addresses.v6.unwrap());
    world.node(&format!("rule add from {v4} lookup 1099 priority 2048"));
    world.node(&format!("rule add to {v4} lookup main priority 512 protocol 157"));
    world.node(&format!("-6 rule add from {v6} lookup 1099 priority 2048 protocol 157"));
    world.node("rule add from 10.9.9.9 lookup 1099 priority 2048");
    let layout = world.add(&pod);
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    let rules = world.node("-4 rule") + &world.node("-6 rule");
    assert_eq!(rules.matches("lookup 1099").count(), 1, "another address's rule stays: {rules}");
    assert_eq!(rules.matches(&v4.to_string()).count(), 2, "{rules}");
}

pub(crate) fn what_speaks_against_it_changes_nothing() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 1);
    let pod = eni.pod(&world, &[V4]);
    let layout = world.layout(&pod);
    let refused = |what: &str| {
        let before = (world.record(), pod.record());
        let error = apply(&layout, &world.context(&pod, None)).unwrap_err();
        similar(&before.0, &world.record());
        similar(&before.1, &pod.record());
        println!("{what}: {error}");
        error
    };
    world.node("link set ens4 name ens5");
    assert!(matches!(refused("renamed"), ApplyError::NicRenamed { .. }));
    world.node("link set ens5 name ens4");
    world.node("link add br0 type bridge");
    world.node("link set ens4 master br0");
    assert!(matches!(refused("a bridge port"), ApplyError::NicInUse { .. }));
    world.node("link del br0");
    pod.ip("link add eth0 type veth peer name other");
    assert!(matches!(refused("a taken name"), ApplyError::NameTaken { .. }));
    pod.ip("link del eth0");
    apply(&layout, &world.context(&pod, None)).unwrap();
}

pub(crate) fn several_interfaces() {
    let world = World::new();
    let (mut one, mut two) = (shared::eni(&world, 4, 1), shared::eni(&world, 5, 1));
    let mut first = one.pod(&world, &[V4, V6]);
    first.plan.own_table = true;
    let second = two.second(&first, "eth1");
    let before = first.record();
    let layouts = [world.add(&first), world.add(&second)];
    for (pod, layout) in [(&first, &layouts[0]), (&second, &layouts[1])] {
        assert_eq!(world.check(pod, layout), Vec::<String>::new());
    }
    for family in ["-4", "-6"] {
        let defaults = first.ip(&format!("{family} route show default"));
        assert_eq!(defaults.lines().count(), 1, "one default route: {defaults}");
        let rules = first.ip(&format!("{family} rule show priority 512"));
        assert_eq!(rules.lines().count(), 4, "two rules per interface: {rules}");
    }
    // Both have one key: one DEL takes both.
    let removal = terway_datapath::Removal {
        addresses: first.plan.addresses.iter().chain(second.plan.addresses.iter()).collect(),
        ..first.removal()
    };
    terway_datapath::remove(&removal, &world.node, Some(&first.netns), &world.rule).unwrap();
    assert!(!world.node("rule").contains("157"), "{}", world.node("rule"));
    let links = |record: &str| record.lines().filter(|line| line.starts_with("ip link")).count();
    assert_eq!(links(&before), links(&first.record()));
}
