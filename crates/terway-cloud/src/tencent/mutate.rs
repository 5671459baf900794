//! Changes of an ENI's addresses, which the cloud accepts at once and carries out in its own time: each is
//! waited for, because the cloud runs one task per ENI.

use std::net::Ipv6Addr;
use std::sync::PoisonError;
use std::time::Duration;

use serde::de::DeserializeOwned;
use terway_types::{AddressSet, CloudFailure, CloudFailureKind as Kind, EniId, IntentToken};
use tokio::time::{Instant, sleep};

use super::api::{self, Action, Parameters};
use super::wire::{Accepted, Assigned, Task};
use super::{Tencent, errors, understood};
use crate::backoff::Backoff;
use crate::cloud::{CloudResult, CreateEni, EniDescription, EniStatus};
use crate::error::failure;

/// Between looks at a task, or at an ENI that is being made.
const PACE: Backoff =
    Backoff { first: Duration::from_millis(300), factor: 1.5, max: Duration::from_secs(2), jitter: 0.0 };

impl Tencent {
    /// Makes a change and waits for the end of its task.
    async fn change<T: DeserializeOwned>(&self, action: &Action, parameters: Parameters) -> CloudResult<T> {
        let (content, request_id) = self.caller.call_with_id(action, parameters).await?;
        if let Some(request_id) = request_id {
            self.finished(action, &request_id).await?;
        }
        Ok(content)
    }

    /// Waits for a task.
    async fn finished(&self, action: &Action, request_id: &str) -> CloudResult<()> {
        let unsure = |message: String| CloudFailure {
            request_id: Some(request_id.to_owned()),
            ..failure(Kind::Ambiguous, action.name, message)
        };
        let deadline = Instant::now() + self.task_patience;
        let mut looks = 0;
        loop {
            looks += 1;
            let task: CloudResult<Task> = self.caller.call(&api::TASK, api::task(request_id)).await;
            let trouble = match task {
                Ok(task) => match task.status.as_str() {
                    "SUCCESS" => return Ok(()),
                    "FAILED" => {
                        let message = format!("accepted, but its task failed: {}", task.output);
                        return Err(CloudFailure { kind: Kind::Transient, ..unsure(message) });
                    }
                    status => format!("its task is {status}"),
                },
                // Calls that were done at once leave no task.
                Err(refusal) if refusal.kind == Kind::Gone => return Ok(()),
                Err(refusal) if refusal.kind.is_retryable() => refusal.to_string(),
                Err(refusal) => {
                    return Err(unsure(format!("accepted, but its task cannot be seen: {refusal}")));
                }
            };
            if Instant::now() >= deadline {
                let seconds = self.task_patience.as_secs();
                return Err(unsure(format!("accepted, but not done within {seconds} s: {trouble}")));
            }
            sleep(PACE.delay(looks, 0.0)).await;
        }
    }

    pub(super) async fn assign_v4(
        &self,
        eni: &EniId,
        token: &IntentToken,
        amount: u32,
    ) -> CloudResult<AddressSet> {
        let assigned: Assigned = self.change(&api::ASSIGN_V4, api::assign_v4(eni, token, amount)).await?;
        understood(&api::ASSIGN_V4, assigned.set(eni.as_str()))
    }

    /// The action takes no token, so what an unknown outcome was is found out by looking: before a call the
    /// ENI's addresses are noted, and when the call is made again, those that came since are its result.
    pub(super) async fn assign_v6(
        &self,
        eni: &EniId,
        token: &IntentToken,
        amount: u32,
    ) -> CloudResult<AddressSet> {
        // One look that does not show it proves nothing.
        let unseen = || failure(Kind::Transient, api::ASSIGN_V6.name, format!("{eni} cannot be seen now"));
        let now = self.look(eni).await?.ok_or_else(unseen)?.assigned.ipv6;
        if let Some(before) = self.doubt(token) {
            let ipv6: Vec<_> = now.iter().filter(|address| !before.contains(address)).copied().collect();
            if !ipv6.is_empty() {
                self.settle(token);
                return Ok(AddressSet { ipv6, ..AddressSet::default() });
            }
        }
        self.note(token, now);
        let outcome: CloudResult<Assigned> = self.change(&api::ASSIGN_V6, api::assign_v6(eni, amount)).await;
        if !matches!(&outcome, Err(failure) if failure.kind == Kind::Ambiguous) {
            self.settle(token);
        }
        understood(&api::ASSIGN_V6, outcome?.set(eni.as_str()))
    }

