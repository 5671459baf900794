//! Whether a service of the node that is at work leaves pods' links and ENIs alone. The drop-ins in
//! `deploy/host` make them do so; live state says more than settings, so it is looked at where there is any.

use std::fs;
use std::path::{Path, PathBuf};

use terway_datapath::host_agent::{self, AtWork, HostAgent};

use super::Finding;
use super::links::PodLink;
use super::settings;

const DROP_INS: &str = "install the drop-ins of deploy/host";

/// Judges one service.
pub(crate) fn judge(at_work: &AtWork, root: &Path, links: &[PodLink]) -> Finding {
    let check = at_work.agent.to_string();
    let trouble = match at_work.agent {
        HostAgent::Networkd => networkd(root, links),
        HostAgent::NetworkManager => network_manager(root, links),
        HostAgent::CloudInit => cloud_init(root),
        HostAgent::Dhclient => dhclient(root, links),
    };
    match trouble {
        None => Finding::fine(&check, format!("at work ({}), leaves pods' links alone", at_work.evidence)),
        Some((what, remedy)) => Finding::wrong(&check, what, remedy),
    }
}

/// What is wrong, and what helps.
type Trouble = Option<(String, String)>;

/// networkd.conf(5) and systemd.network(5). The state of a link is in a file named by its index.
fn networkd(root: &Path, links: &[PodLink]) -> Trouble {
    const MAIN: [&str; 4] = ["etc", "run", "usr/local/lib", "usr/lib"];
    let main = MAIN.map(|base| format!("{base}/systemd/networkd.conf"));
    let folders = MAIN.map(|base| format!("{base}/systemd/networkd.conf.d"));
    let (main, folders) = (main.each_ref().map(String::as_str), folders.each_ref().map(String::as_str));
    for (key, what) in
        [("ManageForeignRoutes", "routes"), ("ManageForeignRoutingPolicyRules", "routing rules")]
    {
        let last = settings::values(root, &main, &folders, "Network", key).pop();
        if !last.is_some_and(|(value, _)| ["no", "false", "off", "0"].contains(&value.as_str())) {
            let what = format!("a restart of it removes the {what} of all pods: {key} is not `no`");
            return Some((what, format!("{DROP_INS} and restart systemd-networkd")));
        }
    }
    let managed = managed(root, "run/systemd/netif/links", links, |state| {
        value_of(state, "ADMIN_STATE").is_some_and(|state| state != "unmanaged")
    });
    managed.map(|names| {
        let remedy =
            format!("{DROP_INS}, with these names in 05-terway.network, and restart systemd-networkd");
        (format!("it manages {names}"), remedy)
    })
}

/// NetworkManager.conf(5). The state of a device is in a file named by its index.
fn network_manager(root: &Path, links: &[PodLink]) -> Trouble {
    let managed = managed(root, "run/NetworkManager/devices", links, |state| {
        value_of(state, "managed").is_some_and(|state| state == "true")
    });
    if let Some(names) = managed {
        let remedy = format!("{DROP_INS}, with these names in unmanaged-devices, and reload NetworkManager");
        return Some((format!("it manages {names}"), remedy));
    }
    let folders = ["etc", "run", "usr/lib"].map(|base| format!("{base}/NetworkManager/conf.d"));
    let folders = folders.each_ref().map(String::as_str);
    let main = ["etc/NetworkManager/NetworkManager.conf"];
    let said = settings::values(root, &main, &folders, "keyfile", "unmanaged-devices");
    let names_ours = said.iter().any(|(value, _)| value.contains("interface-name:cali*"));
    (!names_ours).then(|| {
        let what = "it takes the next NIC that is plugged in: unmanaged-devices does not name pods' links";
        (what.to_owned(), format!("{DROP_INS} and reload NetworkManager"))
    })
}

/// The hook is there because hot-plug was switched on; what may update the network is said in `cloud.cfg`.
fn cloud_init(root: &Path) -> Trouble {
    let folder = root.join("etc/cloud/cloud.cfg.d");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "cfg"));
    files.sort();
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let last_word = texts.filter_map(|text| allows_hotplug(&text)).next_back();
    (last_word != Some(false)).then(|| {
        let what = "it writes new network configuration when a NIC is plugged in";
        (what.to_owned(), format!("{DROP_INS} and start the node again"))
    })
}

/// Whether the list of moments in a file has `hotplug`; none if there is no such list.
fn allows_hotplug(text: &str) -> Option<bool> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let at = lines.iter().position(|line| line.trim_start().starts_with("when:"))?;
    let list = lines[at + 1..].iter().take_while(|line| line.trim_start().starts_with('-'));
    Some(lines[at..=at].iter().chain(list).any(|line| line.contains("hotplug")))
}

/// It is started for links by name.
fn dhclient(root: &Path, links: &[PodLink]) -> Trouble {
    let running = host_agent::processes(root).into_iter().filter(|process| process.name == "dhclient");
    let mut names: Vec<String> = running.flat_map(|process| process.arguments).collect();
    names.retain(|argument| links.iter().any(|link| link.name == *argument));
    (!names.is_empty()).then(|| {
        let remedy =
            "remove their stanzas from /etc/network/interfaces and interfaces.d, and end it for them";
        (format!("it runs for {}", names.join(", ")), remedy.to_owned())
    })
}

