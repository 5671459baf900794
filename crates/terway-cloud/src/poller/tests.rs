//! The watch against a scripted cloud, under paused time.

use std::sync::Mutex;

use async_trait::async_trait;
use terway_types::{AddressSet, Addresses, InstanceId, IntentToken, MacAddr, SecurityGroupId, VSwitchId};

use super::*;
use crate::cloud::{
    Assign, CreateEni, EniKind, EniStatus, InstanceDescription, InstanceLimits, Trunking, VSwitch,
};

const SECOND: Duration = Duration::from_secs(1);

/// What one look shows: the ENIs asked for, each by the script of its own.
type Script = dyn Fn(u32, &EniId) -> Option<EniStatus> + Send + Sync;

/// A cloud that can only be looked at, and counts the looks.
struct Scripted {
    script: Box<Script>,
    failure: Box<dyn Fn(u32) -> Option<Kind> + Send + Sync>,
    looks: Mutex<Vec<(Duration, Vec<EniId>)>>,
    start: Instant,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    fn new(script: impl Fn(u32, &EniId) -> Option<EniStatus> + Send + Sync + 'static) -> Arc<Self> {
        Self::failing(script, |_| None)
    }

    fn failing(
        script: impl Fn(u32, &EniId) -> Option<EniStatus> + Send + Sync + 'static,
        failure: impl Fn(u32) -> Option<Kind> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (script, failure) = (Box::new(script), Box::new(failure));
        Arc::new(Self { script, failure, looks: Mutex::default(), start: Instant::now() })
    }

    fn watch(self: &Arc<Self>) -> EniWatch {
        EniWatch::new(Arc::clone(self) as Arc<dyn Cloud>)
    }

    fn looks(&self) -> usize {
        self.looks.lock().unwrap().len()
    }
}

#[async_trait]
impl Cloud for Scripted {
    fn provider(&self) -> &'static str {
        "scripted"
    }

    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>> {
        let mut looks = self.looks.lock().unwrap();
        looks.push((self.start.elapsed(), filter.ids.clone()));
        let number = u32::try_from(looks.len()).unwrap();
        if let Some(kind) = (self.failure)(number) {
            return Err(failure(kind, ACTION, "scripted"));
        }
        Ok(filter.ids.iter().filter_map(|id| Some(eni(id, (self.script)(number, id)?))).collect())
    }

    async fn create_eni(&self, _: &CreateEni) -> CloudResult<EniDescription> {
        unreachable!("the watch only looks")
    }

    async fn attach_eni(&self, _: &EniId, _: &InstanceId) -> CloudResult<()> {
        unreachable!("the watch only looks")
    }

    async fn detach_eni(&self, _: &EniId, _: &InstanceId) -> CloudResult<()> {
        unreachable!("the watch only looks")
    }

    async fn delete_eni(&self, _: &EniId) -> CloudResult<()> {
        unreachable!("the watch only looks")
    }

    async fn assign(&self, _: &EniId, _: &IntentToken, _: Assign) -> CloudResult<AddressSet> {
        unreachable!("the watch only looks")
    }

    async fn unassign(&self, _: &EniId, _: &AddressSet) -> CloudResult<()> {
        unreachable!("the watch only looks")
    }

    async fn set_security_groups(&self, _: &EniId, _: &[SecurityGroupId]) -> CloudResult<()> {
        unreachable!("the watch only looks")
    }

    async fn set_delete_on_release(&self, _: &EniId, _: bool) -> CloudResult<()> {
        unreachable!("the watch only looks")
    }

    fn trunking(&self) -> Option<&dyn Trunking> {
        None
    }

    async fn describe_instances(&self, _: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>> {
        unreachable!("the watch only looks")
    }

    async fn describe_vswitches(&self, _: &[VSwitchId]) -> CloudResult<Vec<VSwitch>> {
        unreachable!("the watch only looks")
    }

    async fn instance_limits(&self, _: &str) -> CloudResult<Option<InstanceLimits>> {
        unreachable!("the watch only looks")
    }
}

fn eni(id: &EniId, status: EniStatus) -> EniDescription {
    EniDescription {
        id: id.clone(),
        status,
        mac: MacAddr([0, 0x16, 0x3e, 0, 0, 1]),
        vswitch: "vsw-1".into(),
        zone: "z".into(),
        security_groups: Vec::new(),
        addresses: Addresses::default(),
        instance: (status == EniStatus::InUse).then(|| "i-1".into()),
        assigned: AddressSet::default(),
        kind: EniKind::Secondary,
        vlan_id: None,
        trunk: None,
        description: String::new(),
        tags: BTreeMap::default(),
    }
}

fn in_use() -> Goal {
    Goal::InUse("i-1".into())
}

#[tokio::test(start_paused = true)]
async fn many_waits_cost_one_call_per_round() {
    let cloud = Scripted::new(|look, _| Some(if look < 4 { EniStatus::Attaching } else { EniStatus::InUse }));
    let watch = cloud.watch();
    let waits: Vec<_> = (0..50)
        .map(|n| {
            let watch = watch.clone();
            tokio::spawn(
                async move { watch.until(&format!("eni-{n:02}").into(), in_use(), SECOND * 60).await },
            )
        })
        .collect();
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap().unwrap().status, EniStatus::InUse);
    }
    assert_eq!(cloud.looks(), 4);
    assert!(cloud.looks.lock().unwrap().iter().all(|(_, ids)| ids.len() == 50));
}

