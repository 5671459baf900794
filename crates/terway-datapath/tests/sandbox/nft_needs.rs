//! What tests need of the kernel's packet filter.

use crate::needs::Need;

/// Our source translation.
pub(crate) const NAT: Need = Need {
    what: "nf_tables with nat for IPv4 and IPv6",
    probe: "for family in ip ip6; do \
            nft add table $family probe && \
            nft add chain $family probe post '{ type nat hook postrouting priority srcnat; }' && \
            nft delete table $family probe || exit; done",
};

/// Ports of a simulated VPC that drop what a VPC drops.
pub(crate) const PORTS: Need = Need {
    what: "nf_tables of family netdev",
    probe: "nft add table netdev probe && \
            nft add chain netdev probe in '{ type filter hook ingress device lo priority 0; }' && \
            nft delete table netdev probe",
};
