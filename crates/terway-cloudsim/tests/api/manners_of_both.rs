//! Every bad manner on both protocols, as the agent's client meets it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use terway_cloud::{Assign, CloudResult, EniDescription, EniFilter, Goal};
use terway_cloudsim::live::system_clock;
use terway_types::{CloudFailure, CloudFailureKind as Kind, EniId, InstanceId};

use crate::both::{Side, sides, sides_at, wish};

impl Side {
    async fn behave(&self, manners: Value) {
        self.control("/v1/manners", manners).await;
    }

    /// What goes wrong with the next calls of an action.
    async fn next(&self, action: &str, kind: &str) {
        self.control("/v1/faults", json!([{ "action": action, "kind": kind }])).await;
    }

    async fn seen(&self, eni: &EniId) -> CloudResult<Option<EniDescription>> {
        let filter = EniFilter { ids: vec![eni.clone()], ..EniFilter::default() };
        Ok(self.cloud.describe_enis(&filter).await?.pop())
    }

    async fn listed(&self) -> CloudResult<usize> {
        Ok(self.cloud.describe_enis(&EniFilter::default()).await?.len())
    }

    /// How many ENIs there really are that are nobody's own.
    async fn real(&self) -> usize {
        let state = self.bench.state().await;
        state["enis"].as_array().unwrap().iter().filter(|eni| eni["type"] == "Secondary").count()
    }

    async fn create(&self, token: &str) -> Result<(), Kind> {
        self.cloud.create_eni(&wish(token)).await.map(drop).map_err(|failure| failure.kind)
    }
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, CloudFailure>) -> Kind {
    outcome.unwrap_err().kind
}

#[tokio::test]
async fn answers_take_their_time_and_calls_are_throttled_by_action() {
    for side in sides().await {
        side.behave(json!({"answer_ms": {"DescribeNetworkInterfaces": {"long_tail": [40, 50]}}})).await;
        let start = Instant::now();
        side.listed().await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(40));
        let slow = json!({"per_minute": 1, "burst": 1});
        side.behave(json!({"answer_ms": {}, "throttle": {"CreateNetworkInterface": slow}})).await;
        assert_eq!([side.create("a").await, side.create("b").await], [Ok(()), Err(Kind::Throttled)]);
        side.listed().await.unwrap();
    }
}

#[tokio::test]
async fn breakdowns_leave_a_doubt_only_where_something_may_have_changed() {
    for side in sides().await {
        for (fault, made) in [
            ("error:InternalError", 0),
            ("error-after:InternalError", 1),
            ("drop-before", 1),
            ("drop-after", 2),
            ("garble:html", 3),
            ("garble:truncated", 4),
            ("garble:empty", 5),
            ("garble:endless", 6),
        ] {
            side.next("CreateNetworkInterface", fault).await;
            assert_eq!(side.create(fault).await, Err(Kind::Ambiguous), "{:?} {fault}", side.vendor);
            assert_eq!(side.real().await, made, "{:?} {fault}", side.vendor);
            side.next("DescribeNetworkInterfaces", fault).await;
            assert_eq!(kind(side.listed().await), Kind::Transient, "{:?} {fault}", side.vendor);
        }
        let all = ["drop-after", "garble:html"];
        for token in all {
            side.cloud.create_eni(&wish(token)).await.unwrap();
        }
        assert_eq!(side.real().await, 6, "the same token finds what was made");
    }
}

#[tokio::test]
async fn some_calls_go_wrong_all_the_time() {
    for side in sides().await {
        let mishap = json!({"kind": "error:InternalError", "percent": 50});
        side.behave(json!({"mishaps": {"DescribeNetworkInterfaces": mishap}})).await;
        let mut wrong = 0;
        for _ in 0..40 {
            wrong += usize::from(side.listed().await.is_err());
        }
        assert!((8..=32).contains(&wrong), "{wrong} of 40");
        side.create("other actions do not").await.unwrap();
        side.behave(json!({"mishaps": {}})).await;
        side.listed().await.unwrap();
    }
}

