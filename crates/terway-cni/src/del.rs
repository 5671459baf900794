//! DEL: takes the attachment out of the kernel, then gives its ENI back. It works with what is there: no
//! namespace, no daemon, an ADD half done or never seen, a DEL repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use cni_protocol::{DelRequest, PrevResult};
use terway_datapath::describe::FIRST_TABLE;
use terway_datapath::kernel::Netns;
use terway_datapath::rules;
use terway_rpc::{InterfaceParts, datapath, wire};
use terway_types::{AttachmentKey, Datapath, Fault, FaultCode, MacAddr, Timestamp};

use crate::daemon_client::Daemon;
use crate::netconf::Paths;
use crate::plan::seen_at;
use crate::release::release;
use crate::subject::Subject;
use crate::teardown::{Known, lock, still_holds_nic, tear_down_own};
use crate::{sandbox, timeline};

/// How long an older call for the same attachment may take to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn del(request: &DelRequest, now: Timestamp) -> Result<(), Fault> {
    let paths = Paths::read(&request.context.config)?;
    let subject = Subject::of(&request.attachment, &request.context)?;
    let lock = lock(&paths.run_dir, &subject.key, LOCK_PATIENCE)?;
    timeline::until("prepare");
    let daemon = Daemon::connect(&paths.socket);
    timeline::until("connect");
    let known = known(daemon.as_ref(), &subject, request.prev_result.as_ref());
    timeline::until("daemon");
    let host = sandbox::host()?;
    let pod = pod_namespace(request.netns.as_deref(), &host)?;

    let torn_down = tear_down_own(&subject.key, &known, &host, pod.as_ref());
    timeline::until("remove");
    if let Err(fault) = &torn_down
        && pod.as_ref().is_some_and(|pod| still_holds_nic(&subject.key, &known, pod))
    {
        // The pod still speaks with the ENI's address: nobody else may get it. The runtime tries again.
        return Err(fault.clone());
    }
    let eni_in_use = release(daemon.as_ref(), &paths, &subject, known.mac, "DEL", now)?;
    timeline::until("release");
    let tables = torn_down?;
    if !eni_in_use {
        // Only now, when of several that go at once the last one is told so.
        rules::free_tables(&host, &tables).map_err(|error| error.fault())?;
    }
    if let Some(lock) = lock {
        lock.retire();
    }
    Ok(())
}

