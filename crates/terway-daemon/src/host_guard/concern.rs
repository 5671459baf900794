//! Which attachments a touch concerns.

use std::collections::HashSet;

use terway_datapath::interference::Touched;
use terway_types::{AttachmentRecord, EniRecord};

/// Whether anything touched may be the attachment's. The table of a link is any attachment's until looked at. With a
/// link's last IPv4 address the kernel takes all routes over it, of every table, and tells nobody.
pub(super) fn concerns(touched: &HashSet<Touched>, held: &AttachmentRecord, eni: &EniRecord) -> bool {
    touched.iter().any(|touched| match touched {
        Touched::Anything | Touched::TableOf(_) | Touched::OnLink(_) => true,
        Touched::Attachment(key) => *key == held.key,
        Touched::Nic(mac) => eni.mac == Some(*mac),
        Touched::Pod(address) => held.addresses.iter().chain(eni.addresses.iter()).any(|own| own == *address),
    })
}
