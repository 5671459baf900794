//! A cloud in memory, and the NICs its ENIs are on the node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use terway_cloud::{
    Assign, CallRecord, CallSink, Carried, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind,
    EniStatus, InstanceDescription, InstanceIdentity, InstanceLimits, Metadata, Ranges, Trunking, VSwitch,
};
use terway_daemon::links::NicChange;
use terway_types::{
    AddressSet, Addresses, CloudFailure, CloudFailureKind, EniId, Gateways, InstanceId, IntentToken, MacAddr,
    SecurityGroupId, Subnets, VSwitchId,
};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;

pub(crate) const PRIMARY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) enis: BTreeMap<EniId, EniDescription>,
    by_token: BTreeMap<IntentToken, EniId>,
    made: u8,
    /// How many calls of each kind came.
    pub(crate) calls: BTreeMap<&'static str, usize>,
    /// The state new ENIs are in, if not available.
    pub(crate) made_as: Option<EniStatus>,
    /// What the next calls of a kind fail with.
    pub(crate) refusals: BTreeMap<&'static str, CloudFailureKind>,
    /// Who is told of calls.
    sink: Option<Arc<dyn CallSink>>,
    /// What assign calls were given, by token.
    given: BTreeMap<IntentToken, AddressSet>,
    home: BTreeSet<MacAddr>,
    /// How many ENIs the instance carries, if not eight.
    pub(crate) carries: Option<u32>,
    /// Whether the metadata service takes its time.
    pub(crate) busy: watch::Sender<bool>,
    /// Whether the node's own NIC is in no vSwitch.
    pub(crate) homeless: bool,
    /// What the metadata tells of the vSwitch of the node's own NIC.
    pub(crate) told: Ranges,
    watchers: Vec<Sender<NicChange>>,
}

/// Clones are the same cloud.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeCloud(Arc<Mutex<State>>);

impl FakeCloud {
    pub(crate) fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.0.lock().unwrap())
    }

    pub(crate) fn refuse(&self, call: &'static str, kind: Option<CloudFailureKind>) {
        self.with(|state| match kind {
            Some(kind) => drop(state.refusals.insert(call, kind)),
            None => drop(state.refusals.remove(call)),
        });
    }

    /// Starts a watch over the node's links, with what is there already.
    pub(crate) fn links(&self) -> Receiver<NicChange> {
        let (sender, receiver) = mpsc::channel(256);
        self.with(|state| {
            for mac in &state.home {
                sender.try_send(NicChange { mac: *mac, present: true, index: 2 }).unwrap();
            }
            state.watchers.push(sender);
        });
        receiver
    }

    /// A NIC moves into a pod, or comes home.
    pub(crate) fn nic(&self, mac: MacAddr, present: bool) {
        self.with(|state| state.nic(mac, present));
    }

    /// The ENI the instance was born with.
    pub(crate) fn add_primary(&self, security_groups: &[&str]) {
        let eni = EniDescription {
            id: "eni-primary".into(),
            status: EniStatus::InUse,
            mac: PRIMARY,
            vswitch: "vsw-own".into(),
            zone: "zone-a".into(),
            security_groups: security_groups.iter().map(|group| (*group).into()).collect(),
            addresses: Addresses::default(),
            instance: Some("i-1".into()),
            assigned: AddressSet::default(),
            kind: EniKind::Primary,
            vlan_id: None,
            trunk: None,
            description: String::new(),
            tags: BTreeMap::default(),
        };
        self.with(|state| state.enis.insert(eni.id.clone(), eni));
    }

    /// From now on calls are told to this one.
    pub(crate) fn tell(&self, sink: Arc<dyn CallSink>) {
        self.with(|state| state.sink = Some(sink));
    }

    fn call(&self, name: &'static str) -> CloudResult<()> {
        let (outcome, sink) = self.with(|state| {
            *state.calls.entry(name).or_default() += 1;
            let refused = state.refusals.get(name);
            (refused.map_or(Ok(()), |kind| Err(failure(name, kind.clone()))), state.sink.clone())
        });
        if let Some(sink) = sink {
            sink.called(CallRecord {
                provider: "fake",
                action: name.to_owned(),
                intent: terway_cloud::calls::intent(),
                object: "eni-1".to_owned(),
                changes: matches!(name, "create" | "attach" | "detach" | "delete" | "assign" | "unassign"),
                request_id: Some("req-1".to_owned()),
                took: std::time::Duration::from_millis(1),
                outcome: outcome.clone(),
            });
        }
        outcome
    }
}

