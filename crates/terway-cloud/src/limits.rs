//! What the instance can carry, as the cloud told it last. The answer is kept for a day; an older one serves while
//! the cloud does not answer; and where nobody may ask, what the instance is seen to carry is a bound from below.

use std::sync::Arc;
use std::time::Duration;

use terway_types::{CloudFailure, CloudFailureKind as Kind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cloud::{Carried, CloudResult, InstanceLimits, Metadata};
use crate::error::is_about_the_key;

/// How long an answer is as good as new.
const FRESH: Duration = Duration::from_hours(24);

/// The limits of the one instance this runs on.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    metadata: Option<Arc<dyn Metadata>>,
    /// Whoever holds it asks; the others wait for the answer.
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    instance_type: String,
    limits: InstanceLimits,
    told: Instant,
}

impl Limits {
    /// Nothing is known yet. Without metadata there is no bound from below.
    pub(crate) fn new(metadata: Option<Arc<dyn Metadata>>) -> Self {
        Self { metadata, kept: Mutex::default() }
    }

    /// The limits of this type, from the cloud if what is known is too old. `batch` is what one assign call gives.
    pub(crate) async fn of(
        &self,
        instance_type: &str,
        batch: u32,
        ask: impl Future<Output = CloudResult<Option<InstanceLimits>>> + Send,
    ) -> CloudResult<Option<InstanceLimits>> {
        let mut kept = self.kept.lock().await;
        let known = kept.as_ref().filter(|kept| kept.instance_type == instance_type);
        if let Some(known) = known.filter(|known| known.told.elapsed() < FRESH) {
            return Ok(Some(known.limits));
        }
        match (ask.await, known) {
            (Ok(Some(limits)), _) => {
                let instance_type = instance_type.to_owned();
                *kept = Some(Kept { instance_type, limits, told: Instant::now() });
                Ok(Some(limits))
            }
            (Ok(None), _) => Ok(None),
            (Err(failure), Some(known)) => {
                let hours = known.told.elapsed().as_secs() / 3600;
                tracing::warn!(instance_type, hours, %failure, "using limits the cloud told so many hours ago");
                Ok(Some(known.limits))
            }
            (Err(failure), None) => self.seen(instance_type, batch, failure).await.map(Some),
        }
    }

    /// What the instance carries, where the cloud may not be asked.
    async fn seen(
        &self,
        instance_type: &str,
        batch: u32,
        failure: CloudFailure,
    ) -> CloudResult<InstanceLimits> {
        let Some(metadata) = &self.metadata else { return Err(failure) };
        if failure.kind != Kind::Denied || is_about_the_key(&failure) || failure.vendor_code.is_none() {
            return Err(failure);
        }
        match metadata.carried().await {
            // The primary ENI alone says nothing.
            Ok(carried) if carried.enis > 1 => {
                tracing::warn!(
                    instance_type, enis = carried.enis, ipv4_per_eni = carried.ipv4_per_eni, %failure,
                    "the cloud does not tell the limits of this instance; taking what it carries now for all it can"
                );
                Ok(at_least(carried, batch))
            }
            _ => Err(failure),
        }
    }
}

/// Limits that are kept by an instance that carries so much.
fn at_least(carried: Carried, batch: u32) -> InstanceLimits {
    InstanceLimits {
        enis: carried.enis,
        ipv4_per_eni: carried.ipv4_per_eni.max(1),
        ipv6_per_eni: carried.ipv6_per_eni,
        members: 0,
        trunk: false,
        prefixes_per_eni: 0,
        assign_batch: batch,
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use terway_types::MacAddr;

    use super::*;
    use crate::cloud::InstanceIdentity;
    use crate::error;

    const LARGE: InstanceLimits = InstanceLimits {
        enis: 8,
        ipv4_per_eni: 20,
        ipv6_per_eni: 20,
        members: 0,
        trunk: false,
        prefixes_per_eni: 19,
        assign_batch: 10,
    };

    /// A node that carries so many ENIs.
    #[derive(Debug)]
    struct Node(u32);

    #[async_trait]
    impl Metadata for Node {
        async fn identity(&self) -> CloudResult<InstanceIdentity> {
            unreachable!("only what it carries is asked for")
        }

        async fn macs(&self) -> CloudResult<Vec<MacAddr>> {
            unreachable!("only what it carries is asked for")
        }

        async fn carried(&self) -> CloudResult<Carried> {
            Ok(Carried { enis: self.0, ipv4_per_eni: 6, ipv6_per_eni: 1 })
        }
    }

    fn refusal(kind: Kind, code: &str) -> CloudFailure {
        let code = Some(code.to_owned());
        CloudFailure { vendor_code: code, ..error::failure(kind, "DescribeInstanceTypes", "no") }
    }

    fn limits(node: u32) -> Limits {
        Limits::new(Some(Arc::new(Node(node))))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_day_and_serves_longer_where_there_is_no_other() {
        let limits = limits(1);
        let nobody = || async { unreachable!("what is known is fresh") };
        let away = || async { Err(refusal(Kind::Transient, "ServiceUnavailable")) };
        assert!(limits.of("large", 10, away()).await.is_err());
        assert_eq!(limits.of("large", 10, async { Ok(Some(LARGE)) }).await, Ok(Some(LARGE)));
        let (most, last) = (FRESH.mul_f64(0.99), FRESH.mul_f64(0.01));
        tokio::time::advance(most).await;
        assert_eq!(limits.of("large", 10, nobody()).await, Ok(Some(LARGE)));
        tokio::time::advance(last).await;
        assert_eq!(limits.of("large", 10, away()).await, Ok(Some(LARGE)), "old, but known");
        let larger = InstanceLimits { enis: 9, ..LARGE };
        assert_eq!(limits.of("large", 10, async { Ok(Some(larger)) }).await, Ok(Some(larger)));
        assert!(limits.of("other", 10, away()).await.is_err(), "it is another type's");
    }

    #[tokio::test]
    async fn an_unknown_type_stays_unknown() {
        assert_eq!(limits(5).of("novel", 10, async { Ok(None) }).await, Ok(None));
    }

    #[tokio::test]
    async fn where_nobody_may_ask_what_is_carried_is_a_bound() {
        let denied = || async { Err(refusal(Kind::Denied, "Forbidden.RAM")) };
        let found = limits(4).of("large", 10, denied()).await.unwrap().unwrap();
        assert_eq!((found.enis, found.ipv4_per_eni, found.ipv6_per_eni), (4, 6, 1));
        let asked = limits(4);
        asked.of("large", 10, denied()).await.unwrap();
        let told = asked.of("large", 10, async { Ok(Some(LARGE)) }).await;
        assert_eq!(told, Ok(Some(LARGE)), "a bound is not kept");
        let refused = limits(1).of("large", 10, denied()).await.unwrap_err();
        assert_eq!(refused.vendor_code.as_deref(), Some("Forbidden.RAM"), "a primary ENI alone says nothing");
        let refused = Limits::new(None).of("large", 10, denied()).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Denied);
        let no_key = async { Err(refusal(Kind::Denied, "InvalidAccessKeyId.NotFound")) };
        assert!(limits(4).of("large", 10, no_key).await.is_err(), "that is for somebody to mend");
    }
}
