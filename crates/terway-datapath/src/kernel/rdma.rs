//! The node's RDMA devices, as its sysfs shows them below a root folder. An ENI for eRDMA comes with a device of its own
//! that is no netdev and no child of one; the two belong together by the device's node GUID, which its driver makes of the
//! ENI's MAC (`addrconf_addr_eui48`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use terway_types::{Fault, FaultCode, MacAddr};

use super::error::KernelError;

/// The devices, each a folder (`Documentation/ABI/stable/sysfs-class-infiniband`).
const DEVICES: &str = "sys/class/infiniband";
/// `Y` where a device serves all network namespaces, `N` where each belongs to one (`rdma-system(8)`).
const SHARED: &str = "sys/module/ib_core/parameters/netns_mode";

/// An ENI whose RDMA device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RdmaError {
    /// There is none.
    #[error("no RDMA device has node GUID {}, which that of ENI {mac} has; {}", shown(*mac), present(there))]
    NoDevice {
        /// The ENI.
        mac: MacAddr,
        /// The devices there are.
        there: Vec<String>,
    },
    /// There are several, and which one serves the ENI cannot be told.
    #[error("{} have the node GUID of ENI {mac}", .names.join(" and "))]
    Ambiguous {
        /// The ENI.
        mac: MacAddr,
        /// The devices.
        names: Vec<String>,
    },
    /// Its device belongs to the node's namespace alone.
    #[error("RDMA devices belong to one network namespace each, and {device} serves every pod on its ENI")]
    OfOneNamespace {
        /// The device.
        device: String,
    },
    /// SMC-R's table cannot be read.
    #[error(transparent)]
    Smc(#[from] KernelError),
    /// The node's sysfs cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl RdmaError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let fault = Fault::new(FaultCode::RdmaUnusable, "the pod's ENI cannot give it eRDMA").caused_by(self);
        match self {
            Self::NoDevice { .. } | Self::Smc(_) | Self::Read { .. } => fault,
            Self::Ambiguous { .. } => {
                fault.remedy("delete the devices that are not the ENI's own (`rdma link delete`)")
            }
            Self::OfOneNamespace { .. } => fault.remedy("run `rdma system set netns shared` on the node"),
        }
    }
}

/// The name of the RDMA device of the ENI with this MAC, if there is one. What else is there, whatever its GUID looks
/// like, is of no concern.
pub fn device_of(root: &Path, mac: MacAddr) -> Result<Option<String>, RdmaError> {
    let mut names = devices(root)?;
    names.retain(|name| guid_of(root, name) == Some(mac.eui64()));
    match names.len() {
        0 | 1 => Ok(names.pop()),
        _ => Err(RdmaError::Ambiguous { mac, names }),
    }
}

/// The RDMA device of the ENI with this MAC, for pods on it to use from their namespaces.
pub fn device_for_pods(root: &Path, mac: MacAddr) -> Result<String, RdmaError> {
    let Some(device) = device_of(root, mac)? else {
        return Err(RdmaError::NoDevice { mac, there: devices(root)? });
    };
    // Kernels before 5.2 have no such parameter, and share all devices.
    let path = root.join(SHARED);
    match fs::read_to_string(&path) {
        Ok(word) if word.trim() == "N" => Err(RdmaError::OfOneNamespace { device }),
        Ok(_) => Ok(device),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(device),
        Err(source) => Err(RdmaError::Read { path, source }),
    }
}

/// All devices by name, sorted.
fn devices(root: &Path) -> Result<Vec<String>, RdmaError> {
    let path = root.join(DEVICES);
    let failed = |source| RdmaError::Read { path: path.clone(), source };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        // No driver for RDMA was ever loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.map(name).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    names.sort_unstable();
    Ok(names)
}

/// A device may go while it is looked at.
fn guid_of(root: &Path, device: &str) -> Option<[u8; 8]> {
    let text = fs::read_to_string(root.join(DEVICES).join(device).join("node_guid")).ok()?;
    parsed(text.trim())
}

