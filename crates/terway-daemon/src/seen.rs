//! ENIs as the cloud describes them, read with this node's eyes: which are ours, and where they are.

use std::collections::BTreeMap;

use terway_cloud::{Cloud, CloudResult, EniDescription, EniFilter, EniStatus, Ranges};
use terway_pool::{Place, SeenEni};
use terway_types::{InstanceId, IntentToken, MacAddr};

use crate::actions::INTENT_TAG;
use crate::subnets::SubnetBook;

/// What it takes to read a description.
#[derive(Debug)]
pub struct Eyes<'a> {
    /// This instance.
    pub instance: &'a InstanceId,
    /// Its primary NIC.
    pub primary: MacAddr,
    /// This node's marks.
    pub marks: &'a BTreeMap<String, String>,
    /// Tags without which an ENI is not ours all the same.
    pub filter: &'a BTreeMap<String, String>,
    /// CIDRs and gateways of vSwitches.
    pub subnets: &'a SubnetBook,
}

impl Eyes<'_> {
    /// Every ENI attached to this instance, and every ENI with this node's marks. Both lists whole, or none: half
    /// of the truth would look like loss.
    pub async fn look(&self, cloud: &dyn Cloud) -> CloudResult<Vec<SeenEni>> {
        let here = EniFilter { instance: Some(self.instance.clone()), ..EniFilter::default() };
        let ours = EniFilter { tags: self.marks.clone(), ..EniFilter::default() };
        let (here, ours) = tokio::try_join!(cloud.describe_enis(&here), cloud.describe_enis(&ours))?;
        let enis: BTreeMap<_, _> = ours.into_iter().chain(here).map(|eni| (eni.id.clone(), eni)).collect();
        self.subnets.fill(enis.values().map(|eni| &eni.vswitch)).await?;
        Ok(enis.values().map(|eni| self.see(eni)).collect())
    }

    fn see(&self, eni: &EniDescription) -> SeenEni {
        let has = |wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| eni.tags.get(key) == Some(value))
        };
        let Ranges { subnets, gateways } = self.subnets.known(&eni.vswitch).unwrap_or_default();
        SeenEni {
            id: eni.id.clone(),
            token: eni.tags.get(INTENT_TAG).map(|token| IntentToken(token.clone())),
            ours: has(self.marks) && has(self.filter),
            primary: eni.primary() || eni.mac == self.primary,
            mac: eni.mac,
            vswitch: eni.vswitch.clone(),
            security_groups: eni.security_groups.clone(),
            addresses: eni.addresses,
            assigned: eni.assigned.clone(),
            subnets,
            gateways,
            place: match (eni.status, &eni.instance) {
                (EniStatus::InUse, Some(instance)) if instance == self.instance => Place::Here,
                (EniStatus::InUse, _) => Place::Elsewhere,
                (EniStatus::Available, _) => Place::Nowhere,
                _ => Place::Moving,
            },
        }
    }
}
