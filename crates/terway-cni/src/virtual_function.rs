//! An ENI that comes as a virtual function of the node's card (Lingjun nodes): found by its number in the node's table,
//! bound to the virtio driver, and given its hardware address. From then on it is an ENI like any other. All of it is
//! files below a root folder, as Linux documents them (`Documentation/PCI/pci-iov-howto.rst`, `sysfs-bus-pci`), but for
//! the address.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use terway_datapath::kernel::{LinkChange, Netlink, Netns, Request};
use terway_types::{Fault, FaultCode, MacAddr};

/// The node's tables of virtual functions: the first that is there counts. One is a list, the other has it in a field.
const TABLES: [&str; 2] = ["var/rdma/eni_topo", "var/run/hc-eni-host/vf-topo-vpc"];

const DRIVER: &str = "virtio-pci";

/// One virtual function in a table.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Function {
    vf_id: u32,
    /// Its address on the PCI bus: `0000:01:00.7`.
    bdf: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Table {
    List(Vec<Function>),
    Field {
        #[serde(rename = "eniVFs")]
        functions: Vec<Function>,
    },
}

/// A virtual function that cannot be had.
#[derive(Debug, thiserror::Error)]
enum VfError {
    #[error("the node has no table of virtual functions: neither {} is there", .0.join(" nor "))]
    NoTable(Vec<String>),
    #[error("{path} is no table of virtual functions")]
    Table { path: PathBuf, source: serde_json::Error },
    #[error("{path} lists virtual function {vf} {count} times, not once")]
    Listed { path: PathBuf, vf: u32, count: usize },
    #[error("{path} has {bdf:?} for virtual function {vf}, which is no address on the PCI bus")]
    Address { path: PathBuf, vf: u32, bdf: String },
    #[error("virtual function {bdf} has {count} netdevs with driver {DRIVER}, not one")]
    Netdevs { bdf: String, count: usize },
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {value:?} to {path}")]
    Write { path: PathBuf, value: String, source: io::Error },
}

impl VfError {
    fn fault(&self, vf: u32) -> Fault {
        let code = match self {
            // The driver may take a moment.
            Self::Netdevs { .. } => FaultCode::NicMissing,
            Self::NoTable(_) | Self::Table { .. } | Self::Listed { .. } | Self::Address { .. } => {
                FaultCode::PlanInvalid
            }
            Self::Read { .. } | Self::Write { .. } => FaultCode::KernelRefused,
        };
        Fault::new(code, format!("virtual function {vf} cannot become a pod's ENI")).caused_by(self)
    }
}

/// Makes the virtual function with this number an ENI of the node with this hardware address.
pub(crate) fn make_ready(root: &Path, vf: u32, mac: MacAddr, host: &Netns) -> Result<(), Fault> {
    // Where it is in a pod already there is nothing to make ready, and ADD will say that the ENI is missing.
    let name = netdev(root, vf).map_err(|error| error.fault(vf))?;
    let changed = Netlink::open(host).and_then(|mut netlink| match netlink.link_by_name(&name)? {
        Some(link) if link.mac != Some(mac) => {
            // Some drivers take an address only while the link is down.
            let down = LinkChange { up: Some(false), ..LinkChange::default() };
            let address = LinkChange { mac: Some(mac), ..LinkChange::default() };
            netlink.transact(&[Request::set_link(link.index, &down), Request::set_link(link.index, &address)])
        }
        _ => Ok(()),
    });
    changed.map_err(|error| error.fault())
}

/// The name of its netdev, once it is bound.
fn netdev(root: &Path, vf: u32) -> Result<String, VfError> {
    let bdf = address(root, vf)?;
    bind(root, &bdf)?;
    let device = root.join("sys/bus/pci/devices").join(&bdf);
    let mut names = Vec::new();
    for virtio in entries(&device)?.into_iter().filter(|name| name.starts_with("virtio")) {
        let folder = device.join(virtio).join("net");
        if folder.exists() {
            names.extend(entries(&folder)?);
        }
    }
    match (names.pop(), names.len()) {
        (Some(name), 0) => Ok(name),
        (other, rest) => Err(VfError::Netdevs { bdf, count: rest + usize::from(other.is_some()) }),
    }
}

fn address(root: &Path, vf: u32) -> Result<String, VfError> {
    let tables = TABLES.map(|table| root.join(table));
    let Some(path) = tables.iter().find(|path| path.exists()).cloned() else {
        return Err(VfError::NoTable(TABLES.map(|table| format!("/{table}")).into()));
    };
    let text = fs::read(&path).map_err(|source| VfError::Read { path: path.clone(), source })?;
    let table =
        serde_json::from_slice(&text).map_err(|source| VfError::Table { path: path.clone(), source })?;
    let (Table::List(functions) | Table::Field { functions }) = table;
    let mut found: Vec<_> = functions.into_iter().filter(|function| function.vf_id == vf).collect();
    match (found.pop(), found.len()) {
        (Some(Function { bdf, .. }), 0) if is_on_the_bus(&bdf) => Ok(bdf),
        (Some(Function { bdf, .. }), 0) => Err(VfError::Address { path, vf, bdf }),
        (other, rest) => Err(VfError::Listed { path, vf, count: rest + usize::from(other.is_some()) }),
    }
}

