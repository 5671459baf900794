//! The pool as it is printed: wire messages turned into values with absent things absent, sorted, and
//! with the name of each host link, so that they can be compared with `ip -j`.

use serde::Serialize;
use terway_datapath::names;
use terway_rpc::wire;
use terway_types::{AttachmentKey, Fault, PodRef};

/// A pool.
#[derive(Serialize)]
pub(crate) struct Pool {
    pub(crate) min_idle: u32,
    pub(crate) max_idle: u32,
    pub(crate) max_enis: u32,
    pub(crate) idle: u32,
    pub(crate) in_use: u32,
    pub(crate) capacity_now: u32,
    pub(crate) capacity_later: u32,
    /// exclusive (the numbers count ENIs), shared or vpc-route (they count addresses).
    pub(crate) mode: String,
    /// Cloud operations under way.
    pub(crate) operations: u32,
    /// vSwitches that no ENI is made in for a while.
    pub(crate) set_aside: Vec<SetAside>,
    /// Requests waiting for an ENI, next first.
    pub(crate) waiters: Vec<Waiter>,
}

/// A vSwitch set aside.
#[derive(Serialize)]
pub(crate) struct SetAside {
    pub(crate) vswitch: String,
    pub(crate) until_unix_ms: u64,
}

/// An ENI and who holds it.
#[derive(Serialize)]
pub(crate) struct Eni {
    pub(crate) id: Option<String>,
    pub(crate) mac: Option<String>,
    pub(crate) phase: String,
    pub(crate) since_unix_ms: Option<u64>,
    pub(crate) vswitch: Option<String>,
    pub(crate) link_present: Option<bool>,
    pub(crate) addresses: Addresses,
    pub(crate) attachment: Option<Attachment>,
    pub(crate) pod: Option<Pod>,
    /// The name of the pod's link in the host's namespace, if the attachment has one.
    pub(crate) host_link: Option<String>,
    /// Those who share it, each with its part.
    pub(crate) shares: Vec<Share>,
    pub(crate) fault: Option<FaultView>,
}

/// What one pod has of an ENI that several share.
#[derive(Serialize)]
pub(crate) struct Share {
    pub(crate) addresses: Addresses,
    pub(crate) attachment: Option<Attachment>,
    pub(crate) pod: Option<Pod>,
    /// The name of the pod's link in the host's namespace.
    pub(crate) host_link: Option<String>,
}

/// One address per family in use.
#[derive(Default, Serialize)]
pub(crate) struct Addresses {
    pub(crate) ipv4: Option<String>,
    pub(crate) ipv6: Option<String>,
}

/// An attachment's key.
#[derive(Serialize)]
pub(crate) struct Attachment {
    pub(crate) network: String,
    pub(crate) container_id: String,
    pub(crate) ifname: String,
}

/// A pod.
#[derive(Serialize)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A request that waits.
#[derive(Serialize)]
pub(crate) struct Waiter {
    pub(crate) place: u32,
    pub(crate) attachment: Option<Attachment>,
    pub(crate) since_unix_ms: u64,
    pub(crate) waits_for: String,
}

/// A fault.
#[derive(Serialize)]
pub(crate) struct FaultView {
    code: String,
    what: String,
    cause: String,
    remedy: String,
}

impl From<&Fault> for FaultView {
    fn from(fault: &Fault) -> Self {
        Self::from(&wire::Fault::from(fault))
    }
}

impl From<&wire::Fault> for FaultView {
    fn from(fault: &wire::Fault) -> Self {
        let wire::Fault { code, what, cause, remedy } = fault.clone();
        Self { code, what, cause, remedy }
    }
}

impl FaultView {
    /// In one line.
    pub(crate) fn line(&self) -> String {
        let cause = if self.cause.is_empty() { String::new() } else { format!(": {}", self.cause) };
        format!("{}: {}{cause} (remedy: {})", self.code, self.what, self.remedy)
    }
}

