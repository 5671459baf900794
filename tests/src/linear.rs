//! Is a recorded history of concurrent calls linearizable? That is: is there an order of the calls, each at some
//! instant between its start and its answer, in which a daemon that does one thing at a time would have given
//! the same answers. The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993), with
//! Lowe's memory of the states that led nowhere.
//!
//! The specification below knows attachments and addresses and nothing of pools, ledgers or clouds.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// An address for this attachment.
    Add(String),
    /// Take back what this attachment holds.
    Del(String),
    /// Take back what these attachments do not hold.
    Collect(BTreeSet<String>),
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The attachment holds this.
    Holds(IpAddr),
    /// It held this, or nothing.
    Released(Option<IpAddr>),
    /// These attachments were released.
    Collected(BTreeSet<String>),
    /// It did not work, and changed nothing.
    Refused,
    /// Nobody knows: the daemon died. It happened before its caller noticed, or never.
    Unknown,
}

/// One call with the instants of its start and its answer, on one clock.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was asked.
    pub ask: Ask,
    /// What was answered.
    pub answer: Answer,
    /// When it started.
    pub from: u64,
    /// When the answer was there.
    pub to: u64,
}

/// Who holds what, in the history's own numbers: by attachment the address it holds.
type Holders = Vec<Option<usize>>;

/// A call in the history's own numbers.
#[derive(Clone, Debug)]
enum Deed {
    Add(usize, usize),
    /// An ADD nobody heard of got one of these, if it happened.
    AddOneOf(usize, Vec<usize>),
    Del(usize, Option<usize>),
    /// A DEL nobody heard of.
    Drop(usize),
    /// Valid attachments, and those that were released.
    Collect(Vec<bool>, Vec<bool>),
    /// A collection nobody heard of.
    Sweep(Vec<bool>),
    Nothing,
}

/// What may hold after a call. Empty if the specification does not allow its answer in this state; a call without
/// an answer that would change nothing needs no place in the order.
fn step(holders: &Holders, deed: &Deed) -> Vec<Holders> {
    let with = |key: usize, held: Option<usize>| {
        let mut after = holders.clone();
        after[key] = held;
        after
    };
    let keep = |valid: &[bool]| -> Holders {
        holders.iter().zip(valid).map(|(held, valid)| held.filter(|_| *valid)).collect()
    };
    let is_free = |address: usize| !holders.contains(&Some(address));
    match deed {
        Deed::Add(key, address) => {
            let allowed = holders[*key].map_or_else(|| is_free(*address), |held| held == *address);
            allowed.then(|| with(*key, Some(*address))).into_iter().collect()
        }
        Deed::AddOneOf(key, addresses) if holders[*key].is_none() => addresses
            .iter()
            .filter(|address| is_free(**address))
            .map(|address| with(*key, Some(*address)))
            .collect(),
        Deed::Del(key, held) => (holders[*key] == *held).then(|| with(*key, None)).into_iter().collect(),
        Deed::Drop(key) if holders[*key].is_some() => vec![with(*key, None)],
        Deed::Collect(valid, released) => {
            let stale = holders.iter().zip(valid).map(|(held, valid)| held.is_some() && !valid);
            if stale.eq(released.iter().copied()) { vec![keep(valid)] } else { Vec::new() }
        }
        Deed::Sweep(valid) => Some(keep(valid)).filter(|after| after != holders).into_iter().collect(),
        Deed::Nothing => vec![holders.clone()],
        Deed::AddOneOf(..) | Deed::Drop(_) => Vec::new(),
    }
}

/// Gives attachments and addresses numbers.
#[derive(Default)]
struct Names {
    keys: BTreeMap<String, usize>,
    addresses: BTreeMap<IpAddr, usize>,
}

impl Names {
    fn of(history: &[Call]) -> Self {
        let mut names = Self::default();
        for call in history {
            if let Ask::Add(key) | Ask::Del(key) = &call.ask {
                let next = names.keys.len();
                names.keys.entry(key.clone()).or_insert(next);
            }
            if let Answer::Holds(address) | Answer::Released(Some(address)) = call.answer {
                let next = names.addresses.len();
                names.addresses.entry(address).or_insert(next);
            }
        }
        names
    }

    fn flags(&self, keys: &BTreeSet<String>) -> Vec<bool> {
        let mut flags = vec![false; self.keys.len()];
        keys.iter().filter_map(|key| self.keys.get(key)).for_each(|key| flags[*key] = true);
        flags
    }

