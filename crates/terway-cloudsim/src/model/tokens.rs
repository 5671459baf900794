//! Idempotency tokens: what each was used for, and the answer that was given.

use std::collections::BTreeMap;

use super::addresses::Assign;
use super::create::CreateEni;
use super::eni::Eni;
use terway_types::AddressSet;

/// A call that was carried out under a token.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// A creation and the ENI as it was answered.
    Create(CreateEni, Box<Eni>),
    /// An assignment and what was given.
    Assign(Assign, AddressSet),
}

/// The tokens used so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens(BTreeMap<String, Kept>);

impl Tokens {
    pub(super) fn find(&self, token: &str) -> Option<&Kept> {
        self.0.get(token)
    }

    pub(super) fn keep(&mut self, token: String, call: Kept) {
        self.0.insert(token, call);
    }
}