/// The names of the links whose state, in a file named by the index, says so.
fn managed(root: &Path, folder: &str, links: &[PodLink], says: impl Fn(&str) -> bool) -> Option<String> {
    let managed = links.iter().filter(|link| {
        let state = fs::read_to_string(root.join(folder).join(link.index.to_string()));
        state.is_ok_and(|state| says(&state))
    });
    let names: Vec<&str> = managed.map(|link| link.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    /// The drop-ins as they are shipped.
    const SHIPPED: [(&str, &str); 3] = [
        (
            "etc/systemd/networkd.conf.d/10-terway.conf",
            include_str!("../../../../deploy/host/etc/systemd/networkd.conf.d/10-terway.conf"),
        ),
        (
            "etc/NetworkManager/conf.d/10-terway.conf",
            include_str!("../../../../deploy/host/etc/NetworkManager/conf.d/10-terway.conf"),
        ),
        (
            "etc/cloud/cloud.cfg.d/99-terway.cfg",
            include_str!("../../../../deploy/host/etc/cloud/cloud.cfg.d/99-terway.cfg"),
        ),
    ];

    fn put(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    fn find(root: &Path, agent: HostAgent) -> Finding {
        let links = [PodLink { index: 7, name: "eth1".to_owned() }];
        judge(&AtWork { agent, evidence: "seen".to_owned() }, root, &links)
    }

    #[test]
    fn services_left_to_themselves_are_trouble_and_the_shipped_drop_ins_end_it() {
        let root = tempfile::tempdir().unwrap();
        let configurable = [HostAgent::Networkd, HostAgent::NetworkManager, HostAgent::CloudInit];
        for agent in configurable {
            let finding = find(root.path(), agent);
            assert_eq!(finding.outcome, Outcome::Wrong, "{finding:?}");
            assert!(finding.remedy.unwrap().contains("deploy/host"));
        }
        for (path, text) in SHIPPED {
            put(root.path(), path, text);
        }
        for agent in configurable {
            assert_eq!(find(root.path(), agent).outcome, Outcome::Fine, "{agent}");
        }
    }

    #[test]
    fn each_setting_of_networkd_is_needed() {
        let root = tempfile::tempdir().unwrap();
        let file = "etc/systemd/networkd.conf.d/10-terway.conf";
        put(root.path(), file, "[Network]\nManageForeignRoutes=no\n");
        assert!(find(root.path(), HostAgent::Networkd).what.contains("ManageForeignRoutingPolicyRules"));
        put(root.path(), file, SHIPPED[0].1);
        put(root.path(), "etc/systemd/networkd.conf.d/99-x.conf", "[Network]\nManageForeignRoutes=yes\n");
        assert!(find(root.path(), HostAgent::Networkd).what.contains("ManageForeignRoutes is not"));
    }

    #[test]
    fn what_a_service_does_counts_more_than_what_it_is_told() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in SHIPPED {
            put(root.path(), path, text);
        }
        put(root.path(), "run/systemd/netif/links/7", "ADMIN_STATE=configured\nOPER_STATE=routable\n");
        put(root.path(), "run/NetworkManager/devices/7", "[device]\nmanaged=true\n");
        for agent in [HostAgent::Networkd, HostAgent::NetworkManager] {
            assert_eq!(find(root.path(), agent).what, "it manages eth1");
        }
        put(root.path(), "run/systemd/netif/links/7", "ADMIN_STATE=unmanaged\n");
        put(root.path(), "run/NetworkManager/devices/7", "[device]\nmanaged=false\n");
        for agent in [HostAgent::Networkd, HostAgent::NetworkManager] {
            assert_eq!(find(root.path(), agent).outcome, Outcome::Fine);
        }
    }

    #[test]
    fn hotplug_is_read_from_both_forms_of_the_list() {
        assert_eq!(allows_hotplug("network: {config: disabled}"), None);
        assert_eq!(allows_hotplug("    when: ['boot-new-instance']"), Some(false));
        assert_eq!(allows_hotplug("    when: ['boot', 'hotplug']"), Some(true));
        assert_eq!(allows_hotplug("    when:\n    - boot\n    - hotplug\nother: 1"), Some(true));
        assert_eq!(allows_hotplug("    when:\n    - boot\n# hotplug\nother: hotplug"), Some(false));
    }

    #[test]
    fn dhclient_may_run_for_the_nodes_own_nic_only() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "proc/9/comm", "dhclient\n");
        put(root.path(), "proc/9/cmdline", "/sbin/dhclient\0-1\0eth0\0");
        assert_eq!(find(root.path(), HostAgent::Dhclient).outcome, Outcome::Fine);
        put(root.path(), "proc/9/cmdline", "/sbin/dhclient\0-1\0eth1\0");
        assert_eq!(find(root.path(), HostAgent::Dhclient).what, "it runs for eth1");
    }
}
