//! A card that is pulled out, as a cloud's detach does it: at once, whoever uses it.

use std::thread;
use std::time::Duration;

use terway_datapath::kernel::{Netlink, find_nic};
use terway_types::fault::chain;

use crate::card::Card;
use crate::homecoming::is_settled;
use crate::node::{Node, Pod, eventually, run};

/// On a node whose own NIC has another name the kernel calls a NIC that comes home `eth0`.
pub(crate) fn under_the_nodes_own_name(card: Card) {
    let node = Node::with_uplink("ens5", card);
    let pod = Pod::new("pod", "eth0");
    node.add(&pod);
    let key = pod.die();
    let line = node.card_at_home();
    assert!(line.contains(" eth0: "), "{line}");
    let next = Pod::new("next", "eth0");
    let layout = node.add(&next);
    assert_eq!(node.check(&next, &layout), Vec::<String>::new());
    assert_eq!(node.del(&key, None).nics, [], "the card is another pod's now");
    node.del(&next.key, Some(&next.netns));
    is_settled(&node);
    next.die();
}

pub(crate) fn while_in_a_pod(card: Card) {
    let node = Node::new(card);
    let pod = Pod::new("pod", "eth0");
    let layout = node.add(&pod);
    node.speaks(&pod);
    card.pull();
    eventually(|| (!run("ip -n pod -o link").contains("eth0")).then_some(()));
    assert!(!run("ip -o link").contains(&card.mac().to_string()), "it does not come home");
    let drifts = node.check(&pod, &layout);
    assert!(drifts.iter().any(|drift| drift.contains("eth0")), "{drifts:?}");
    assert_eq!(node.del(&pod.key, Some(&pod.netns)).nics, []);
    pod.die();
    // The cloud attaches it again.
    card.plug();
    card.connect();
    let next = Pod::new("next", "eth0");
    let layout = node.add(&next);
    assert_eq!(node.check(&next, &layout), Vec::<String>::new());
    node.speaks(&next);
    node.del(&next.key, Some(&next.netns));
    is_settled(&node);
    next.die();
}

pub(crate) fn while_at_home(card: Card) {
    let node = Node::new(card);
    card.pull();
    let before = run("ip -o link; ip route show table all; ip rule");
    let pod = Pod::new("pod", "eth0");
    let error = node.try_add(&pod, Duration::from_millis(300)).unwrap_err();
    let said = chain(&error);
    assert!(said.contains(&card.mac().to_string()), "{said}");
    assert_eq!(run("ip -o link; ip route show table all; ip rule"), before);
    assert!(!run("ip -n pod -o link").contains("eth0"));
    assert_eq!(node.del(&pod.key, Some(&pod.netns)).nics, []);
    pod.die();
}

/// Children go with it, also those in other namespaces, and nobody takes one of them for the card.
pub(crate) fn with_its_children(card: Card) {
    let node = Node::new(card);
    let pod = Pod::new("pod", "eth0");
    let name = node.find(card.mac()).name;
    run(&format!("ip link set {name} up"));
    run(&format!("ip link add link {name} name child.7 type vlan id 7"));
    run(&format!("ip link add link {name} name slave netns pod type ipvlan mode l2"));
    card.pull();
    eventually(|| {
        let all = run("ip -o link; ip -n pod -o link");
        (!all.contains("child.7") && !all.contains("slave")).then_some(())
    });
    let links = Netlink::open(&node.host).unwrap().links().unwrap();
    assert!(find_nic(&links, card.mac(), &node.rule).is_err());
    pod.die();
}

/// The NIC of an ENI just attached appears a moment after the call.
pub(crate) fn plugged_in_while_an_add_waits(card: Card) {
    let node = Node::new(card);
    card.pull();
    let pod = Pod::new("pod", "eth0");
    thread::scope(|scope| {
        let add = scope.spawn(|| node.add(&pod));
        // Begins before or after the ADD looked first: both must do.
        card.plug();
        add.join().unwrap();
    });
    card.connect_in("pod");
    node.speaks(&pod);
    node.del(&pod.key, Some(&pod.netns));
    is_settled(&node);
    pod.die();
}
