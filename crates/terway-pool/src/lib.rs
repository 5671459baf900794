//! The pool of ENIs as a pure state machine: `handle(now, event) -> effects`, `next_deadline()`. No
//! clock, no task, no socket inside; a driver outside executes effects (`effect` says in which order) and feeds events.
//!
//! # How the tests were tested
//!
//! `histories` runs the pool in a world of random mishaps and holds every step against the invariants; `exhaustive`
//! explores small worlds to the end. None of those has both shared addresses and looks at the cloud: the smallest that
//! was tried, two looks at two addresses, did not end within a minute; random histories and directed tests look there.
//! Each of these changes to the engine was made once, and turned at least one test red:
//!
//! | part | change |
//! |---|---|
//! | durable before visible | changes after the replies; attachment not written on assignment, not removed on release |
//! | one owner | two records for one ENI accepted; an ENI without netdev given; a cancelled repeat takes the ENI |
//! | no leak | one refusal forgets an unheard create; no doubt after `Ambiguous` or after a crash; tokens repeat; an answer to an earlier life believed; the cloud's word alone is proof of deletion; still attached ENIs not detached again; recovery does not resume calls; answers nobody heard kept |
//! | quarantine | no rest; home not awaited; a put back ENI rests |
//! | order | last come first served; shortest idle given first; repeated requests answered once; waiters never expire, or outlive a release |
//! | supply | limit off by one; parallel ignored; surplus released all at once; quarantined ENIs not counted; exhausted vSwitch not set aside; lost netdev never replaced; retries without pause |
//! | capacity | published without change; not published on change; the end of a belief in a quota not announced (found by `soak exclusive`, number 1002382) |
//! | rest and mentions | an ENI that is home does not rest; mentions prolong without bound, of ENIs and of addresses; addresses do not rest |
//! | sharing | an intent dropped with its netdev (`soak shared`, number 2010802) or by one unheard refusal; what another ENI has accepted; resting addresses not counted for the mark; demand not gathered; the policy turned round; an ENI with addresses in use not marked as lent |
//! | looks | a look counts that may show the time before the last change (`soak looks`, number 5007585); one look is proof; what is adopted does not rest; a suspect address given; people told again and again |
//! | adoption | an address in use by nobody idle at once; a rest that ends in the future kept |
//! | supply | an exhausted vSwitch asked for addresses all the same (it never ends); a quota not believed; who else competes for an ENI on its way forgotten; what is made for somebody who waits counted for the stock |
//! | claims | more under way than allowed, beyond the places under way; one that another holds, waits for, or that names another ENI, accepted; what its attachment says not heeded; a rest after its release; kept, or found away, while a call that detaches it may land or the cloud has it here; those who wait not told that it ended; a late answer lets its ENI be attached while it is being detached; one given away not taken back when it is wanted again; its ENI that is not there sought for ever; an answer about another ENI believed |
//! | the node's end | those who wait not told; somebody new accepted; a capacity published; resting ENIs kept; an ENI detached that is in a pod of a lost ledger (`soak everything`, number 40000077) |
//! | doubt | no pause after an unassign that may land still; no doubt on an assign after a restart; nothing unsettled after a restart, or after a call whose answer was lost; regrouped while unsettled, or while a second call is out; former groups restored in doubt |
//! | calls that are out | asked for addresses before it is ready; looks that speak of an ENI or an address meanwhile; when an address or a prefix left not noted, in this life and in the one before |
//! | evidence | mentions ignored, of ENIs and of addresses; a vSwitch stays set aside after an ENI, an address or a reading came from it |
//! | halves | an address without its other half kept for ever, or given back while pairs are missing |
//! | people | each of the events that tell of a rule, left out |

mod adoption;
mod attaching;
mod books;
mod capacity;
mod claims;
mod classes;
mod cloud_work;
mod creating;
mod demand;
pub mod effect;
mod engine;
mod eni;
mod eni_life;
pub mod event;
#[cfg(test)]
mod exhaustive;
mod failure;
#[cfg(test)]
mod histories;
mod holdings;
mod idle;
mod inventory;
mod leaving;
mod outbox;
mod pace;
mod progress;
mod quarantine;
mod random;
mod reason;
mod reconcile;
mod regrouping;
mod requests;
mod routed;
pub mod settings;
mod sharing;
mod shrinking;
mod stock;
mod supply;
mod tally;
#[cfg(test)]
mod testing;
pub mod view;
mod waiters;
mod wishes;

pub use effect::{Answer, Capacity, CloudAction, Effect, Grant, Note, OperationId, RequestId};
pub use engine::Pool;
pub use event::{
    Claim, ClaimFate, CloudAnswer, CloudEni, Event, Inventory, Keep, Place, SeenEni, VSwitchSeen, Wants,
};
pub use routed::node_record;
pub use settings::{EniPolicy, Mode, PoolSettings, Reclaim, ReleasePace, Sharing, VSwitchPolicy};
pub use view::{AddressView, EniView, PoolView, WaiterView};