/// The pod's namespace if it still exists. The host's own is nobody's sandbox, whatever the path says.
fn pod_namespace(path: Option<&str>, host: &Netns) -> Result<Option<Netns>, Fault> {
    let Some(path) = path else { return Ok(None) };
    match sandbox::open(path) {
        Ok(pod) if pod.is_same(host) => {
            eprintln!("terway: CNI_NETNS {path:?} is the host's own network namespace; passed over");
            Ok(None)
        }
        Ok(pod) => Ok(Some(pod)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => {
            let what = format!("CNI_NETNS {path:?} cannot be opened");
            Err(Fault::new(FaultCode::NetnsInvalid, what).caused_by(&error))
        }
    }
}

/// What is known of the attachment's ENI. The daemon knows whether it still belongs to this attachment; what
/// the runtime kept from ADD is asked only while the daemon cannot give the ENI to anyone else.
fn known(daemon: Result<&Daemon, &Fault>, subject: &Subject, prev: Option<&PrevResult>) -> Known {
    let answer = daemon.map_err(Clone::clone).and_then(|daemon| daemon.info(&subject.info_request()));
    let known = match answer {
        Ok(reply) => held(&reply, &subject.key),
        Err(_) => prev.map(|prev| kept(prev, &subject.key)).unwrap_or_default(),
    };
    // What links are called stays true whoever has the ENI now: each is looked at for its mark.
    Known { host_links: prev.map(host_links).unwrap_or_default(), ..known }
}

/// The links on the node that the result of ADD names.
fn host_links(prev: &PrevResult) -> Vec<String> {
    let on_the_node = |sandbox: &Option<String>| sandbox.as_ref().is_none_or(String::is_empty);
    let links = prev.result.interfaces.iter().filter(|interface| on_the_node(&interface.sandbox));
    links.map(|interface| interface.name.clone()).collect()
}

/// An answer that is not for this attachment, or that this build cannot read, says nothing; marks do then.
fn held(reply: &wire::InfoReply, key: &AttachmentKey) -> Known {
    let all = reply.interfaces.iter().filter_map(|interface| InterfaceParts::try_from(interface).ok());
    let is_main = |parts: &InterfaceParts| parts.ifname.as_ref().is_none_or(|name| *name == key.ifname);
    let (mains, others): (Vec<_>, Vec<_>) = all.partition(is_main);
    let Some(main) = mains.first() else { return Known::default() };
    let is_own = datapath(reply.r#type) == Ok(Datapath::Exclusive) && main.vlan.is_none();
    Known {
        mac: is_own.then_some(main.mac),
        addresses: mains.iter().chain(&others).flat_map(|parts| parts.addresses.iter()).collect(),
        nic_kinds: main.nic_kinds.clone(),
        host_links: Vec::new(),
        tables: if is_own { BTreeSet::new() } else { tables(&reply.interfaces) },
    }
}

/// What the runtime kept of ADD's result. The MAC is that of the pod's own interface; links made on or for an ENI that it
/// shares have that one's, which the removal tells from the ENI itself.
fn kept(prev: &PrevResult, key: &AttachmentKey) -> Known {
    Known {
        mac: kept_mac(prev, key),
        addresses: prev.result.ips.iter().map(|ip| ip.address.ip()).collect(),
        nic_kinds: Vec::new(),
        host_links: Vec::new(),
        tables: BTreeSet::new(),
    }
}

/// The routing tables of ENIs by the links they were last seen at.
fn tables(interfaces: &[wire::Interface]) -> BTreeSet<u32> {
    seen_at(interfaces).into_iter().filter_map(|(_, index)| FIRST_TABLE.checked_add(index)).collect()
}

fn kept_mac(prev: &PrevResult, key: &AttachmentKey) -> Option<MacAddr> {
    let inside = |sandbox: &Option<String>| sandbox.as_ref().is_some_and(|path| !path.is_empty());
    let own = prev
        .result
        .interfaces
        .iter()
        .find(|interface| interface.name == key.ifname.as_str() && inside(&interface.sandbox))?;
    own.mac.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{interface, key, prev_result};

    #[test]
    fn d2_d5_a_namespace_that_is_gone_is_none() {
        let host = sandbox::host().unwrap();
        for path in
            [None, Some("/run/netns/there-is-none"), Some("/dev/null"), Some("/proc/thread-self/ns/net")]
        {
            assert!(pod_namespace(path, &host).unwrap().is_none(), "{path:?}");
        }
    }

    #[test]
    fn the_daemon_knows_better_than_the_runtime() {
        let kind = wire::AttachmentType::TypeVpceni as i32;
        let mut reply = wire::InfoReply { r#type: kind, interfaces: vec![interface()], ..Default::default() };
        assert_eq!(held(&reply, &key()).mac, "00:16:3e:01:02:03".parse().ok());
        assert_eq!(held(&reply, &key()).addresses.len(), 2);
        reply.r#type = wire::AttachmentType::TypeEniMultiIp as i32;
        assert_eq!(held(&reply, &key()).mac, None, "a shared ENI is not the pod's to take away");
        reply.interfaces[0].eni.as_mut().unwrap().link_index = 4;
        assert_eq!(held(&reply, &key()).tables, BTreeSet::from([1004]), "others on it may need its table");
        reply.interfaces[0].ifname = "eth7".to_owned();
        assert_eq!(held(&reply, &key()), Known::default());
        assert_eq!(held(&wire::InfoReply::default(), &key()), Known::default());
    }

    #[test]
    fn d3_the_kept_result_is_taken_as_far_as_it_goes() {
        let kept = |json: serde_json::Value| kept(&prev_result(&json), &key()).mac;
        let entry = |sandbox: &str, mac: &str| serde_json::json!({"interfaces": [{"name": "eth0", "sandbox": sandbox, "mac": mac}]});
        assert_eq!(kept(entry("/run/netns/a", "00:16:3e:01:02:03")), "00:16:3e:01:02:03".parse().ok());
        assert_eq!(kept(entry("", "00:16:3e:01:02:03")), None, "a link of the host");
        assert_eq!(kept(entry("/run/netns/a", "vlan-7")), None, "what other plugins keep there");
        assert_eq!(kept(serde_json::json!({})), None);
    }
}