#[tokio::test(start_paused = true)]
async fn looks_become_rarer_with_age() {
    let cloud = Scripted::new(|_, _| Some(EniStatus::Attaching));
    let outcome = cloud.watch().until(&"eni-1".into(), in_use(), SECOND * 120).await;
    assert_eq!(outcome.unwrap_err().kind, Kind::Ambiguous);
    let times: Vec<_> = cloud.looks.lock().unwrap().iter().map(|(at, _)| *at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    assert!((SECOND / 2..SECOND * 6 / 10).contains(&gaps[0]), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= SECOND * 51 / 10), "{gaps:?}");
    assert!((25..45).contains(&times.len()), "{} looks", times.len());
    assert!(*times.last().unwrap() >= SECOND * 120, "the last look is at the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_stale_absence_is_not_believed() {
    // Absent for one look, which a stale read shows, then there again, then really gone.
    let cloud = Scripted::new(|look, _| match look {
        1 | 3 => Some(EniStatus::Deleting),
        _ => None,
    });
    let outcome = cloud.watch().until(&"eni-1".into(), Goal::Gone, SECOND * 60).await;
    assert_eq!(outcome, Ok(None));
    let looks = cloud.looks.lock().unwrap();
    assert!(looks.len() >= 5, "{looks:?}");
    let (first, last) = (looks[3].0, looks.last().unwrap().0);
    assert!(last.saturating_sub(first) >= SECOND, "two looks that agree are apart in time: {looks:?}");
}

#[tokio::test(start_paused = true)]
async fn each_wait_has_its_own_deadline() {
    let cloud = Scripted::new(|_, _| Some(EniStatus::Attaching));
    let watch = cloud.watch();
    let (one, two) = (EniId::from("eni-1"), EniId::from("eni-2"));
    let timed = async |eni: &EniId, deadline| {
        let failure = watch.until(eni, in_use(), deadline).await.unwrap_err();
        (failure.message, cloud.start.elapsed().as_secs())
    };
    let (first, second) = tokio::join!(timed(&one, SECOND * 3), timed(&two, SECOND * 9));
    assert_eq!(first, ("eni-1 did not come into use by i-1 within 3 s; last seen Attaching".into(), 3));
    assert_eq!(second, ("eni-2 did not come into use by i-1 within 9 s; last seen Attaching".into(), 9));
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_borne() {
    let cloud = Scripted::failing(
        |_, _| Some(EniStatus::InUse),
        |look| match look {
            1 => Some(Kind::Throttled),
            2 => Some(Kind::Transient),
            _ => None,
        },
    );
    let outcome = cloud.watch().until(&"eni-1".into(), in_use(), SECOND * 60).await;
    assert_eq!(outcome.unwrap().unwrap().status, EniStatus::InUse);
    assert_eq!(cloud.looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_until_the_deadline_is_told() {
    for (kind, told) in [(Kind::Throttled, Kind::Throttled), (Kind::Invalid, Kind::Ambiguous)] {
        let cloud = Scripted::failing(|_, _| None, move |_| Some(kind.clone()));
        let failure = cloud.watch().until(&"eni-1".into(), in_use(), SECOND * 10).await.unwrap_err();
        assert_eq!(failure.kind, told);
        assert_eq!(failure.message, "eni-1 did not come into use by i-1 within 10 s; never seen: scripted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_all_waits_at_once() {
    let cloud = Scripted::failing(|_, _| None, |_| Some(Kind::Denied));
    let watch = cloud.watch();
    let (one, two) = (EniId::from("eni-1"), EniId::from("eni-2"));
    let (a, b) =
        tokio::join!(watch.until(&one, in_use(), SECOND * 60), watch.until(&two, Goal::Gone, SECOND * 60));
    assert_eq!((a.unwrap_err().kind, b.unwrap_err().kind), (Kind::Denied, Kind::Denied));
    assert_eq!(cloud.looks(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_waits_for_one_eni_are_one_id() {
    let cloud = Scripted::new(|look, _| (look < 3).then_some(EniStatus::Available));
    let watch = cloud.watch();
    let id = EniId::from("eni-1");
    let (a, b) = tokio::join!(
        watch.until(&id, Goal::Available, SECOND * 60),
        watch.until(&id, Goal::Gone, SECOND * 60)
    );
    assert_eq!(a.unwrap().unwrap().status, EniStatus::Available);
    assert_eq!(b, Ok(None));
    assert!(cloud.looks.lock().unwrap().iter().all(|(_, ids)| ids.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_waiting_means_no_calls() {
    let cloud = Scripted::new(|_, _| Some(EniStatus::Attaching));
    let watch = cloud.watch();
    let left = tokio::time::timeout(SECOND * 2, watch.until(&"eni-1".into(), in_use(), SECOND * 600)).await;
    assert!(left.is_err());
    let looks = cloud.looks();
    tokio::time::advance(SECOND * 600).await;
    let again = watch.until(&"eni-2".into(), in_use(), SECOND).await;
    assert!(again.is_err());
    let later = cloud.looks.lock().unwrap();
    assert!(later[looks..].iter().all(|(_, ids)| ids.iter().all(|id| id.as_str() == "eni-2")), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_still_looks_once() {
    let cloud = Scripted::new(|_, _| Some(EniStatus::Available));
    let outcome = cloud.watch().until(&"eni-1".into(), Goal::Settled, Duration::ZERO).await;
    assert!(outcome.is_ok());
}
