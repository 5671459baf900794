//! systemd-udevd at work on the same cards: it gives each a name of its own as it is plugged in, and hears of each that comes
//! home. With it a card has its name by bus and slot before an ADD, or gets it in the middle of one.

use std::path::Path;
use std::process::{Child, Command};
use std::thread;

use crate::card::Card;
use crate::homecoming::is_settled;
use crate::node::{Node, Pod, eventually, run};

/// The daemon, as long as it is held.
struct Udevd(Child);

impl Udevd {
    fn start() -> Self {
        let daemon = Command::new("/lib/systemd/systemd-udevd").arg("--resolve-names=never").spawn().unwrap();
        eventually(|| Path::new("/run/udev/control").exists().then_some(()));
        Self(daemon)
    }
}

impl Drop for Udevd {
    fn drop(&mut self) {
        // Ended already if the machine is.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until it has dealt with all it heard of so far.
fn settle() {
    run("udevadm settle --timeout=20");
}

/// The card's name by its slot.
fn named(node: &Node) -> String {
    eventually(|| {
        let line = node.card_at_home();
        let name = line.split(": ").nth(1)?.to_owned();
        name.starts_with("en").then_some(name)
    })
}

/// It has udev's name, then the pod's, then ours, which udev leaves alone.
pub(crate) fn a_card_named_by_udev_goes_to_a_pod_and_back(card: Card) {
    let _udevd = Udevd::start();
    let node = Node::new(card);
    let name = named(&node);
    assert_ne!(name, card.home());
    let pod = Pod::new("pod", "eth0");
    let layout = node.add(&pod);
    settle();
    assert_eq!(node.check(&pod, &layout), Vec::<String>::new());
    node.speaks(&pod);
    assert_eq!(node.del(&pod.key, Some(&pod.netns)).nics, [card.mac()]);
    settle();
    is_settled(&node);
    pod.die();
}

/// The card comes home by itself, and udev hears of it before the DEL does, or while that names it.
pub(crate) fn home_by_itself_under_udevs_eyes(card: Card) {
    let _udevd = Udevd::start();
    let node = Node::new(card);
    named(&node);
    let pod = Pod::new("pod", "eth0");
    node.add(&pod);
    let key = pod.die();
    node.card_at_home();
    assert_eq!(node.del(&key, None).nics, [card.mac()]);
    settle();
    is_settled(&node);
    let pod = Pod::new("pod", "eth0");
    let layout = node.add(&pod);
    settle();
    assert_eq!(node.check(&pod, &layout), Vec::<String>::new());
    node.speaks(&pod);
    node.del(&pod.key, Some(&pod.netns));
    pod.die();
}

/// The ADD waits for the card; udev wants to name it in the moment that it is moved.
pub(crate) fn named_while_an_add_takes_it(card: Card) {
    let _udevd = Udevd::start();
    let node = Node::new(card);
    card.pull();
    let pod = Pod::new("pod", "eth0");
    let layout = thread::scope(|scope| {
        let add = scope.spawn(|| node.add(&pod));
        card.plug();
        add.join().unwrap()
    });
    settle();
    assert_eq!(node.check(&pod, &layout), Vec::<String>::new());
    node.speaks(&pod);
    node.del(&pod.key, Some(&pod.netns));
    settle();
    is_settled(&node);
    pod.die();
}