pub(crate) fn failure(action: &str, kind: CloudFailureKind) -> CloudFailure {
    CloudFailure {
        kind,
        action: action.to_owned(),
        vendor_code: None,
        request_id: Some("req-1".to_owned()),
        message: "refused by the test".to_owned(),
    }
}

impl State {
    fn nic(&mut self, mac: MacAddr, present: bool) {
        let changed = if present { self.home.insert(mac) } else { self.home.remove(&mac) };
        if changed {
            self.watchers.retain(|watcher| watcher.try_send(NicChange { mac, present, index: 2 }).is_ok());
        }
    }
}

fn vswitch(id: &VSwitchId) -> VSwitch {
    VSwitch {
        id: id.clone(),
        zone: if id.as_str() == "vsw-elsewhere" { "zone-b" } else { "zone-a" }.into(),
        vpc: if id.as_str() == "vsw-foreign" { "vpc-2" } else { "vpc-1" }.to_owned(),
        subnets: Subnets::new("10.0.0.0/24".parse().ok(), None),
        gateways: Gateways::new("10.0.0.253".parse().ok(), None),
        free_ipv4: 200,
    }
}

#[async_trait]
impl Cloud for FakeCloud {
    fn provider(&self) -> &'static str {
        "aliyun"
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<EniDescription> {
        self.call("create")?;
        self.with(|state| {
            if let Some(known) = state.by_token.get(&request.token).and_then(|id| state.enis.get(id)) {
                let same = known.tags == request.tags;
                return same.then(|| known.clone()).ok_or(failure("create", CloudFailureKind::Conflict));
            }
            state.made += 1;
            let number = state.made;
            let eni = EniDescription {
                id: EniId(format!("eni-{number}")),
                status: state.made_as.unwrap_or(EniStatus::Available),
                mac: MacAddr([2, 0, 0, 0, 1, number]),
                vswitch: request.vswitch.clone(),
                zone: "zone-a".into(),
                security_groups: request.security_groups.clone(),
                addresses: Addresses::new(Some([10, 0, 0, number].into()), None),
                instance: None,
                assigned: AddressSet {
                    ipv4: std::iter::once([10, 0, 0, number].into())
                        .chain(
                            (1..)
                                .zip(1..request.counts.ipv4)
                                .map(|(n, _)| [10, 0, 0, number * 20 + n].into()),
                        )
                        .collect(),
                    ..AddressSet::default()
                },
                kind: request.kind,
                vlan_id: None,
                trunk: None,
                description: String::new(),
                tags: request.tags.clone(),
            };
            state.by_token.insert(request.token.clone(), eni.id.clone());
            state.enis.insert(eni.id.clone(), eni.clone());
            Ok(eni)
        })
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.call("attach")?;
        self.with(|state| {
            let found = state.enis.get_mut(eni).ok_or_else(|| failure("attach", CloudFailureKind::Gone))?;
            (found.status, found.instance) = (EniStatus::InUse, Some(instance.clone()));
            let mac = found.mac;
            state.nic(mac, true);
            Ok(())
        })
    }

    async fn detach_eni(&self, eni: &EniId, _: &InstanceId) -> CloudResult<()> {
        self.call("detach")?;
        self.with(|state| {
            let Some(found) = state.enis.get_mut(eni) else { return };
            (found.status, found.instance) = (EniStatus::Available, None);
            let mac = found.mac;
            state.nic(mac, false);
        });
        Ok(())
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.call("delete")?;
        self.with(|state| {
            if state.enis.get(eni).is_some_and(|found| found.status != EniStatus::Available) {
                return Err(failure("delete", CloudFailureKind::InvalidState));
            }
            state.enis.remove(eni);
            Ok(())
        })
    }

    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>> {
        self.call("describe")?;
        Ok(self.with(|state| {
            let fits = |eni: &&EniDescription| {
                (filter.ids.is_empty() || filter.ids.contains(&eni.id))
                    && (filter.instance.is_none() || filter.instance == eni.instance)
                    && filter.tags.iter().all(|(key, value)| eni.tags.get(key) == Some(value))
            };
            state.enis.values().filter(fits).cloned().collect()
        }))
    }

