//! What the kernel can do at all, asked without changing anything.

use nix::errno::Errno;

use super::error::KernelError;
use super::netlink::Netlink;
use super::request::Request;

impl Netlink {
    /// Whether the kernel makes IPVlan links; it may load a module to say so.
    pub fn has_ipvlan(&mut self) -> Result<bool, KernelError> {
        let Err(error) = self.transact(&[Request::add_orphaned_ipvlan()]) else { return Ok(true) };
        match error.errno() {
            // "Unknown device type".
            Some(Errno::EOPNOTSUPP) => Ok(false),
            // It is known, and wants a parent.
            Some(Errno::EINVAL) => Ok(true),
            _ => Err(error),
        }
    }
}
