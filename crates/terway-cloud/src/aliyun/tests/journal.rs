//! What of the exchanges is written down, and the one case in which an attempt is repeated.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use terway_types::{AddressSet, CloudFailureKind as Kind};

use super::*;
use crate::calls::tests::Kept;
use crate::cloud::{Cloud, CloudResult, EniFilter};
use crate::credentials::{AccessKey, CredentialSource};
use crate::{CallRecord, CallSink, on_behalf_of};

fn kept(config: AliyunConfig) -> (Aliyun, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    (cloud(AliyunConfig { calls: Some(Arc::clone(&kept) as Arc<dyn CallSink>), ..config }), kept)
}

fn line(record: &CallRecord) -> String {
    let CallRecord { provider, action, object, changes, .. } = record;
    let intent = record.intent.as_ref().map_or("-", |token| token.as_str());
    let request = record.request_id.as_deref().unwrap_or("-");
    let outcome = record.outcome.as_ref().map_or_else(|failure| failure.kind.name(), |()| "ok");
    format!("{provider} {action} {intent} [{object}] {changes} {request} {outcome}")
}

#[tokio::test]
async fn every_exchange_is_written_down_as_it_happened() {
    let server = Server::giving([
        accepted(),
        Answer::refusal(403, "InvalidOperation.InvalidEniState", "busy"),
        page(&[eni("eni-7", "InUse", "i-1")], ""),
        accepted(),
    ])
    .await;
    let (cloud, kept) = kept(config(&server.host));
    cloud.attach_eni(&"eni-7".into(), &"i-1".into()).await.unwrap();
    on_behalf_of("t-1".into(), cloud.detach_eni(&"eni-7".into(), &"i-1".into())).await.unwrap_err();
    let prefixes = vec!["10.0.1.0/28".parse().unwrap()];
    let what = AddressSet { prefixes, ..AddressSet::default() };
    on_behalf_of("t-2".into(), cloud.unassign(&"eni-7".into(), &what)).await.unwrap();
    assert_eq!(
        kept.records().iter().map(line).collect::<Vec<_>>(),
        [
            "aliyun AttachNetworkInterface - [eni-7,i-1] true R-1 ok",
            "aliyun DetachNetworkInterface t-1 [eni-7,i-1] true R-1 invalid-state",
            "aliyun DescribeNetworkInterfaces t-1 [eni-7] false R-1 ok",
            "aliyun UnassignPrivateIpAddresses t-2 [eni-7,10.0.1.0/28] true R-1 ok",
        ]
    );
}

/// A new key each time one is refused.
#[derive(Debug, Default)]
struct Renewing(AtomicUsize);

#[async_trait]
impl CredentialSource for Renewing {
    async fn access_key(&self) -> CloudResult<Arc<AccessKey>> {
        let id = format!("key-{}", self.0.load(Ordering::Relaxed));
        Ok(Arc::new(AccessKey::new(id, "secret".into(), None).unwrap()))
    }

    fn refused(&self, _: &AccessKey) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

#[tokio::test]
async fn a_key_that_expired_is_replaced_and_the_call_made_once_more() {
    let expired = || Answer::refusal(403, "InvalidSecurityToken.Expired", "expired");
    let server = Server::giving([expired(), page(&[], ""), expired(), expired()]).await;
    let (cloud, kept) =
        kept(AliyunConfig { credentials: Arc::new(Renewing::default()), ..config(&server.host) });
    assert_eq!(cloud.describe_enis(&EniFilter::default()).await, Ok(Vec::new()));
    let failed = cloud.delete_eni(&"eni-1".into()).await.unwrap_err();
    assert_eq!(failed.kind, Kind::Denied);
    let keys: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.header("authorization").split([',', '=']).nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["key-0", "key-1", "key-1", "key-2"], "twice at most");
    assert_eq!(kept.records().len(), 4);
}