    async fn assign(&self, eni: &EniId, token: &IntentToken, what: Assign) -> CloudResult<AddressSet> {
        self.call(if matches!(what, Assign::Ipv6(_)) { "assign6" } else { "assign" })?;
        self.with(|state| {
            let known = state.given.len();
            let found = state.enis.get_mut(eni).ok_or_else(|| failure("assign", CloudFailureKind::Gone))?;
            let given = state.given.entry(token.clone()).or_insert_with(|| {
                let numbers = 0..u8::try_from(what.amount()).unwrap();
                let number = |n: u8| 100 + u8::try_from(known).unwrap() * 10 + n;
                match what {
                    Assign::Ipv4(_) => AddressSet {
                        ipv4: numbers.map(|n| [10, 0, 0, number(n)].into()).collect(),
                        ..AddressSet::default()
                    },
                    Assign::Ipv6(_) => AddressSet {
                        ipv6: numbers
                            .map(|n| [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number(n))].into())
                            .collect(),
                        ..AddressSet::default()
                    },
                    _ => AddressSet::default(),
                }
            });
            found.assigned.ipv4.extend(given.ipv4.iter().copied());
            found.assigned.ipv6.extend(given.ipv6.iter().copied());
            found.assigned.ipv4.sort_unstable();
            found.assigned.ipv4.dedup();
            Ok(given.clone())
        })
    }

    async fn unassign(&self, eni: &EniId, what: &AddressSet) -> CloudResult<()> {
        self.call("unassign")?;
        self.with(|state| {
            if let Some(found) = state.enis.get_mut(eni) {
                found.assigned.ipv4.retain(|address| !what.ipv4.contains(address));
                found.assigned.ipv6.retain(|address| !what.ipv6.contains(address));
            }
            Ok(())
        })
    }

    async fn set_security_groups(&self, eni: &EniId, groups: &[SecurityGroupId]) -> CloudResult<()> {
        self.call("security-groups")?;
        self.with(|state| {
            let found = state.enis.get_mut(eni).ok_or_else(|| failure("modify", CloudFailureKind::Gone))?;
            found.security_groups = groups.to_vec();
            Ok(())
        })
    }

    async fn set_delete_on_release(&self, _: &EniId, _: bool) -> CloudResult<()> {
        self.call("delete-on-release")
    }

    fn trunking(&self) -> Option<&dyn Trunking> {
        None
    }

    async fn describe_instances(&self, _: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>> {
        self.call("instances")?;
        Ok(Vec::new())
    }

    async fn describe_vswitches(&self, ids: &[VSwitchId]) -> CloudResult<Vec<VSwitch>> {
        self.call("vswitch")?;
        Ok(ids.iter().filter(|id| id.as_str() != "vsw-unknown").map(vswitch).collect())
    }

    async fn instance_limits(&self, _: &str) -> CloudResult<Option<InstanceLimits>> {
        self.call("limits")?;
        Ok(Some(InstanceLimits {
            enis: self.with(|state| state.carries.unwrap_or(8)),
            ipv4_per_eni: 6,
            ipv6_per_eni: 1,
            members: 0,
            trunk: false,
            prefixes_per_eni: 5,
            assign_batch: 10,
        }))
    }
}

#[async_trait]
impl Metadata for FakeCloud {
    async fn identity(&self) -> CloudResult<InstanceIdentity> {
        self.call("identity")?;
        let mut busy = self.with(|state| state.busy.subscribe());
        // The cloud outlives whoever waits for it.
        let _ = busy.wait_for(|busy| !busy).await;
        Ok(InstanceIdentity {
            id: "i-1".into(),
            instance_type: "ecs.test".to_owned(),
            region: "region-1".to_owned(),
            zone: "zone-a".into(),
            vpc: "vpc-1".to_owned(),
            vswitch: if self.with(|state| state.homeless) { "" } else { "vsw-own" }.into(),
            primary_mac: PRIMARY,
            ranges: self.with(|state| state.told),
        })
    }

    async fn macs(&self) -> CloudResult<Vec<MacAddr>> {
        self.call("macs")?;
        Ok(vec![PRIMARY])
    }

    async fn carried(&self) -> CloudResult<Carried> {
        self.call("carried")?;
        Ok(Carried { enis: 1, ipv4_per_eni: 1, ipv6_per_eni: 0 })
    }
}