#[tokio::test]
async fn reads_lie_for_a_while() {
    for side in sides().await {
        side.behave(json!({"stale_ms": 3_600_000})).await;
        let unseen = side.cloud.create_eni(&wish("unseen")).await.unwrap().id;
        assert_eq!(side.seen(&unseen).await.ok().flatten(), None, "from before it was made");
        side.behave(json!({"stale_ms": 0, "linger_ms": 3_600_000})).await;
        let eni = side.attached("t").await;
        side.control(&format!("/v1/console/enis/{eni}/delete"), json!({})).await;
        assert!(side.seen(&eni).await.unwrap().is_some(), "deleted, and still listed");
        side.cloud.delete_eni(&eni).await.unwrap();
        side.behave(json!({"linger_ms": 0, "missing_ms": 3_600_000})).await;
        let new = side.cloud.create_eni(&wish("new")).await.unwrap();
        assert_eq!(side.seen(&new.id).await.ok().flatten(), None, "made, and not yet listed");
        side.behave(json!({"missing_ms": 0})).await;
        assert!(side.seen(&new.id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn batches_succeed_in_part() {
    for side in sides().await {
        let eni = side.attached("t").await;
        side.behave(json!({"partial_assign": 1})).await;
        let given = side.cloud.assign(&eni, &"a".into(), Assign::Ipv4(3)).await.unwrap();
        assert_eq!(given.ipv4.len(), 1);
        side.behave(json!({"partial_assign": null})).await;
        assert_eq!(side.seen(&eni).await.unwrap().unwrap().assigned.ipv4.len(), 2);
    }
}

#[tokio::test]
async fn attaching_may_not_end_and_detaching_be_refused() {
    for side in sides().await {
        let (node, short) = (InstanceId::from("i-1"), Duration::from_millis(200));
        side.control("/v1/latency", json!({"attach": "never"})).await;
        let stuck = side.made(&wish("stuck")).await.id;
        side.cloud.attach_eni(&stuck, &node).await.unwrap();
        assert_eq!(kind(side.watch.until(&stuck, Goal::InUse(node.clone()), short).await), Kind::Ambiguous);
        side.control(&format!("/v1/console/enis/{stuck}/detach"), json!({})).await;
        side.control("/v1/latency", json!({"attach": 5, "link": "never"})).await;
        let linkless = side.attached("linkless").await;
        let state = side.bench.state().await;
        let real = state["enis"].as_array().unwrap().iter().find(|eni| eni["id"] == linkless.as_str());
        assert_eq!(real.unwrap()["link"], "absent", "in use, and no link in the node");
        side.behave(json!({"detach_refused": true})).await;
        assert_eq!(kind(side.cloud.detach_eni(&linkless, &node).await), Kind::InvalidState);
        side.behave(json!({"detach_refused": false})).await;
        side.cloud.detach_eni(&linkless, &node).await.unwrap();
    }
}

#[tokio::test]
async fn quotas_shrink_and_vswitches_run_dry() {
    for side in sides().await {
        side.create("a").await.unwrap();
        side.control("/v1/quota", json!({"enis": 1})).await;
        assert!(matches!(side.create("b").await, Err(Kind::Quota { limit: Some(1), .. })));
        side.control("/v1/quota", json!({"enis": 1000})).await;
        side.control("/v1/vswitches/vsw-a", json!({"free": 0})).await;
        assert_eq!(side.create("c").await, Err(Kind::SubnetExhausted));
        side.control("/v1/vswitches/vsw-a", json!({"free": null})).await;
        side.create("d").await.unwrap();
    }
}

#[tokio::test]
async fn keys_end_and_permissions_are_taken() {
    for side in sides().await {
        for state in ["inactive", "expired"] {
            side.control("/v1/credentials/key", json!({ "state": state })).await;
            let refused = side.listed().await.unwrap_err();
            assert_eq!(refused.kind, Kind::Denied, "{refused}");
            assert!(!refused.message.contains("statement to add"), "no permission helps: {refused}");
        }
        side.control("/v1/credentials/key", json!({"state": "active"})).await;
        side.behave(json!({"denied": ["DescribeNetworkInterfaces"]})).await;
        let refused = side.listed().await.unwrap_err();
        assert_eq!(refused.kind, Kind::Denied);
        assert!(refused.message.contains(":DescribeNetworkInterfaces"), "{refused}");
    }
}

#[tokio::test]
async fn the_metadata_service_breaks_lags_and_is_taken_over() {
    for side in sides().await {
        side.behave(json!({"metadata_stale_ms": 3_600_000})).await;
        side.attached("t").await;
        assert_eq!(side.metadata.macs().await.unwrap().len(), 1, "what was");
        side.behave(json!({"metadata_stale_ms": 0})).await;
        assert_eq!(side.metadata.macs().await.unwrap().len(), 2);
        for manner in ["down", "failing", "portal"] {
            side.behave(json!({ "metadata": manner })).await;
            assert_eq!(kind(side.metadata.identity().await), Kind::Transient, "{manner}");
        }
        side.behave(json!({"metadata": "up"})).await;
        assert_eq!(side.metadata.identity().await.unwrap().id.as_str(), "i-1");
    }
}

#[tokio::test]
async fn a_person_deletes_and_regroups_by_hand() {
    for side in sides().await {
        let eni = side.attached("t").await;
        let by_hand = |deed: &str| format!("/v1/console/enis/{eni}/{deed}");
        side.control(&by_hand("security-groups"), json!({"security_groups": ["sg-2"]})).await;
        assert_eq!(side.seen(&eni).await.unwrap().unwrap().security_groups, ["sg-2".into()]);
        side.control(&by_hand("tags"), json!({"tags": {}})).await;
        assert!(side.seen(&eni).await.unwrap().unwrap().tags.is_empty());
        side.control(&by_hand("delete"), json!({})).await;
        side.watch.until(&eni, Goal::Gone, Duration::from_secs(30)).await.unwrap();
        side.cloud.detach_eni(&eni, &"i-1".into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_by_how_much() {
    for side in sides_at(|| system_clock() + Duration::from_mins(20)).await {
        let refused = side.listed().await.unwrap_err();
        assert_eq!(refused.kind, Kind::ClockSkew, "{refused}");
        // Less by what the answer took on a busy machine.
        let off = (1170..=1202)
            .any(|seconds| refused.message.contains(&format!(" {seconds} s behind the cloud's")));
        assert!(off, "{:?}: {refused}", side.vendor);
    }
}