    fn deed(&self, call: &Call, history: &[Call]) -> Deed {
        match (&call.ask, &call.answer) {
            (Ask::Add(key), Answer::Holds(address)) => Deed::Add(self.keys[key], self.addresses[address]),
            (Ask::Add(key), Answer::Unknown) => {
                Deed::AddOneOf(self.keys[key], self.seen_later(key, call, history))
            }
            (Ask::Del(key), Answer::Released(held)) => {
                Deed::Del(self.keys[key], held.map(|address| self.addresses[&address]))
            }
            (Ask::Del(key), Answer::Unknown) => Deed::Drop(self.keys[key]),
            (Ask::Collect(valid), Answer::Collected(released)) => {
                Deed::Collect(self.flags(valid), self.flags(released))
            }
            (Ask::Collect(valid), Answer::Unknown) => Deed::Sweep(self.flags(valid)),
            _ => Deed::Nothing,
        }
    }

    /// What an ADD nobody heard of may have got: what later answers about its attachment name, or anything if it
    /// was collected, because a collection does not say what was held.
    fn seen_later(&self, key: &str, add: &Call, history: &[Call]) -> Vec<usize> {
        let later = || history.iter().filter(|call| call.to >= add.from);
        if later().any(|call| matches!(&call.answer, Answer::Collected(released) if released.contains(key))) {
            return self.addresses.values().copied().collect();
        }
        let about =
            later().filter(|call| matches!(&call.ask, Ask::Add(other) | Ask::Del(other) if other == key));
        let seen: BTreeSet<usize> = about
            .filter_map(|call| match call.answer {
                Answer::Holds(address) | Answer::Released(Some(address)) => Some(self.addresses[&address]),
                _ => None,
            })
            .collect();
        seen.into_iter().collect()
    }
}

/// The order in which the calls may have happened, as indexes into the history. Calls without an answer may be
/// missing in it.
pub fn linearize(history: &[Call]) -> Result<Vec<usize>, Contradiction> {
    let names = Names::of(history);
    let mut search = Search {
        deeds: history.iter().map(|call| names.deed(call, history)).collect(),
        from: history.iter().map(|call| call.from).collect(),
        to: history.iter().map(|call| call.to).collect(),
        certain: history.iter().map(|call| call.answer != Answer::Unknown).collect(),
        seen: HashSet::new(),
        longest: Vec::new(),
    };
    let mut order = Vec::new();
    if search.extend(&vec![None; names.keys.len()], &mut vec![false; history.len()], &mut order) {
        return Ok(order);
    }
    let longest = search.longest;
    let stuck =
        (0..history.len()).filter(|index| !longest.contains(index)).min_by_key(|index| search.to[*index]);
    Err(Contradiction {
        order: longest,
        stuck: stuck.unwrap_or_default(),
        given_up: search.seen.len() >= STATES,
    })
}

/// A history that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The longest order that was found.
    pub order: Vec<usize>,
    /// The first answered call that cannot follow it.
    pub stuck: usize,
    /// Whether the search ended at its bound, so that an order may exist after all.
    pub given_up: bool,
}

/// States looked at before the search gives up; some 100 bytes each.
const STATES: usize = 3_000_000;

struct Search {
    deeds: Vec<Deed>,
    from: Vec<u64>,
    to: Vec<u64>,
    /// Whether the call was answered, so that it must have its place.
    certain: Vec<bool>,
    /// Where the search has been: which calls were done, and who held what after them.
    seen: HashSet<(Vec<bool>, Holders)>,
    longest: Vec<usize>,
}

impl Search {
    fn extend(&mut self, holders: &Holders, done: &mut Vec<bool>, order: &mut Vec<usize>) -> bool {
        let open: Vec<usize> = (0..done.len()).filter(|index| !done[*index]).collect();
        let Some(first) = open.iter().copied().min_by_key(|index| self.to[*index]) else { return true };
        if self.seen.len() >= STATES || !self.seen.insert((done.clone(), holders.clone())) {
            return false;
        }
        // The next one in the order must have started before any other one was answered. The one answered first
        // is the likeliest.
        let answered = self.to[first];
        let mut candidates: Vec<usize> =
            open.into_iter().filter(|index| self.from[*index] <= answered).collect();
        candidates.sort_by_key(|index| self.to[*index]);
        if !self.certain[first] {
            done[first] = true;
            if self.extend(holders, done, order) {
                return true;
            }
            done[first] = false;
        }
        for index in candidates {
            for after in step(holders, &self.deeds[index]) {
                done[index] = true;
                order.push(index);
                if order.len() > self.longest.len() {
                    self.longest.clone_from(order);
                }
                if self.extend(&after, done, order) {
                    return true;
                }
                order.pop();
                done[index] = false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
