//! From the cloud's calls to the ledger's history: every call that may have changed something becomes an entry
//! that rides along with the driver's next commit.

use std::sync::{Mutex, PoisonError};

use terway_cloud::{CallRecord, CallSink};
use terway_types::{HistoryEntry, PastCall};

use crate::clock::Clock;
use crate::driver::DriverHandle;

/// Passes calls on to the driver of the moment.
#[derive(Debug)]
pub struct CallLog {
    clock: Clock,
    driver: Mutex<Option<DriverHandle>>,
}

impl CallLog {
    /// A log whose driver does not run yet. Nothing is changed in the cloud before it does.
    pub fn new(clock: Clock) -> Self {
        Self { clock, driver: Mutex::default() }
    }

    /// From now on entries go to this driver.
    pub fn attach(&self, driver: DriverHandle) {
        *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
    }
}

impl CallSink for CallLog {
    fn called(&self, record: CallRecord) {
        let CallRecord { action, intent, object, changes, request_id, took, outcome, .. } = record;
        if !changes {
            return;
        }
        let at = (self.clock)();
        let call = PastCall { action, object, intent, request_id, failure: outcome.err(), at, took };
        if let Some(driver) = &*self.driver.lock().unwrap_or_else(PoisonError::into_inner) {
            driver.remember(HistoryEntry::Called(call));
        }
    }
}
