//! Real packets between namespaces: every probe opens its sockets inside the namespace it is given.

pub mod icmp;
pub mod multicast;
pub mod tcp;
pub mod udp;
