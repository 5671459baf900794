//! A card's way into a pod and home again, by DEL and by the death of its namespace.

use terway_datapath::Removed;

use crate::card::Card;
use crate::node::{Node, Pod, run};

/// Home, under its name, down, and without a mark.
pub(crate) fn is_settled(node: &Node) {
    let line = node.card_at_home();
    assert!(line.contains(&format!(" {}: ", node.card.home())), "{line}");
    assert!(!line.contains(",UP") && !line.contains("alias"), "{line}");
}

pub(crate) fn a_card_goes_to_a_pod_and_back(card: Card) {
    let node = Node::new(card);
    let pod = Pod::new("pod", "eth0");
    let layout = node.add(&pod);
    assert_eq!(node.check(&pod, &layout), Vec::<String>::new());
    node.speaks(&pod);
    assert_eq!(node.del(&pod.key, Some(&pod.netns)).nics, [card.mac()]);
    is_settled(&node);
    pod.die();
    assert!(run("ip netns").lines().all(|line| !line.starts_with("pod")));
}

/// `eth0` is the uplink's, so the kernel takes `dev` and the index.
pub(crate) fn under_a_name_of_the_kernels_choice(card: Card) {
    let node = Node::new(card);
    let pod = Pod::new("pod", "eth0");
    node.add(&pod);
    let key = pod.die();
    let line = node.card_at_home();
    assert!(line.contains(" dev") && line.contains("alias terway:terway/pod/eth0"), "{line}");
    assert_eq!(node.del(&key, None).nics, [card.mac()]);
    is_settled(&node);
    assert_eq!(node.del(&key, None), Removed::default());
}

pub(crate) fn under_its_name_in_the_pod(card: Card) {
    let node = Node::new(card);
    let pod = Pod::new("pod", "eth7");
    node.add(&pod);
    let key = pod.die();
    let line = node.card_at_home();
    assert!(line.contains(" eth7: "), "{line}");
    // An agent of the node finds a card it does not know.
    run("ip link set eth7 up && ip addr add 10.0.1.77/24 dev eth7");
    assert_eq!(node.del(&key, None).nics, [card.mac()]);
    is_settled(&node);
    assert_eq!(run(&format!("ip -4 addr show dev {}", card.home())), "");
}

/// The DEL of the sandbox whose namespace died comes after the card's next pod has it.
pub(crate) fn given_on_before_its_del(card: Card) {
    let node = Node::new(card);
    let old = Pod::new("old", "eth0");
    node.add(&old);
    let old = old.die();
    node.card_at_home();
    let pod = Pod::new("new", "eth0");
    let layout = node.add(&pod);
    assert_eq!(node.del(&old, None), Removed::default());
    assert_eq!(node.check(&pod, &layout), Vec::<String>::new());
    node.speaks(&pod);
    node.del(&pod.key, Some(&pod.netns));
    is_settled(&node);
    pod.die();
}

/// VLAN and IPVlan children have their parent's MAC, at home and in other namespaces.
pub(crate) fn its_children_are_no_cards(card: Card) {
    let node = Node::new(card);
    let name = node.find(card.mac()).name;
    run(&format!("ip link set {name} up"));
    run(&format!("ip link add link {name} name child.7 type vlan id 7"));
    run(&format!("ip link add link {name} name slave type ipvlan mode l2"));
    assert_eq!(run("ip -o link").matches(&card.mac().to_string()).count(), 3);
    assert_eq!(node.find(card.mac()).name, name);
    run("ip link del slave && ip link del child.7");
    run(&format!("ip link set {name} down"));
}