impl From<&wire::PoolView> for Pool {
    fn from(view: &wire::PoolView) -> Self {
        let mut waiters: Vec<Waiter> = view.waiters.iter().map(Waiter::from).collect();
        waiters.sort_by_key(|waiter| waiter.place);
        Self {
            min_idle: view.min_idle,
            max_idle: view.max_idle,
            max_enis: view.max_enis,
            idle: view.idle,
            in_use: view.in_use,
            capacity_now: view.capacity_now,
            capacity_later: view.capacity_later,
            mode: view.mode.clone(),
            operations: view.operations,
            set_aside: view
                .set_aside
                .iter()
                .map(|aside| SetAside { vswitch: aside.vswitch.clone(), until_unix_ms: aside.until_unix_ms })
                .collect(),
            waiters,
        }
    }
}

impl From<&wire::WaiterView> for Waiter {
    fn from(view: &wire::WaiterView) -> Self {
        Self {
            place: view.place,
            attachment: view.attachment.as_ref().map(Attachment::from),
            since_unix_ms: view.since_unix_ms,
            waits_for: view.waits_for.clone(),
        }
    }
}

impl From<&wire::Attachment> for Attachment {
    fn from(message: &wire::Attachment) -> Self {
        Self {
            network: message.network.clone(),
            container_id: message.container_id.clone(),
            ifname: message.ifname.clone(),
        }
    }
}

impl Attachment {
    /// For a table: container ids are long, their first digits tell them apart.
    pub(crate) fn short(&self) -> String {
        let id: String = self.container_id.chars().take(12).collect();
        format!("{id}/{}", self.ifname)
    }
}

impl Pod {
    /// `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl From<&wire::EniView> for Eni {
    fn from(view: &wire::EniView) -> Self {
        Self {
            id: some(&view.id),
            mac: some(&view.mac),
            phase: view.phase.clone(),
            since_unix_ms: Some(view.since_unix_ms),
            vswitch: some(&view.vswitch),
            link_present: Some(view.link_present),
            addresses: Addresses::from(view.addresses.as_ref()),
            attachment: view.attachment.as_ref().map(Attachment::from),
            pod: pod(&view.pod_namespace, &view.pod_name),
            host_link: view
                .attachment
                .as_ref()
                .and_then(|key| host_link(key, &view.pod_namespace, &view.pod_name)),
            shares: shares(&view.shared_addresses),
            fault: view.last_fault.as_ref().map(FaultView::from),
        }
    }
}

/// Who holds which of these addresses: one share per attachment, with its address of each family.
fn shares(addresses: &[wire::AddressView]) -> Vec<Share> {
    let mut shares: Vec<(&wire::Attachment, Share)> = Vec::new();
    for view in addresses {
        let Some(key) = &view.attachment else { continue };
        let at = shares.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            let share = Share {
                addresses: Addresses::default(),
                attachment: Some(key.into()),
                pod: pod(&view.pod_namespace, &view.pod_name),
                host_link: host_link(key, &view.pod_namespace, &view.pod_name),
            };
            shares.push((key, share));
            shares.len() - 1
        });
        let Addresses { ipv4, ipv6 } = &mut shares[at].1.addresses;
        *(if view.address.contains(':') { ipv6 } else { ipv4 }) = Some(view.address.clone());
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

impl From<Option<&wire::AddressPair>> for Addresses {
    fn from(pair: Option<&wire::AddressPair>) -> Self {
        Self { ipv4: pair.and_then(|pair| some(&pair.ipv4)), ipv6: pair.and_then(|pair| some(&pair.ipv6)) }
    }
}

/// The ENIs of a pool, by id; those without one yet come last.
pub(crate) fn enis(view: &wire::PoolView) -> Vec<Eni> {
    let mut enis: Vec<Eni> = view.enis.iter().map(Eni::from).collect();
    enis.sort_by(|left, right| (left.id.is_none(), &left.id).cmp(&(right.id.is_none(), &right.id)));
    enis
}

