//! What the kernel is asked about maps: single elements by their keys, all of them where somebody needs all, and whether
//! there is one of some sort. And changes that are made only if what was read is still so.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::errno::Errno;

use super::batch::{Batch, NFT_MSG_GETGEN, NFT_MSG_GETSET, NFT_MSG_GETSETELEM, get, list};
use super::client::{HEADER, Nft, absent_is_empty};
use super::map::{self, Element, Map};
use super::object::Family;
use crate::kernel::attribute::{Attributes, u32_value};
use crate::kernel::error::{Cause, KernelError};

const NFTA_GEN_ID: u16 = 1;
/// How often what was read is read anew because something else of the namespace's filter was changed meanwhile.
const ATTEMPTS: u32 = 200;

impl Nft {
    /// The elements with these keys that are there, in any order; a map that is not there has none.
    pub fn elements_at(&mut self, wanted: &[(Map, IpAddr)]) -> Result<Vec<Element>, KernelError> {
        let frames: Vec<_> = wanted
            .iter()
            .map(|(map, key)| get(NFT_MSG_GETSETELEM, map.table.family, &map.encode_with(&map::key(*key))))
            .collect();
        let mut found = Vec::new();
        let answers = self.transport.exchange(&frames, |message| {
            found.extend(message.payload.get(HEADER..).into_iter().flat_map(map::elements));
        });
        let what = |(map, key): &(Map, IpAddr)| format!("look up {key} in map {map}");
        let answers =
            answers.map_err(|error| KernelError::new("look up addresses in maps", Cause::Socket(error)))?;
        for (wanted, answer) in wanted.iter().zip(answers) {
            let refusal = match answer {
                Some(Ok(())) => continue,
                Some(Err(refusal)) => Cause::from(refusal),
                None => Cause::Unanswered,
            };
            let error = KernelError::new(what(wanted), refusal);
            if !error.is_absent() {
                return Err(error);
            }
        }
        Ok(found)
    }

    /// All elements of a map; none if there is no such map.
    pub fn elements(&mut self, map: &Map) -> Result<Vec<Element>, KernelError> {
        let frame = list(NFT_MSG_GETSETELEM, map.table.family, &map.encode_for_elements());
        self.transport
            .dump(&frame, Vec::new, |found, message| {
                found.extend(message.payload.get(HEADER..).into_iter().flat_map(map::elements));
            })
            .or_else(|cause| absent_is_empty(format!("list elements of map {map}"), cause))
    }

    /// Whether a map has such an element. Reads the list until it is found, so this ends the connection.
    pub fn any_element(mut self, map: &Map, is_it: impl Fn(&Element) -> bool) -> Result<bool, KernelError> {
        let frame = list(NFT_MSG_GETSETELEM, map.table.family, &map.encode_for_elements());
        let found = self.transport.find(&frame, |message| {
            message.payload.get(HEADER..).is_some_and(|body| map::elements(body).any(|one| is_it(&one)))
        });
        match found.map_err(|cause| KernelError::new(format!("list elements of map {map}"), cause)) {
            Err(error) if error.is_absent() => Ok(false),
            found => found,
        }
    }

    /// Those of some maps that are there.
    pub fn maps_there(&mut self, wanted: &BTreeSet<Map>) -> Result<BTreeSet<Map>, KernelError> {
        let ask = |map: &Map| get(NFT_MSG_GETSET, map.table.family, &map.encode_name());
        let frames: Vec<_> = wanted.iter().map(ask).collect();
        let failed = |map: &Map, cause| KernelError::new(format!("look for map {map}"), cause);
        let answers = self.transport.exchange(&frames, |_| {});
        let answers =
            answers.map_err(|error| KernelError::new("look for maps of nftables", Cause::Socket(error)))?;
        let mut there = BTreeSet::new();
        for (map, answer) in wanted.iter().zip(answers) {
            match answer {
                Some(Ok(())) => _ = there.insert(map.clone()),
                Some(Err(refusal)) if refusal.errno == Errno::ENOENT => {}
                Some(Err(refusal)) => return Err(failed(map, refusal.into())),
                None => return Err(failed(map, Cause::Unanswered)),
            }
        }
        Ok(there)
    }

    /// Makes the changes that `decide` finds necessary by what it reads, and gives what else it says. They are made only if
    /// nothing of the namespace's packet filter was changed since, by whomever; else it reads and decides anew.
    pub fn commit_as_read<T>(
        &mut self,
        mut decide: impl FnMut(&mut Self) -> Result<(Batch, T), KernelError>,
    ) -> Result<T, KernelError> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let generation = self.generation()?;
            let (batch, said) = decide(self)?;
            match self.commit_fenced(&batch, Some(generation)) {
                Err(error) if error.errno() == Some(RESTART) && attempts.next().is_some() => {}
                outcome => return outcome.map(|()| said),
            }
        }
    }

    /// The number of the state that the namespace's packet filter is in: each batch of anybody leads to another.
    fn generation(&mut self) -> Result<u32, KernelError> {
        let frame = get(NFT_MSG_GETGEN, Family::Inet, &Attributes::new());
        let mut generation = None;
        let answers = self.transport.exchange([&frame], |message| {
            generation = message.payload.get(HEADER..).and_then(|body| u32_value(body, NFTA_GEN_ID));
        });
        let failed = |cause| KernelError::new("ask nftables for its generation", cause);
        match answers.map_err(|error| failed(Cause::Socket(error)))?.pop().flatten() {
            Some(Err(refusal)) => Err(failed(refusal.into())),
            _ => generation.ok_or_else(|| failed(Cause::Unanswered)),
        }
    }
}

/// What the kernel says to a batch that was made for another generation.
const RESTART: Errno = Errno::ERESTART;
