//! A cloud and a node for histories: ENIs, vSwitches with few addresses, calls that fail, get lost, land late or
//! are answered twice; netdevs that appear late, move into pods and come home.

use std::collections::{BTreeMap, BTreeSet};

use terway_types::{
    AddressSet, Addresses, CloudFailure, CloudFailureKind as Kind, EniId, Gateways, IntentToken, MacAddr,
    SecurityGroupId, Subnets, VSwitchId,
};

use crate::{CloudAction, CloudAnswer, CloudEni};

/// An ENI as it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RealEni {
    pub(crate) id: EniId,
    pub(crate) mac: MacAddr,
    pub(crate) vswitch: VSwitchId,
    /// To this node.
    pub(crate) attached: bool,
    /// Whether it is attached to another instance.
    pub(crate) elsewhere: bool,
    pub(crate) groups: Vec<SecurityGroupId>,
    /// Whether the control plane made it, for a claim.
    pub(crate) named: bool,
}

/// The cloud, and where netdevs really are.
#[derive(Clone, Debug, Default)]
pub(crate) struct RealCloud {
    pub(crate) enis: BTreeMap<IntentToken, RealEni>,
    /// Tokens whose ENI is gone again. The cloud would answer them with that ENI.
    spent: BTreeSet<IntentToken>,
    made: u16,
    /// Addresses left per vSwitch.
    pub(crate) free: BTreeMap<VSwitchId, u32>,
    /// ENIs the instance carries at most.
    pub(crate) slots: usize,
    /// ENIs of others on this instance.
    pub(crate) foreign: BTreeMap<EniId, MacAddr>,
}

/// The primary addresses of the ENI with this hardware address.
pub(crate) fn addresses_of(mac: MacAddr) -> Addresses {
    Addresses::new(Some([10, 0, 0, mac.0[5]].into()), None)
}

pub(crate) fn failure(kind: Kind) -> CloudFailure {
    let (vendor_code, request_id) = (None, Some("r-1".to_owned()));
    CloudFailure { kind, action: "Act".to_owned(), vendor_code, request_id, message: "said so".to_owned() }
}

impl RealCloud {
    pub(crate) fn new(slots: usize, free: [u32; 2]) -> Self {
        let [a, b] = free;
        Self { slots, free: BTreeMap::from([("vsw-a".into(), a), ("vsw-b".into(), b)]), ..Self::default() }
    }

    pub(crate) fn by_id(&mut self, id: &EniId) -> Option<&mut RealEni> {
        self.enis.values_mut().find(|eni| eni.id == *id)
    }

    /// Whether a definite refusal of this action would be a lie.
    pub(crate) fn is_made(&self, action: &CloudAction) -> bool {
        matches!(action, CloudAction::Create { token, .. } if self.enis.contains_key(token))
    }

    /// Whether this token made an ENI that is gone, so that it can make none any more.
    pub(crate) fn is_spent(&self, token: &IntentToken) -> bool {
        self.spent.contains(token)
    }

    /// How many places of the instance are taken.
    pub(crate) fn used(&self) -> usize {
        self.enis.values().filter(|eni| eni.attached).count() + self.foreign.len()
    }

    /// The ENI is deleted, whoever does it.
    pub(crate) fn vanish(&mut self, token: &IntentToken) {
        if let Some(real) = self.enis.remove(token) {
            // What the control plane made was not counted.
            *self.free.entry(real.vswitch).or_default() += u32::from(!real.named);
            self.spent.insert(token.clone());
        }
    }

    /// Drops what nobody will ask for again.
    pub(crate) fn forget_past(&mut self, mentioned: impl Fn(&IntentToken) -> bool) {
        self.made = 0;
        self.spent.retain(|token| mentioned(token));
    }