    fn doubt(&self, token: &IntentToken) -> Option<Vec<Ipv6Addr>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn note(&self, token: &IntentToken, before: Vec<Ipv6Addr>) {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), before);
    }

    fn settle(&self, token: &IntentToken) {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    /// A new ENI with the IPv6 addresses it was asked for.
    pub(super) async fn with_ipv6(
        &self,
        made: EniDescription,
        request: &CreateEni,
    ) -> CloudResult<EniDescription> {
        let mut eni = self.settled(made).await?;
        let have = u32::try_from(eni.assigned.ipv6.len()).unwrap_or(u32::MAX);
        let missing = request.counts.ipv6.saturating_sub(have);
        if missing > 0 {
            // The ENI exists, so whatever the reason is, the create has not failed without effect.
            let added = self.assign_v6(&eni.id, &request.token, missing).await.map_err(|refusal| {
                let message = format!("{} is made, but gets no IPv6 address: {}", eni.id, refusal.message);
                CloudFailure { kind: Kind::Ambiguous, message, ..refusal }
            })?;
            eni.assigned.ipv6.extend(added.ipv6);
            eni.assigned.ipv6.sort_unstable();
            eni.assigned.ipv6.dedup();
            eni.addresses.v6 = eni.addresses.v6.or(eni.assigned.ipv6.first().copied());
        }
        Ok(eni)
    }

    /// Waits until a new ENI takes further calls.
    async fn settled(&self, mut eni: EniDescription) -> CloudResult<EniDescription> {
        let deadline = Instant::now() + self.task_patience;
        let mut looks = 0;
        while eni.status == EniStatus::Creating {
            if Instant::now() >= deadline {
                let message = format!("{} is still being made", eni.id);
                return Err(failure(Kind::Ambiguous, api::CREATE.name, message));
            }
            looks += 1;
            sleep(PACE.delay(looks, 0.0)).await;
            // A look that fails or does not show it yet says nothing.
            if let Ok(Some(found)) = self.look(&eni.id).await {
                eni = found;
            }
        }
        Ok(eni)
    }

    /// Takes addresses off an ENI. The cloud refuses a call for one address that the ENI does not have, so
    /// what is left of the others is found out by looking.
    pub(super) async fn take_off(&self, eni: &EniId, action: &Action, texts: &[String]) -> CloudResult<()> {
        let parameters = |texts: &[String]| match action.name {
            name if name == api::UNASSIGN_V6.name => api::unassign_v6(eni, texts),
            _ => api::unassign_v4(eni, texts),
        };
        let outcome: CloudResult<Accepted> = self.change(action, parameters(texts)).await;
        let refusal = match outcome {
            Ok(_) => return Ok(()),
            // The ENI is gone, and its addresses with it.
            Err(refusal) if refusal.kind == Kind::Gone => return Ok(()),
            Err(refusal) => refusal,
        };
        let unassigned = refusal.vendor_code.as_deref().is_some_and(errors::is_unassigned);
        if !unassigned && refusal.kind != Kind::Invalid {
            return Err(refusal);
        }
        let Some(found) = self.look(eni).await? else {
            return if unassigned { Ok(()) } else { Err(refusal) };
        };
        let has = |text: &String| found.assigned.singles().any(|address| address.to_string() == *text);
        let left: Vec<_> = texts.iter().filter(|text| has(text)).cloned().collect();
        if left.is_empty() {
            return Ok(());
        }
        if left.len() == texts.len() {
            return Err(refusal);
        }
        self.change::<Accepted>(action, parameters(&left)).await.map(drop)
    }

    /// The ENI after a refusal that may mean that it already is as wanted; `None` if that cannot be seen.
    pub(super) async fn look_after(
        &self,
        refusal: &CloudFailure,
        eni: &EniId,
    ) -> Option<Option<EniDescription>> {
        match refusal.kind {
            // What the refusal says is worth more than why a look at it failed.
            Kind::InvalidState | Kind::Gone => self.look(eni).await.ok(),
            _ => None,
        }
    }
}