/// A pod, if the runtime named one.
pub(crate) fn pod(namespace: &str, name: &str) -> Option<Pod> {
    (!name.is_empty()).then(|| Pod { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// The name the data path gives the attachment's host link.
pub(crate) fn host_link(key: &wire::Attachment, namespace: &str, name: &str) -> Option<String> {
    let key = AttachmentKey::try_from(key).ok()?;
    let pod = PodRef { namespace: namespace.to_owned(), name: name.to_owned(), uid: None };
    Some(names::host_link(names::HOST_LINK_PREFIX, &key, &pod))
}

/// A text, if there is one.
pub(crate) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
pub(crate) mod samples {
    //! A pool as a daemon might describe it.

    use terway_rpc::wire::{
        AddressPair, AddressView, Attachment, EniView, Fault, PoolView, PrefixView, SetAsideView, WaiterView,
    };

    /// 2026-11-21T00:00:00Z
    pub(crate) const NOW: u64 = 1_795_219_200_000;

    pub(crate) fn attachment(container: &str) -> Attachment {
        Attachment { network: "terway".into(), container_id: container.into(), ifname: "eth0".into() }
    }

    pub(crate) fn pool() -> PoolView {
        let creating = EniView {
            token: "t-3".into(),
            vswitch: "vsw-a".into(),
            phase: "Creating".into(),
            since_unix_ms: NOW - 850,
            last_fault: Some(Fault {
                code: "subnet-exhausted".into(),
                what: "vsw-a has no free address".into(),
                cause: String::new(),
                remedy: "add a vSwitch".into(),
            }),
            ..Default::default()
        };
        let ready = EniView {
            id: "eni-b".into(),
            token: "t-2".into(),
            mac: "00:16:3e:00:00:02".into(),
            vswitch: "vsw-a".into(),
            phase: "Ready".into(),
            since_unix_ms: NOW - 190_000,
            addresses: Some(AddressPair { ipv4: "10.0.0.8".into(), ipv6: "fd00::8".into() }),
            link_present: true,
            ..Default::default()
        };
        let in_use = EniView {
            id: "eni-a".into(),
            mac: "00:16:3e:00:00:01".into(),
            phase: "InUse".into(),
            since_unix_ms: NOW - 42_000,
            addresses: Some(AddressPair { ipv4: "10.0.0.7".into(), ipv6: String::new() }),
            attachment: Some(attachment("c0ffeec0ffeec0ffee")),
            pod_name: "web".into(),
            pod_namespace: "default".into(),
            ..ready.clone()
        };
        PoolView {
            enis: vec![creating, ready, in_use],
            waiters: vec![
                WaiterView {
                    attachment: Some(attachment("late")),
                    since_unix_ms: NOW - 1_000,
                    place: 2,
                    waits_for: "the instance's limit of 3 ENIs".into(),
                },
                WaiterView {
                    attachment: Some(attachment("early")),
                    since_unix_ms: NOW - 2_000,
                    place: 1,
                    waits_for: "an ENI being created".into(),
                },
            ],
            min_idle: 1,
            max_idle: 2,
            max_enis: 3,
            idle: 1,
            in_use: 1,
            capacity_now: 1,
            capacity_later: 2,
            mode: "exclusive".into(),
            operations: 1,
            set_aside: vec![SetAsideView { vswitch: "vsw-b".into(), until_unix_ms: NOW + 90_000 }],
        }
    }

    pub(crate) fn shared_pool() -> PoolView {
        let address = |address: &str, phase: &str| AddressView {
            address: address.into(),
            phase: phase.into(),
            since_unix_ms: NOW - 10_000,
            ..Default::default()
        };
        let held = AddressView {
            attachment: Some(attachment("c0ffeec0ffeec0ffee")),
            pod_name: "web".into(),
            pod_namespace: "default".into(),
            ..address("10.0.0.7", "InUse")
        };
        let held_too = AddressView { address: "fd00::7".into(), ..held.clone() };
        let other = AddressView {
            attachment: Some(attachment("decafdecafdecaf")),
            pod_name: "db".into(),
            ..AddressView { address: "10.0.0.6".into(), ..held.clone() }
        };
        let resting = AddressView { rests_until_unix_ms: NOW + 20_000, ..address("10.0.0.8", "Quarantined") };
        let eni = EniView {
            id: "eni-s".into(),
            vswitch: "vsw-a".into(),
            phase: "Ready".into(),
            since_unix_ms: NOW - 60_000,
            shared_addresses: vec![held, resting, address("10.0.0.9", "Idle"), held_too, other],
            prefixes: vec![PrefixView {
                prefix: "10.0.0.32/28".into(),
                phase: "Ready".into(),
                since_unix_ms: NOW,
            }],
            ..Default::default()
        };
        PoolView { enis: vec![eni], mode: "shared".into(), idle: 1, in_use: 2, ..Default::default() }
    }
}
