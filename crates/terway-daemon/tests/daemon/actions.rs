//! The pool's operations on a cloud that does half of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use terway_cloud::{Cloud, EniStatus, EniWatch, WatchPace};
use terway_daemon::actions::{Actions, INTENT_TAG};
use terway_daemon::subnets::SubnetBook;
use terway_pool::{CloudAction, CloudAnswer};
use terway_types::{AddressCounts, AddressSet, CloudFailureKind, EniId};

use crate::cloud::FakeCloud;

const PACE: WatchPace = WatchPace {
    shortest: Duration::from_millis(1),
    longest: Duration::from_millis(5),
    apart: Duration::from_millis(1),
    stale: Duration::from_secs(30),
};

fn actions(cloud: &FakeCloud) -> Actions {
    let shared: Arc<dyn Cloud> = Arc::new(cloud.clone());
    Actions {
        watch: EniWatch::with_pace(Arc::clone(&shared), PACE),
        pace: PACE,
        instance: "i-1".into(),
        tags: BTreeMap::new(),
        subnets: Arc::new(SubnetBook::new(Arc::clone(&shared), &[])),
        cloud: shared,
    }
}

fn create() -> CloudAction {
    CloudAction::Create {
        token: "t-1".into(),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
    }
}

fn assign(counts: AddressCounts) -> CloudAction {
    CloudAction::Assign { eni: "eni-1".into(), token: "t-2".into(), counts }
}

#[tokio::test]
async fn addresses_come_by_kind_and_a_repeated_call_finds_the_same() {
    let cloud = FakeCloud::default();
    let actions = actions(&cloud);
    actions.run(&create()).await.unwrap();
    let both = assign(AddressCounts { ipv4: 2, ipv6: 2, ..AddressCounts::default() });
    let first = actions.run(&both).await.unwrap();
    let CloudAnswer::Assigned { added, short: None } = &first else { panic!("all were given: {first:?}") };
    assert_eq!((added.ipv4.len(), added.ipv6.len()), (2, 2));
    assert_eq!(actions.run(&both).await.unwrap(), first);
}

#[tokio::test]
async fn what_was_given_before_a_refusal_is_told_with_it() {
    let cloud = FakeCloud::default();
    let actions = actions(&cloud);
    actions.run(&create()).await.unwrap();
    cloud.refuse("assign6", Some(CloudFailureKind::SubnetExhausted));
    let counts = AddressCounts { ipv4: 2, ipv6: 2, ..AddressCounts::default() };
    let CloudAnswer::Assigned { added, short } = actions.run(&assign(counts)).await.unwrap() else {
        panic!("two were given")
    };
    assert_eq!((added.ipv4.len(), added.ipv6.len()), (2, 0));
    assert_eq!(short.unwrap().kind, CloudFailureKind::SubnetExhausted);
    cloud.refuse("assign", Some(CloudFailureKind::Throttled));
    assert_eq!(actions.run(&assign(counts)).await.unwrap_err().kind, CloudFailureKind::Throttled);
}

