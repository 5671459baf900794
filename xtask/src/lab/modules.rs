//! Loads kernel modules. Debian's user-mode kernel cannot do it by itself: it looks in `/lib/modules`, which belongs to
//! this machine; and a machine of the lab has no program for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// Everything a data path of ours may use, and what tests put beside it.
pub(super) const WANTED: [&str; 38] = [
    // The guest's root.
    "overlay",
    // A whole machine's bus, NICs and port.
    "virtio_pci",
    "virtio_net",
    "virtio_console",
    "ipv6",
    "veth",
    "bridge",
    "ifb",
    "dummy",
    "8021q",
    "ipvlan",
    "macvlan",
    "vrf",
    "tun",
    "sch_ingress",
    "sch_tbf",
    "sch_fq",
    "sch_prio",
    "cls_u32",
    "cls_matchall",
    "cls_flower",
    "act_mirred",
    "act_vlan",
    "act_skbedit",
    "act_tunnel_key",
    "act_gact",
    "nf_tables",
    "nft_ct",
    "nft_masq",
    "nft_chain_nat",
    "nft_nat",
    "nf_nat",
    "ip_tables",
    "iptable_nat",
    "ip6table_nat",
    "xt_nat",
    "xt_tcpudp",
    "smc",
];

/// Where Debian's user-mode kernel has its modules, and where any other.
const UML: &str = "/usr/lib/uml/modules";
pub(super) const STOCK: &str = "/usr/lib/modules";
/// The file with what each needs.
pub(super) const INDEX: &str = "modules.dep";

/// A kernel's modules: of each the file and the files it needs loaded before, nearest need first.
struct Modules {
    folder: PathBuf,
    needs: BTreeMap<String, Vec<String>>,
}

/// Loads those of the named modules that this kernel has. A kernel with everything built in has no folder.
pub(super) fn load(release: &str, names: &[String]) -> Result<()> {
    let places = [UML, STOCK].map(|place| Path::new(place).join(release));
    let Some(folder) = places.into_iter().find(|place| place.join(INDEX).exists()) else { return Ok(()) };
    let index = folder.join(INDEX);
    let text = fs::read_to_string(&index).with_context(|| format!("failed to read {}", index.display()))?;
    let modules = Modules { folder, needs: parse(&text) };
    let mut loaded = BTreeSet::new();
    names.iter().filter_map(|name| modules.file(name)).try_for_each(|file| modules.load(file, &mut loaded))
}

/// `modules.dep`: a line per module, `file: need need ...`.
fn parse(text: &str) -> BTreeMap<String, Vec<String>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(file, needs)| (file.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

impl Modules {
    fn file(&self, name: &str) -> Option<&str> {
        let is_it = |file: &&String| Path::new(file).file_stem().is_some_and(|stem| stem == name);
        self.needs.keys().find(is_it).map(String::as_str)
    }

    fn load(&self, file: &str, loaded: &mut BTreeSet<String>) -> Result<()> {
        if !loaded.insert(file.to_owned()) {
            return Ok(());
        }
        for need in self.needs.get(file).into_iter().flatten().rev() {
            self.load(need, loaded)?;
        }
        let path = self.folder.join(file);
        let module = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
        match finit_module(&module, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("failed to load {}", path.display())),
        }
    }
}

/// The names of the modules that one needs, as it says itself (modinfo(8), `depends`).
pub(super) fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_found_by_name() {
        let needs = parse("net/sch_tbf.ko:\nnet/8021q/8021q.ko: net/garp.ko net/mrp.ko\n");
        let modules = Modules { folder: PathBuf::new(), needs };
        assert_eq!(modules.file("8021q"), Some("net/8021q/8021q.ko"));
        assert_eq!(modules.needs["net/8021q/8021q.ko"], ["net/garp.ko", "net/mrp.ko"]);
        assert_eq!(modules.file("tbf"), None);
    }

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(depends(b"ELF\0license=GPL\0depends=garp,mrp\0name=8021q\0"), ["garp", "mrp"]);
        assert!(depends(b"ELF\0depends=\0name=dummy\0").is_empty());
        assert!(depends(b"").is_empty());
    }
}
