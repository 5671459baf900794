//! The addresses of shared ENIs as plain data, for people.

use std::collections::BTreeMap;
use std::net::IpAddr;

use terway_types::{AddressRecord, AttachmentRecord, IntentToken, PrefixRecord};

use crate::engine::Pool;
use crate::stock::Shelf;
use crate::view::AddressView;

/// Which attachment holds which address.
pub(crate) type Holders<'a> = BTreeMap<IpAddr, &'a AttachmentRecord>;

impl Pool {
    /// An ENI's addresses that have records, sorted.
    pub(crate) fn addresses_of(&self, token: &IntentToken, holders: &Holders<'_>) -> Vec<AddressView> {
        let Some(shelf) = self.shared.stock.of(token) else { return Vec::new() };
        let mut views: Vec<_> = entries(shelf)
            .filter_map(|(address, life, since)| {
                let held = holders.get(&address);
                let phase = life.phase(held.map(|held| &held.key))?;
                let record = AddressRecord { address, eni: token.clone(), phase, since };
                Some(AddressView { record, pod: held.map(|held| held.pod.clone()) })
            })
            .collect();
        views.sort_unstable_by_key(|view| view.record.address);
        views
    }

    /// An ENI's prefixes, sorted.
    pub(crate) fn prefixes_of(&self, token: &IntentToken) -> Vec<PrefixRecord> {
        let Some(shelf) = self.shared.stock.of(token) else { return Vec::new() };
        let record = |block: &crate::stock::Block| PrefixRecord {
            prefix: block.net,
            eni: token.clone(),
            phase: block.phase,
            since: block.since,
        };
        let mut records: Vec<_> = shelf.blocks().iter().map(record).collect();
        records.sort_unstable_by_key(|record| record.prefix);
        records
    }

    /// Which attachment holds which address.
    pub(crate) fn holders(&self) -> Holders<'_> {
        self.holdings
            .iter()
            .flat_map(|held| held.addresses.iter().map(move |address| (address, held)))
            .collect()
    }
}

fn entries(
    shelf: &Shelf,
) -> impl Iterator<Item = (IpAddr, crate::stock::Life, terway_types::Timestamp)> + '_ {
    let singles = shelf.slots().iter().map(|slot| (slot.address, slot.life, slot.since));
    let out_of_prefixes = shelf.blocks().iter().flat_map(crate::stock::Block::entries);
    singles.chain(out_of_prefixes.map(|(address, entry)| (address, entry.life, entry.since)))
}
