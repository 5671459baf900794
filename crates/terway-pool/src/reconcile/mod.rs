//! Comparison of ledger, cloud, metadata and kernel by a written rule for every difference. Pure: what the books
//! say and what a look shows come in, findings with the name of their rule go out; `inventory` acts on them.
//!
//! A difference is *confirmed* by two looks that show it, apart by at least `consistency`, both begun after the
//! ENI's last change; a look that does not show it again forgets it. That something is absent counts only in looks
//! that began `consistency` after that change: one of the two may be partial, so the other must not be stale. While
//! an operation of ours is out on an ENI, looks say nothing about it. The kernel is the other witness: *home* means that the netdev is in the host's
//! namespace.
//!
//! # ENIs, by a look at the cloud
//!
//! | rule | in the ledger | in the cloud | when | then |
//! |---|---|---|---|---|
//! | `ForeignEni` | - | attached here, without our marks | at once; until two looks apart miss it | never touched; takes one of `max_enis` |
//! | - | - | a primary ENI | | never ours, never counted |
//! | `OrphanAttached` | - | ours, attached here | confirmed | adopted in quarantine: somebody may use it; ready once rested and home. A shared one's addresses rest instead |
//! | `OrphanDetached` | - | ours, attached to nothing | confirmed | adopted: attached if wanted, else deleted |
//! | - | - | ours, elsewhere or on its way | | left alone; looked at again |
//! | `CreateLanded` | `Creating` with its token | ours, here or attached to nothing | confirmed | the record gets it |
//! | `Suspected` | `Attached`, `Ready`, `Quarantined` | absent, attached to nothing, elsewhere, on its way, or with other addresses | first look | not given until a look clears it |
//! | `CloudContradicted` | the same, and `InUse`, home | absent or not attached here | confirmed | kept and given again: the kernel speaks against the cloud |
//! | `Vanished` | the same and `Detached`, `Kept`, not home | absent | confirmed | forgotten |
//! | `DetachedOutside` | `Attached`, `Ready`, `Quarantined` and rested, not home | attached to nothing | confirmed | `Detached`: attached again if wanted, else deleted |
//! | `Moved` | the same and `Kept`, `Detaching`, `Deleting`, not home | elsewhere | confirmed | forgotten: it is another node's |
//! | `AttachedOutside` | `Detached`, `Kept` (not to be forgotten) | attached here | confirmed | `Attached` |
//! | `UsedVanished`, `UsedDetached` | in use, not home | absent, attached to nothing | confirmed | stays; leaves by detach and delete after its release |
//! | `UsedMoved` | in use, not home | elsewhere | confirmed | stays; not given after its release, until `Moved` forgets it |
//! | `Regrouped` | at rest, in use or kept | other security groups | confirmed | the record is corrected; the engine regroups when it wants others |
//! | `Readdressed` | at rest or kept | other primary addresses | confirmed | the record is corrected |
//! | `UsedReaddressed` | in use | its primary address is not there | confirmed | stays; leaves after its release |
//! | `Cleared` | suspected or to leave | as it should be | first look | as before |
//!
//! `Creating`, `Attaching`, `Regrouping`, `Detaching`, `Deleting` otherwise follow their operations' own words.
//! An ENI whose netdev is home while its record is `Detached` or `Kept` is not forgotten either. An adopted
//! ENI keeps the token of its tags, unless the ledger uses that; then it gets a new one.
//!
//! # ENIs, by a look at the node's metadata
//!
//! | rule | in the ledger | in the metadata | when | then |
//! |---|---|---|---|---|
//! | `NicLost` | `Ready`, not home | absent | confirmed | its netdev is lost: the wait for it ends early |
//! | - | - | a MAC | | counts as the first of two looks for `OrphanAttached`; alone it adopts nothing |
//!
//! # Addresses of shared ENIs, by a look at the cloud
//!
//! | rule | in the ledger | on the ENI in the cloud | when | then |
//! |---|---|---|---|---|
//! | `AddressSuspected` | `Idle`, `Quarantined` address; `Ready` prefix | absent | first look | not given until a look clears it |
//! | `AddressAdopted`, `PrefixAdopted` | - | present | confirmed | adopted at rest: somebody may use it. A prefix rests until a look clears it; what another ENI has is left to it |
//! | `AddressVanished`, `PrefixVanished` | not in use | absent | confirmed | forgotten |
//! | `UsedAddressVanished`, `UsedPrefixVanished` | in use, or primary | absent | confirmed | stays; given to nobody after its release, until looks clear or forget it |
//! | `Unassigned` | `Unassigning` | absent | confirmed | forgotten |
//! | `AddressCleared` | suspected, in use or not | present | first look | as before |
//!
//! A look that began before the last address was taken off an ENI adopts nothing there.

mod addresses;
mod enis;
mod foreign;
mod metadata;
mod sightings;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use addresses::{
    ItemFinding, ItemRule, ItemSightings, KnownItem, KnownItems, Standing, compare_items,
};
pub(crate) use enis::{CloudSightings, Finding, Known, Rule, Times, compare};
pub(crate) use foreign::Foreign;
pub(crate) use metadata::{MetadataSightings, compare_nics};