/// `0216:3eff:fe01:0203`.
fn parsed(text: &str) -> Option<[u8; 8]> {
    let digits: String = text.split(':').collect();
    let fits = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = u64::from_str_radix(&digits, 16).ok().filter(|_| fits)?;
    Some(value.to_be_bytes())
}

fn shown(mac: MacAddr) -> String {
    let pairs: Vec<_> = mac.eui64().chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
    pairs.join(":")
}

fn present(there: &[String]) -> String {
    if there.is_empty() {
        "there is no RDMA device".to_owned()
    } else {
        format!("there are {}", there.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENI: MacAddr = MacAddr([0, 0x16, 0x3e, 1, 2, 3]);
    /// As `erdma` writes it for that ENI.
    const OWN: &str = "0216:3eff:fe01:0203\n";

    fn node(devices: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, guid) in devices {
            let folder = root.path().join(DEVICES).join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("node_guid"), guid).unwrap();
        }
        root
    }

    fn mode(root: &Path, word: &str) {
        fs::create_dir_all(root.join(SHARED).parent().unwrap()).unwrap();
        fs::write(root.join(SHARED), word).unwrap();
    }

    #[test]
    fn the_device_of_an_eni_is_told_by_its_whole_guid() {
        let neighbour = "0216:3eff:fe01:0204\n";
        let node = node(&[
            ("erdma_1", neighbour),
            ("erdma_10", OWN),
            // The parts that are the MAC's are right, those that make a GUID of it are not.
            ("erdma_2", "0216:3e00:0001:0203"),
            ("mlx5_0", "0016:3eff:fe01:0203"),
            ("odd", "(null)"),
            ("short", "0216:3eff"),
            ("signed", "+216:3eff:fe01:0203"),
        ]);
        assert_eq!(device_of(node.path(), ENI).unwrap().as_deref(), Some("erdma_10"));
        assert_eq!(
            device_of(node.path(), MacAddr([0, 0x16, 0x3e, 1, 2, 4])).unwrap().as_deref(),
            Some("erdma_1")
        );
        assert_eq!(device_of(node.path(), MacAddr([0, 0x16, 0x3e, 1, 2, 5])).unwrap(), None);
    }

    #[test]
    fn a_node_without_its_device_is_told_what_is_there() {
        let fault = |node: &tempfile::TempDir| device_for_pods(node.path(), ENI).unwrap_err().fault();
        let bare = fault(&node(&[]));
        assert_eq!(bare.code, FaultCode::RdmaUnusable);
        assert_eq!(
            bare.cause,
            "no RDMA device has node GUID 0216:3eff:fe01:0203, which that of ENI 00:16:3e:01:02:03 has; there is no RDMA \
             device"
        );
        assert!(bare.remedy.contains("erdma"), "{bare}");
        let others = fault(&node(&[("mlx5_0", "0000:0000:0000:0001"), ("erdma_1", "x")]));
        assert!(others.cause.ends_with("there are erdma_1, mlx5_0"), "{others}");
        let twice = fault(&node(&[("rxe0", OWN), ("erdma_0", OWN)]));
        assert_eq!(twice.cause, "erdma_0 and rxe0 have the node GUID of ENI 00:16:3e:01:02:03");
    }

    #[test]
    fn a_device_of_one_namespace_serves_no_pods() {
        let node = node(&[("erdma_0", OWN)]);
        assert_eq!(device_for_pods(node.path(), ENI).unwrap(), "erdma_0", "an old kernel shares all");
        mode(node.path(), "Y\n");
        assert_eq!(device_for_pods(node.path(), ENI).unwrap(), "erdma_0");
        mode(node.path(), "N\n");
        let fault = device_for_pods(node.path(), ENI).unwrap_err().fault();
        assert!(
            fault.cause.contains("erdma_0 serves every pod") && fault.remedy.contains("netns shared"),
            "{fault}"
        );
    }
}