#[tokio::test]
async fn what_may_have_been_given_is_found_by_the_whole_operation_again() {
    let cloud = FakeCloud::default();
    let actions = actions(&cloud);
    actions.run(&create()).await.unwrap();
    cloud.refuse("assign6", Some(CloudFailureKind::Ambiguous));
    let both = assign(AddressCounts { ipv4: 2, ipv6: 2, ..AddressCounts::default() });
    assert_eq!(actions.run(&both).await.unwrap_err().kind, CloudFailureKind::Ambiguous);
    cloud.refuse("assign6", None);
    let CloudAnswer::Assigned { added, short: None } = actions.run(&both).await.unwrap() else {
        panic!("all were given")
    };
    assert_eq!((added.ipv4.len(), added.ipv6.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn addresses_are_gone_when_a_look_says_so() {
    let cloud = FakeCloud::default();
    let actions = actions(&cloud);
    actions.run(&create()).await.unwrap();
    let CloudAnswer::Assigned { added, .. } =
        actions.run(&assign(AddressCounts { ipv4: 2, ..AddressCounts::default() })).await.unwrap()
    else {
        panic!("two were given")
    };
    let eni: EniId = "eni-1".into();
    let take = |addresses: AddressSet| CloudAction::Unassign { eni: eni.clone(), addresses };
    // Looks are refused: accepted is not done.
    cloud.refuse("describe", Some(CloudFailureKind::Throttled));
    let doubt = actions.run(&take(added.clone())).await.unwrap_err();
    assert_eq!(doubt.kind, CloudFailureKind::Ambiguous);
    cloud.refuse("describe", None);
    assert_eq!(actions.run(&take(added.clone())).await.unwrap(), CloudAnswer::Unassigned);
    // Still shown, for as long as anybody waits.
    cloud.with(|state| {
        state.enis.get_mut(&eni).unwrap().assigned.ipv6 = vec!["fd00::1".parse().unwrap()];
        state.refusals.insert("unassign", CloudFailureKind::Transient);
    });
    let six = AddressSet { ipv6: vec!["fd00::1".parse().unwrap()], ..AddressSet::default() };
    assert_eq!(actions.run(&take(six)).await.unwrap_err().kind, CloudFailureKind::Transient);
    // An ENI that is gone has none.
    cloud.with(|state| {
        state.refusals.clear();
        state.enis.clear();
    });
    assert_eq!(actions.run(&take(added)).await.unwrap(), CloudAnswer::Unassigned);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_cannot_be_seen_to_end_is_in_doubt() {
    let cloud = FakeCloud::default();
    let actions = actions(&cloud);
    cloud.with(|state| state.made_as = Some(EniStatus::Creating));
    cloud.refuse("describe", Some(CloudFailureKind::Denied));
    let doubt = actions.run(&create()).await.unwrap_err();
    assert_eq!(doubt.kind, CloudFailureKind::Ambiguous, "the call itself was accepted");
    cloud.refuse("create", Some(CloudFailureKind::Denied));
    assert_eq!(actions.run(&create()).await.unwrap_err().kind, CloudFailureKind::Denied);
}

/// As after an upgrade, or a change of `eni_tags`.
#[tokio::test]
async fn what_the_token_made_under_other_tags_is_found() {
    let cloud = FakeCloud::default();
    let before = actions(&cloud);
    let CloudAnswer::Created(made) = before.run(&create()).await.unwrap() else { panic!("it is made") };
    let tags = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let after = Actions { tags, ..before };
    cloud.refuse("describe", Some(CloudFailureKind::Throttled));
    assert_eq!(after.run(&create()).await.unwrap_err().kind, CloudFailureKind::Conflict);
    cloud.refuse("describe", None);
    assert_eq!(after.run(&create()).await.unwrap(), CloudAnswer::Created(made));
    // Without it the token is of no use any more.
    cloud.with(|state| state.enis.values_mut().for_each(|eni| drop(eni.tags.remove(INTENT_TAG))));
    assert_eq!(after.run(&create()).await.unwrap_err().kind, CloudFailureKind::Conflict);
}

#[tokio::test]
async fn an_eni_is_found_and_regrouped() {
    let cloud = FakeCloud::default();
    let actions = actions(&cloud);
    actions.run(&create()).await.unwrap();
    let CloudAnswer::Created(found) = actions.run(&CloudAction::Find { eni: "eni-1".into() }).await.unwrap()
    else {
        panic!("it is there")
    };
    assert_eq!((found.id.as_str(), found.attached), ("eni-1", false));
    assert_eq!(found.gateways.v4, "10.0.0.253".parse().ok());
    let groups = CloudAction::Regroup { eni: "eni-1".into(), security_groups: vec!["sg-9".into()] };
    assert_eq!(actions.run(&groups).await.unwrap(), CloudAnswer::Regrouped);
    assert_eq!(cloud.with(|state| state.enis[&"eni-1".into()].security_groups.clone()), ["sg-9".into()]);
}
