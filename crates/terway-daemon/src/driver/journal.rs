//! The durable side of the driver, as narrow as it is used: so that tests can make it fail.

use terway_ledger::Ledger;
use terway_types::{Fault, LedgerChange, LedgerSnapshot};

/// Where changes become durable.
pub trait Journal: Send {
    /// Makes these changes durable, all or none, in this order.
    fn commit(&mut self, changes: &[LedgerChange]) -> Result<(), Fault>;

    /// Everything that is durable.
    fn snapshot(&mut self) -> Result<LedgerSnapshot, Fault>;
}

impl Journal for Ledger {
    fn commit(&mut self, changes: &[LedgerChange]) -> Result<(), Fault> {
        Self::commit(self, changes).map_err(|error| error.fault())
    }

    fn snapshot(&mut self) -> Result<LedgerSnapshot, Fault> {
        Self::snapshot(self).map_err(|error| error.fault())
    }
}
