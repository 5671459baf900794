//! What is said to the kernel's SMC table and understood of it. The bytes are written down by hand from `linux/netlink.h`,
//! `linux/genetlink.h` and `linux/smc.h`; the sequence number, bytes 8 to 11 of a frame, is filled in when it is sent.

use super::*;
use crate::kernel::transport::Message;

/// The number a kernel gave the family.
const ID: u16 = 0x1b;

fn entry_of(member: SmcMember) -> SmcEntry {
    SmcEntry { network: "0".into(), member }
}

#[cfg(target_endian = "little")]
#[test]
fn requests_are_what_the_headers_say() {
    assert_eq!(
        get_family().0,
        [
            &[36, 0, 0, 0, 16, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[3, 1, 0, 0],
            &[15, 0, 2, 0],
            b"SMC_PNETID\0\0",
        ]
        .concat()
    );
    let link = entry_of(SmcMember::Link("eth0".into()));
    assert_eq!(
        addition(ID, &link).0,
        [
            &[40, 0, 0, 0, 0x1b, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[2, 1, 0, 0],
            &[6, 0, 1, 0, b'0', 0, 0, 0],
            &[9, 0, 2, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0],
        ]
        .concat()
    );
    let device = entry_of(SmcMember::Device("erdma_0".into()));
    assert_eq!(
        addition(ID, &device).0,
        [
            &[48, 0, 0, 0, 0x1b, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[2, 1, 0, 0],
            &[6, 0, 1, 0, b'0', 0, 0, 0],
            &[12, 0, 3, 0, b'e', b'r', b'd', b'm', b'a', b'_', b'0', 0],
            &[5, 0, 4, 0, 1, 0, 0, 0],
        ]
        .concat()
    );
    assert_eq!(
        removal(ID, "0").0,
        [
            &[28, 0, 0, 0, 0x1b, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[3, 1, 0, 0],
            &[6, 0, 1, 0, b'0', 0, 0, 0]
        ]
        .concat()
    );
}

#[test]
fn entries_are_understood_as_the_kernel_tells_them() {
    // `smc_pnet_set_nla` says "n/a" and port 255 for what an entry is not about.
    let told = |eth: &str, ib: &str, port: u8| {
        let attributes = Attributes::new()
            .text(SMC_PNETID_NAME, "NET7")
            .text(SMC_PNETID_ETHNAME, eth)
            .text(SMC_PNETID_IBNAME, ib)
            .bytes(SMC_PNETID_IBPORT, &[port]);
        entry(&[&header(SMC_PNETID_GET)[..], &attributes.0].concat())
    };
    let wanted = |member| Some(SmcEntry { network: "NET7".into(), member });
    assert_eq!(told("eth0", NONE, 255), wanted(SmcMember::Link("eth0".into())));
    assert_eq!(told(NONE, "erdma_10", 1), wanted(SmcMember::Device("erdma_10".into())));
    assert_eq!(told(NONE, NONE, 255), None);
    assert_eq!(entry(&[1, 1]), None);
}

#[test]
fn a_kernel_without_smc_says_so() {
    // Every kernel has generic netlink; what it says about a family depends on whether that is loaded.
    let here = Netns::current().unwrap();
    let loaded = std::path::Path::new("/proc/sys/net/smc").exists();
    assert_eq!(SmcTable::open(&here).unwrap().is_some(), loaded);
}

#[test]
fn frames_are_whole_messages() {
    let frame = addition(ID, &entry_of(SmcMember::Device("erdma_0".into())));
    let (message, rest) = Message::split(&frame.0).unwrap();
    assert_eq!((message.kind, rest.len()), (ID, 0));
    assert_eq!(entry(message.payload), Some(entry_of(SmcMember::Device("erdma_0".into()))));
}
