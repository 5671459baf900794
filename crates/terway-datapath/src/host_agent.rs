//! The node's own network services, which may take away or take over what they did not make. Who is at work is
//! told by the state they leave in files and by their processes; nothing of theirs is changed.

use std::fmt;
use std::fs;
use std::path::Path;

/// A service of the node's operating system that touches links, addresses, routes or rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostAgent {
    /// systemd-networkd: removes foreign routes and rules on its restart.
    Networkd,
    /// NetworkManager: configures NICs that are plugged in.
    NetworkManager,
    /// cloud-init's hook for NICs that are plugged in: writes configuration for them and applies it.
    CloudInit,
    /// dhclient: puts addresses and default routes on the NICs it is started for.
    Dhclient,
}

/// A service that is at work, and by what that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtWork {
    /// Which.
    pub agent: HostAgent,
    /// A file, or a process, that shows it.
    pub evidence: String,
}

/// A process of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number in the process namespace looked at.
    pub pid: u32,
    /// Its name, as the kernel keeps it: 15 bytes at most.
    pub name: String,
    /// Its arguments, the program first.
    pub arguments: Vec<String>,
}

impl HostAgent {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Networkd, Self::NetworkManager, Self::CloudInit, Self::Dhclient];

    /// The name of its process; none for a hook that is only there for moments.
    fn process(self) -> Option<&'static str> {
        match self {
            Self::Networkd => Some("systemd-network"),
            Self::NetworkManager => Some("NetworkManager"),
            Self::CloudInit => None,
            Self::Dhclient => Some("dhclient"),
        }
    }

    /// What exists, seen from the root folder, only while it is at work.
    fn traces(self) -> &'static [&'static str] {
        match self {
            Self::Networkd => &["run/systemd/netif/links"],
            Self::NetworkManager => &["run/NetworkManager/devices"],
            // Put there when hot-plug is switched on (cloud-init, config/cc_install_hotplug.py); 10 in older versions, as
            // Debian 12 has it.
            Self::CloudInit => &[
                "etc/udev/rules.d/10-cloud-init-hook-hotplug.rules",
                "etc/udev/rules.d/90-cloud-init-hook-hotplug.rules",
                "run/udev/rules.d/90-cloud-init-hook-hotplug.rules",
            ],
            Self::Dhclient => &[],
        }
    }
}

impl fmt::Display for HostAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Networkd => "systemd-networkd",
            Self::NetworkManager => "NetworkManager",
            Self::CloudInit => "cloud-init",
            Self::Dhclient => "dhclient",
        })
    }
}

impl fmt::Display for AtWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.agent, self.evidence)
    }
}

/// Who is at work on the node whose root folder this is. What cannot be read counts as not there: in a container
/// that sees neither the node's files nor its processes nobody is found.
pub fn at_work(root: &Path) -> Vec<AtWork> {
    let running = processes(root);
    let evidence = |agent: HostAgent| {
        let process = running.iter().find(|process| Some(process.name.as_str()) == agent.process());
        let by_process = process.map(|process| format!("process {}", process.pid));
        let trace = || agent.traces().iter().find(|trace| root.join(trace).exists());
        by_process.or_else(|| trace().map(|trace| format!("/{trace} exists")))
    };
    HostAgent::ALL
        .into_iter()
        .filter_map(|agent| evidence(agent).map(|evidence| AtWork { agent, evidence }))
        .collect()
}

/// Whether a process is such a service.
pub fn is_at_work(process: &Process) -> bool {
    HostAgent::ALL.iter().any(|agent| agent.process() == Some(&process.name))
}

/// The processes that can be seen, in the order of their numbers. One that ends meanwhile is left out.
pub fn processes(root: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir(root.join("proc")) else { return Vec::new() };
    let mut found: Vec<Process> = entries
        .flatten()
        .filter_map(|entry| process(root, entry.file_name().to_str()?.parse().ok()?))
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// One process.
pub fn process(root: &Path, pid: u32) -> Option<Process> {
    let folder = root.join("proc").join(pid.to_string());
    let name = fs::read_to_string(folder.join("comm")).ok()?.trim_end().to_owned();
    let line = fs::read(folder.join("cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let arguments = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    Some(Process { pid, name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn put(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn nobody_is_at_work_on_an_empty_node() {
        assert_eq!(at_work(root().path()), []);
        assert_eq!(at_work(Path::new("/does/not/exist")), []);
    }

    #[test]
    fn the_hook_of_older_and_newer_cloud_init_is_known() {
        for number in [10, 90] {
            let root = root();
            put(root.path(), &format!("etc/udev/rules.d/{number}-cloud-init-hook-hotplug.rules"), b"");
            assert_eq!(at_work(root.path())[0].agent, HostAgent::CloudInit);
        }
    }

    #[test]
    fn a_process_or_a_trace_shows_who_is_at_work() {
        let root = root();
        put(root.path(), "proc/412/comm", b"systemd-network\n");
        put(root.path(), "proc/99/comm", b"dhclient\n");
        put(root.path(), "proc/99/cmdline", b"dhclient\0-1\0eth1\0");
        put(root.path(), "proc/self/comm", b"NetworkManager\n");
        put(root.path(), "etc/udev/rules.d/90-cloud-init-hook-hotplug.rules", b"");
        let shown: Vec<String> = at_work(root.path()).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "systemd-networkd (process 412)",
                "cloud-init (/etc/udev/rules.d/90-cloud-init-hook-hotplug.rules exists)",
                "dhclient (process 99)",
            ]
        );
        assert_eq!(process(root.path(), 99).unwrap().arguments, ["dhclient", "-1", "eth1"]);
        assert_eq!(process(root.path(), 7), None);
    }
}
