//! The connection to nf_tables of one namespace.

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::batch::{
    Batch, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFTA_RULE_EXPRESSIONS, NFTA_RULE_HANDLE, NFTA_RULE_USERDATA,
    fence, list, rule_of,
};
use super::body::RuleBody;
use super::comment::Comment;
use super::expression::decode_all;
use super::object::{Chain, Table};
use crate::kernel::attribute::{Attributes, u64_value, value};
use crate::kernel::error::{Cause, KernelError};
use crate::kernel::namespace::Netns;
use crate::kernel::transport::{Answer, Transport};

/// The length of the nfnetlink header before the attributes.
pub(super) const HEADER: usize = 4;

/// A connection to the packet filter of one network namespace.
#[derive(Debug)]
pub struct Nft {
    pub(super) transport: Transport,
}

/// A rule as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledRule {
    /// Names it for deletion.
    pub handle: u64,
    /// What it does.
    pub body: RuleBody,
    /// Its comment.
    pub comment: Option<Comment>,
}

impl InstalledRule {
    /// Whether it carries exactly this comment.
    pub fn is_marked(&self, mark: &str) -> bool {
        self.comment.as_ref().is_some_and(|comment| comment.as_str() == mark)
    }
}

impl Nft {
    /// Connects to a namespace. Nobody needs to stay inside it.
    pub fn open(netns: &Netns) -> Result<Self, KernelError> {
        let failed = |cause| KernelError::new("open an nftables socket", cause);
        Transport::open(NETLINK_NETFILTER, netns).map(|transport| Self { transport }).map_err(failed)
    }

    /// Connects to the calling thread's namespace.
    pub fn here() -> Result<Self, KernelError> {
        let failed = |error| KernelError::new("open an nftables socket", Cause::Socket(error));
        Transport::here(NETLINK_NETFILTER).map(|transport| Self { transport }).map_err(failed)
    }

    /// Makes all changes of a batch, or none. The error names the first change that was refused.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), KernelError> {
        self.commit_fenced(batch, None)
    }

    /// The same, where nothing was changed since a generation; see [`Nft::generation`].
    pub(super) fn commit_fenced(&mut self, batch: &Batch, made_for: Option<u32>) -> Result<(), KernelError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (begin, end) = fence(made_for);
        let commands = batch.commands.iter().map(|command| &command.frame);
        let frames = std::iter::once(&begin).chain(commands).chain(std::iter::once(&end));
        let whole = "commit changes to nftables";
        let answers = self
            .transport
            .exchange(frames, |_| {})
            .map_err(|error| KernelError::new(whole, Cause::Socket(error)))?;
        let (about_all, about_each) = answers.split_first().unwrap_or((&None, &[]));
        for (command, answer) in batch.commands.iter().zip(about_each) {
            if let Some(Err(refusal)) = answer {
                return Err(KernelError::new(command.what.to_string(), refusal.clone()));
            }
        }
        // A refusal of the batch as a whole comes as the answer to its first frame.
        if let Some(Err(refusal)) = about_all {
            return Err(KernelError::new(whole, refusal.clone()));
        }
        let unanswered =
            batch.commands.iter().zip(about_each).find(|(_, answer): &(_, &Answer)| answer.is_none());
        match unanswered {
            Some((command, _)) => Err(KernelError::new(command.what.to_string(), Cause::Unanswered)),
            None => Ok(()),
        }
    }

    /// The rules of a chain, in order; none if there is no such chain.
    pub fn rules(&mut self, chain: &Chain) -> Result<Vec<InstalledRule>, KernelError> {
        self.rules_with(chain, |_| true)
    }

    /// The rules of a chain that carry exactly this comment. The kernel has no filter for comments; rules of others
    /// are not even decoded.
    pub fn marked(&mut self, chain: &Chain, mark: &str) -> Result<Vec<InstalledRule>, KernelError> {
        let holds = |payload: &[u8]| payload.windows(mark.len()).any(|window| window == mark.as_bytes());
        let mut rules = self.rules_with(chain, holds)?;
        rules.retain(|rule| rule.is_marked(mark));
        Ok(rules)
    }

    /// Whether a chain has no rule; also where there is no such chain.
    pub fn is_empty(&mut self, chain: &Chain) -> Result<bool, KernelError> {
        let frame = list(NFT_MSG_GETRULE, chain.table.family, &rule_of(chain));
        let count = self.transport.dump(&frame, || 0_usize, |count, _| *count += 1);
        match count.map_err(|cause| KernelError::new(format!("count rules of chain {chain}"), cause)) {
            Err(error) if error.is_absent() => Ok(true),
            count => Ok(count? == 0),
        }
    }

    fn rules_with(
        &mut self,
        chain: &Chain,
        may_be: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<InstalledRule>, KernelError> {
        let frame = list(NFT_MSG_GETRULE, chain.table.family, &rule_of(chain));
        self.transport
            .dump(&frame, Vec::new, |rules, message| {
                if may_be(message.payload) {
                    rules.extend(installed(message.payload));
                }
            })
            .or_else(|cause| absent_is_empty(format!("list rules of chain {chain}"), cause))
    }

    /// The chains of a table; none if there is no such table. Chains at hooks this client does not know are left
    /// out.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<Chain>, KernelError> {
        let frame = list(NFT_MSG_GETCHAIN, table.family, &Attributes::new());
        let mut chains = self
            .transport
            .dump(&frame, Vec::new, |chains, message| {
                chains
                    .extend(message.payload.get(HEADER..).and_then(|body| Chain::decode(table.family, body)));
            })
            .or_else(|cause| absent_is_empty(format!("list chains of table {table}"), cause))?;
        chains.retain(|chain| chain.table == *table);
        Ok(chains)
    }
}

fn installed(payload: &[u8]) -> Option<InstalledRule> {
    let bytes = payload.get(HEADER..)?;
    let expressions = value(bytes, NFTA_RULE_EXPRESSIONS).map(decode_all).unwrap_or_default();
    Some(InstalledRule {
        handle: u64_value(bytes, NFTA_RULE_HANDLE)?,
        body: RuleBody { expressions },
        comment: value(bytes, NFTA_RULE_USERDATA).and_then(Comment::decode),
    })
}

pub(super) fn absent_is_empty<T>(what: String, cause: Cause) -> Result<Vec<T>, KernelError> {
    let error = KernelError::new(what, cause);
    if error.is_absent() { Ok(Vec::new()) } else { Err(error) }
}