    /// Does what is asked, as an honest cloud: repeated calls change nothing.
    pub(crate) fn act(&mut self, action: &CloudAction) -> Result<CloudAnswer, CloudFailure> {
        match action {
            CloudAction::Create { token, vswitch, security_groups, .. } => {
                self.create(token, vswitch, security_groups)
            }
            CloudAction::Find { eni } => {
                let real = self.by_id(eni).ok_or_else(|| failure(Kind::Gone))?;
                Ok(CloudAnswer::Created(described(real)))
            }
            CloudAction::Attach { eni } => {
                let full = self.used() >= self.slots;
                match self.by_id(eni) {
                    None => Err(failure(Kind::Gone)),
                    Some(real) if real.elsewhere => Err(failure(Kind::InvalidState)),
                    Some(real) if !real.attached && full => {
                        Err(failure(Kind::Quota { which: "EniPerInstance".to_owned(), limit: None }))
                    }
                    Some(real) => {
                        real.attached = true;
                        Ok(CloudAnswer::Attached)
                    }
                }
            }
            CloudAction::Detach { eni } => {
                if let Some(real) = self.by_id(eni) {
                    if real.elsewhere {
                        return Err(failure(Kind::InvalidState));
                    }
                    real.attached = false;
                }
                Ok(CloudAnswer::Detached)
            }
            CloudAction::Delete { eni } => {
                if self.by_id(eni).is_some_and(|real| real.attached || real.elsewhere) {
                    return Err(failure(Kind::InvalidState));
                }
                let token =
                    self.enis.iter().find(|(_, real)| real.id == *eni).map(|(token, _)| token.clone());
                if let Some(token) = token {
                    self.vanish(&token);
                }
                Ok(CloudAnswer::Deleted)
            }
            CloudAction::Regroup { eni, security_groups } => {
                let real = self.by_id(eni).ok_or_else(|| failure(Kind::Gone))?;
                real.groups.clone_from(security_groups);
                Ok(CloudAnswer::Regrouped)
            }
            _ => Err(failure(Kind::Invalid)),
        }
    }

    fn create(
        &mut self,
        token: &IntentToken,
        vswitch: &VSwitchId,
        groups: &[SecurityGroupId],
    ) -> Result<CloudAnswer, CloudFailure> {
        if !self.enis.contains_key(token) {
            if self.spent.contains(token) {
                // Only a late call may come here; nobody listens to it any more.
                return Err(failure(Kind::Conflict));
            }
            let free = self.free.entry(vswitch.clone()).or_default();
            *free = free.checked_sub(1).ok_or_else(|| failure(Kind::SubnetExhausted))?;
            self.make(token.clone(), vswitch, groups, false);
        }
        Ok(CloudAnswer::Created(described(&self.enis[token])))
    }

    fn make(
        &mut self,
        token: IntentToken,
        vswitch: &VSwitchId,
        groups: &[SecurityGroupId],
        named: bool,
    ) -> EniId {
        self.made += 1;
        let [high, low] = self.made.to_be_bytes();
        let id = EniId(format!("eni-{}", self.made));
        let real = RealEni {
            id: id.clone(),
            mac: MacAddr([2, 0, 0, 0, high, low]),
            vswitch: vswitch.clone(),
            attached: false,
            elsewhere: false,
            groups: groups.to_vec(),
            named,
        };
        self.enis.insert(token, real);
        id
    }

    /// The control plane makes an ENI for a claim. It goes by its id until the node has a record of it,
    /// and then by the record's token.
    pub(crate) fn make_named(&mut self) -> EniId {
        let token = IntentToken(format!("named-{}", self.made + 1));
        self.make(token, &"vsw-a".into(), &["sg-1".into()], true)
    }

    /// By what name an ENI that the control plane made goes.
    pub(crate) fn name_of(&self, id: &EniId) -> Option<IntentToken> {
        self.enis.iter().find(|(_, real)| real.named && real.id == *id).map(|(name, _)| name.clone())
    }

    pub(crate) fn rename(&mut self, from: &IntentToken, to: IntentToken) {
        if let Some(real) = self.enis.remove(from) {
            self.enis.insert(to, real);
        }
    }
}

fn described(real: &RealEni) -> CloudEni {
    CloudEni {
        id: real.id.clone(),
        mac: real.mac,
        vswitch: real.vswitch.clone(),
        security_groups: real.groups.clone(),
        addresses: addresses_of(real.mac),
        assigned: AddressSet::default(),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        attached: real.attached,
    }
}
