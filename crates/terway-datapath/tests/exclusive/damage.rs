//! State that `ip`, `tc` and `nft` break, object by object: each is named, and what is missing on the node comes back.

use terway_datapath::describe::{LinkKind, Object};
use terway_datapath::{diff, observe};
use terway_types::Bandwidth;

use crate::breaking::take_away;
use crate::sandbox::run;
use crate::world::{Pod, World};

/// Breaks everything a pod has, limited both ways, one by one.
pub(crate) fn of_each_object(world: &World, mut pod: Pod) {
    let limit = Some(Bandwidth { bytes_per_second: 1_250_000, burst_bytes: None });
    (pod.plan.ingress, pod.plan.egress) = (limit, limit);
    let layout = world.layout(&pod);
    let (in_pod, on_host) = (layout.pod.objects().len(), layout.host.objects().len());
    for (is_in_pod, place) in
        (0..in_pod).map(|place| (true, place)).chain((0..on_host).map(|place| (false, place)))
    {
        // Each ADD makes all of it anew, but an ENI of the pod's own keeps the MTU it has.
        let layout = world.add(&pod);
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
        let object = &if is_in_pod { layout.pod.objects() } else { layout.host.objects() }[place];
        break_it(world, &pod, is_in_pod, object);
        let drifts = diff(&layout, &observe(&layout, &world.node, &pod.netns).unwrap());
        // Deleting an address takes routes along, and so on: what was broken must be among the named.
        assert!(drifts.iter().any(|drift| drift.object == *object), "{object}: {drifts:?}");
        if !is_in_pod {
            world.mend(&layout, object);
        }
        world.del(&pod);
    }
}

fn break_it(world: &World, pod: &Pod, in_pod: bool, object: &Object) {
    let ip = |command: &str| if in_pod { pod.ip(command) } else { world.node(command) };
    let (name, netns) =
        if in_pod { (pod.name.clone(), &pod.netns) } else { (world.node_name(), &world.node) };
    match object {
        Object::SharedNic(nic) => ip(&format!("link set {} mtu 1400", nic.name)),
        // Deleting the simulated ENI would end it for good.
        Object::Link(link) if matches!(link.kind, LinkKind::Nic { .. }) => ip("link set eth0 mtu 1400"),
        Object::Limit(limit) => run(&format!("tc -n {name} qdisc del dev {} root", limit.link)),
        Object::Redirect(redirect) => run(&format!("tc -n {name} filter del dev {} ingress", redirect.from)),
        Object::SourceNat(nat) => {
            let family = if nat.pod.is_ipv4() { "ip" } else { "ip6" };
            world.on_node(&format!("nft flush chain {family} terway postrouting"))
        }
        other => take_away(other, netns, &ip),
    };
}