/// `domain:bus:device.function`, in hexadecimal digits.
fn is_on_the_bus(bdf: &str) -> bool {
    let lengths: Vec<usize> = bdf.split([':', '.']).map(str::len).collect();
    let digits = bdf.bytes().filter(|byte| !b":.".contains(byte)).all(|byte| byte.is_ascii_hexdigit());
    digits && lengths == [4, 2, 2, 1]
}

/// Gives it to the driver, unless that has it. A card that does not look for drivers itself must be told which.
fn bind(root: &Path, bdf: &str) -> Result<(), VfError> {
    let driver = root.join("sys/bus/pci/drivers").join(DRIVER);
    if driver.join(bdf).exists() {
        return Ok(());
    }
    let device = root.join("sys/bus/pci/devices").join(bdf);
    let probes = fs::read_to_string(device.join("physfn/sriov_drivers_autoprobe"));
    if probes.is_ok_and(|probes| probes.trim() != "1") {
        write(device.join("driver_override"), DRIVER)?;
    }
    write(driver.join("bind"), bdf)
}

fn write(path: PathBuf, value: &str) -> Result<(), VfError> {
    fs::write(&path, value).map_err(|source| VfError::Write { path, value: value.to_owned(), source })
}

fn entries(folder: &Path) -> Result<Vec<String>, VfError> {
    let failed = |source| VfError::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BDF: &str = "0000:01:00.7";

    /// A node whose card has this function; its netdev is there.
    fn node(autoprobe: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices").join(BDF);
        fs::create_dir_all(device.join("virtio3/net/ens7")).unwrap();
        fs::create_dir_all(device.join("physfn")).unwrap();
        fs::write(device.join("physfn/sriov_drivers_autoprobe"), autoprobe).unwrap();
        fs::create_dir_all(root.path().join("sys/bus/pci/drivers/virtio-pci")).unwrap();
        root
    }

    fn table(root: &Path, table: &str, text: &str) {
        let path = root.join(table);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(root: &Path, path: &str) -> Option<String> {
        fs::read_to_string(root.join("sys/bus/pci").join(path)).ok()
    }

    #[test]
    fn a_function_is_bound_and_its_netdev_found() {
        for (autoprobe, told) in [("1\n", None), ("0\n", Some(DRIVER.to_owned()))] {
            let root = node(autoprobe);
            table(root.path(), TABLES[1], r#"{"eniVFs": [{"pf_id": 0, "vf_id": 3, "bdf": "0000:01:00.7"}]}"#);
            assert_eq!(netdev(root.path(), 3).unwrap(), "ens7");
            assert_eq!(read(root.path(), "drivers/virtio-pci/bind").as_deref(), Some(BDF));
            assert_eq!(read(root.path(), "devices/0000:01:00.7/driver_override"), told);
        }
    }

    #[test]
    fn one_that_is_bound_is_left_alone() {
        let root = node("0");
        table(root.path(), TABLES[0], r#"[{"pf_id": 0, "vf_id": 3, "bdf": "0000:01:00.7"}]"#);
        table(root.path(), TABLES[1], "not asked");
        fs::create_dir(root.path().join("sys/bus/pci/drivers/virtio-pci").join(BDF)).unwrap();
        assert_eq!(netdev(root.path(), 3).unwrap(), "ens7");
        assert_eq!(read(root.path(), "drivers/virtio-pci/bind"), None);
        assert_eq!(read(root.path(), "devices/0000:01:00.7/driver_override"), None);
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said_and_nothing_written() {
        let root = node("1");
        let said = |vf| netdev(root.path(), vf).unwrap_err().to_string();
        assert!(
            said(3).contains("neither /var/rdma/eni_topo nor /var/run/hc-eni-host/vf-topo-vpc"),
            "{}",
            said(3)
        );
        for (text, why) in [
            ("{}", "is no table of virtual functions"),
            ("[]", "lists virtual function 3 0 times"),
            (r#"[{"vf_id": 3, "bdf": "0000:01:00.7"}, {"vf_id": 3, "bdf": "0000:02:00.7"}]"#, "3 2 times"),
            (r#"[{"vf_id": 3, "bdf": "../../x"}]"#, "no address on the PCI bus"),
        ] {
            table(root.path(), TABLES[0], text);
            assert!(said(3).contains(why), "{text}: {}", said(3));
        }
        assert_eq!(read(root.path(), "drivers/virtio-pci/bind"), None);
    }

    #[test]
    fn a_function_whose_netdev_does_not_come_is_asked_for_again() {
        let root = node("1");
        table(root.path(), TABLES[0], r#"[{"vf_id": 3, "bdf": "0000:01:00.7"}]"#);
        fs::remove_dir_all(root.path().join("sys/bus/pci/devices").join(BDF).join("virtio3")).unwrap();
        let fault = netdev(root.path(), 3).unwrap_err().fault(3);
        assert_eq!(fault.code, FaultCode::NicMissing);
        assert!(fault.cause.contains("has 0 netdevs"), "{fault}");
    }
}
