//! Exclusive attachments with cards that are not virtual links: they come home when their namespace dies, under
//! whatever name is free, and share their MAC with their children. Only a guest of the lab has cards to spare, and
//! only its first namespace is where they come home to, so these tests run there and nowhere else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../sandbox/needs.rs"]
mod needs;
#[path = "../sandbox/plan.rs"]
mod plan;
#[path = "../sandbox/verbs.rs"]
mod verbs;

mod card;
mod homecoming;
mod node;
mod pulled;
mod udev;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use card::Card;
use needs::Need;

/// Set by the lab for what it runs in a guest.
const GUEST: Need = Need {
    what: "network cards that tests may move about: a guest of the lab has them",
    probe: "test \"$TERWAY_LAB\" = 1 && ip link show vec0",
};

/// Ports that can be pulled out.
const NETDEVSIM: Need = Need {
    what: "netdevsim, whose ports can be pulled out like a cloud's NICs: cargo xtask lab --build-kernel has it",
    probe: "test -w /sys/bus/netdevsim/new_device || { echo \"no netdevsim\" >&2; exit 1; }",
};

/// A machine whose PCI bus the lab can reach.
const PCI: Need = Need {
    what: "PCI bus with slots for hot-plug: cargo xtask lab --qemu has it",
    probe: "test -c /dev/vport0p1 || { echo \"no way to ask the lab\" >&2; exit 1; }",
};

/// What names cards on most nodes.
const UDEV: Need = Need {
    what: "systemd-udevd beside a PCI bus: cargo xtask lab --qemu has it",
    probe: "test -x /lib/systemd/systemd-udevd -a -x /bin/udevadm",
};

/// A test by its name.
type Test = (&'static str, fn(Card));

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let of_both: &[Test] = &[
        ("a_card_goes_to_a_pod_and_back", homecoming::a_card_goes_to_a_pod_and_back),
        ("under_a_name_of_the_kernels_choice", homecoming::under_a_name_of_the_kernels_choice),
        ("under_its_name_in_the_pod", homecoming::under_its_name_in_the_pod),
        ("given_on_before_its_del", homecoming::given_on_before_its_del),
        ("its_children_are_no_cards", homecoming::its_children_are_no_cards),
    ];
    let of_pulled: &[Test] = &[
        ("under_the_nodes_own_name", pulled::under_the_nodes_own_name),
        ("pulled_while_in_a_pod", pulled::while_in_a_pod),
        ("pulled_while_at_home", pulled::while_at_home),
        ("pulled_with_its_children", pulled::with_its_children),
        ("plugged_in_while_an_add_waits", pulled::plugged_in_while_an_add_waits),
    ];
    let of_named: &[Test] = &[
        ("a_card_named_by_udev_goes_to_a_pod_and_back", udev::a_card_named_by_udev_goes_to_a_pod_and_back),
        ("home_by_itself_under_udevs_eyes", udev::home_by_itself_under_udevs_eyes),
        ("named_while_an_add_takes_it", udev::named_while_an_add_takes_it),
    ];
    let mut all = vec![("homecoming", Card::Vec, of_both, &[GUEST][..])];
    for (word, card, needs) in
        [("netdevsim", Card::Netdevsim, &[GUEST, NETDEVSIM][..]), ("pci", Card::Pci, &[PCI][..])]
    {
        all.extend([of_both, of_pulled].map(|tests| (word, card, tests, needs)));
    }
    all.push(("udev", Card::Pci, of_named, &[PCI, UDEV][..]));
    let trials = all.into_iter().flat_map(|(word, card, tests, needs)| {
        let on_card = move |(name, test): &Test| {
            let test = *test;
            (needs::trial(format!("{word}::{name}"), move || test(card)), needs)
        };
        tests.iter().map(on_card)
    });
    needs::run(&arguments, trials)
}
