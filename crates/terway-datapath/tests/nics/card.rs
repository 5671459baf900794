//! What stands for a cloud's NIC: to the kernel it is no virtual link, so it comes home when its namespace dies. Cards of
//! the guest are there in every user-mode kernel of the lab. Ports of netdevsim and cards on the PCI bus can also be pulled
//! out, whatever is done with them at that moment.

use terway_types::MacAddr;

use crate::node::{eventually, run};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Card {
    /// The guest's card `vec0`; at the other end of its cable is `vec1`.
    Vec,
    /// A port of netdevsim, and another one that it is connected to.
    Netdevsim,
    /// A card on the machine's PCI bus, and another one on the same cable. The lab plugs and pulls them.
    Pci,
}

impl Card {
    pub(crate) fn mac(self) -> MacAddr {
        MacAddr([0, 0x16, 0x3e, 0, self.number(), 0])
    }

    /// The card at the other end.
    pub(crate) fn far(self) -> MacAddr {
        MacAddr([0, 0x16, 0x3e, 0, self.number(), 1])
    }

    fn number(self) -> u8 {
        match self {
            Self::Vec => 7,
            Self::Netdevsim => 9,
            Self::Pci => 11,
        }
    }

    /// What it is called at home.
    pub(crate) fn home(self) -> String {
        format!("eni00163e00{:02x}00", self.number())
    }

    /// Both ends appear on the node.
    pub(crate) fn arrive(self) {
        if self != Self::Vec {
            self.plug();
            self.plug_end(1, self.far());
            let there = |mac: MacAddr| run("ip -o link").contains(&mac.to_string());
            eventually(|| (there(self.mac()) && there(self.far())).then_some(()));
        }
    }

    /// The card appears on the node.
    pub(crate) fn plug(self) {
        self.plug_end(0, self.mac());
    }

    fn plug_end(self, end: u8, mac: MacAddr) {
        match self {
            Self::Vec => panic!("a guest's card stays"),
            Self::Netdevsim => drop(run(&format!(
                "echo 7{end} 1 > /sys/bus/netdevsim/new_device && \
                 ip link set $(ls /sys/bus/netdevsim/devices/netdevsim7{end}/net) address {mac}"
            ))),
            // A moment later it is there.
            Self::Pci => drop(run(&ask(&format!("plug {end} {mac}")))),
        }
    }

    /// The card vanishes, wherever it is and whoever uses it.
    pub(crate) fn pull(self) {
        match self {
            Self::Vec => panic!("a guest's card stays"),
            Self::Netdevsim => run("echo 70 > /sys/bus/netdevsim/del_device"),
            Self::Pci => run(&ask("pull 0")),
        };
    }

    /// The cable from the card, at home, to its other end, in the VPC.
    pub(crate) fn connect(self) {
        if self == Self::Netdevsim {
            cable("/proc/self/ns/net", "cat /sys/bus/netdevsim/devices/netdevsim70/net/*/ifindex");
        }
    }

    /// The cable from the card, in a pod, to its other end.
    pub(crate) fn connect_in(self, pod: &str) {
        if self == Self::Netdevsim {
            cable(&format!("/run/netns/{pod}"), &format!("ip -n {pod} -o link show eth0 | cut -d: -f1"));
        }
    }

    /// The command that puts all back as it was.
    pub(crate) fn leave(self) -> String {
        match self {
            Self::Vec => "ip -n vpc link set port0 netns 1 name vec1".to_owned(),
            Self::Netdevsim => {
                "for id in 70 71; do echo $id > /sys/bus/netdevsim/del_device; done".to_owned()
            }
            Self::Pci => format!("{}; {}", ask("pull 0"), ask("pull 1")),
        }
    }
}

/// The command that has the lab do something to the machine, and waits until it is done.
fn ask(what: &str) -> String {
    format!("(exec 3<>/dev/vport0p1 && echo {what} >&3 && read answer <&3 && test \"$answer\" = done)")
}

/// netdevsim wants open namespaces and indices in them.
fn cable(near: &str, index: &str) {
    run(&format!(
        "exec 3<{near} 4</run/netns/vpc; near=$({index}); far=$(ip -n vpc -o link show port0 | cut -d: -f1); \
         echo 3:$near 4:$far > /sys/bus/netdevsim/link_device"
    ));
}
