//! The CIDRs and gateways of vSwitches. They never change, so each vSwitch is asked for once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use terway_cloud::{Cloud, CloudResult, Ranges, VSwitch};
use terway_types::{CloudFailure, CloudFailureKind, VSwitchId};

/// What is known of vSwitches.
#[derive(Debug)]
pub struct SubnetBook {
    cloud: Arc<dyn Cloud>,
    known: Mutex<BTreeMap<VSwitchId, Ranges>>,
}

impl SubnetBook {
    /// A book in which these vSwitches are written already.
    pub fn new(cloud: Arc<dyn Cloud>, vswitches: &[VSwitch]) -> Self {
        let book = Self { cloud, known: Mutex::default() };
        book.learn(vswitches);
        book
    }

    /// Writes down what somebody has just read.
    pub fn learn(&self, vswitches: &[VSwitch]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(vswitches.iter().map(|vswitch| {
            let VSwitch { id, subnets, gateways, .. } = vswitch;
            (id.clone(), Ranges { subnets: *subnets, gateways: *gateways })
        }));
    }

    /// The ranges of a vSwitch that must exist.
    pub async fn get(&self, id: &VSwitchId) -> CloudResult<Ranges> {
        self.fill([id]).await?;
        self.known(id).ok_or_else(|| CloudFailure {
            kind: CloudFailureKind::Invalid,
            action: "DescribeVSwitches".to_owned(),
            vendor_code: None,
            request_id: None,
            message: format!("the cloud does not know vSwitch {id}"),
        })
    }

    /// Asks the cloud for those that are not written down, all at once.
    pub async fn fill(&self, ids: impl IntoIterator<Item = &VSwitchId>) -> CloudResult<()> {
        let missing: BTreeSet<_> = ids.into_iter().filter(|id| self.known(id).is_none()).cloned().collect();
        if !missing.is_empty() {
            let missing: Vec<_> = missing.into_iter().collect();
            self.learn(&self.cloud.describe_vswitches(&missing).await?);
        }
        Ok(())
    }

    /// The ranges of a vSwitch, if they are written down.
    pub fn known(&self, id: &VSwitchId) -> Option<Ranges> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }
}
