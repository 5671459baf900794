//! Many at once share a commit, and nobody is answered before his own is durable.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Poll};
use std::time::Duration;

use terway_daemon::clock;
use terway_daemon::driver::{self, DriverHandle, Journal, Parts};
use terway_pool::{Answer, Event, Pool, PoolSettings, Wants};
use terway_types::{
    AddressCounts, Addresses, AttachmentKey, ContainerId, EniPhase, EniRecord, Fault, Gateways, IfName,
    LedgerChange, LedgerSnapshot, MacAddr, NetworkName, PodRef, Subnets, Timestamp,
};

use crate::driver::{Disk, Notebook, parts};

/// So many ask at once.
const CROWD: u8 = 20;

/// Commits when it is allowed to, once for each permission.
struct Slow(Disk, Receiver<()>);

impl Journal for Slow {
    fn commit(&mut self, changes: &[LedgerChange]) -> Result<(), Fault> {
        self.1.recv_timeout(Duration::from_secs(10)).expect("no commit more than was allowed");
        self.0.commit(changes)
    }

    fn snapshot(&mut self) -> Result<LedgerSnapshot, Fault> {
        self.0.snapshot()
    }
}

fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

fn ready(number: u8) -> EniRecord {
    EniRecord {
        token: format!("t-{number}").into(),
        id: Some(format!("eni-{number}").into()),
        mac: Some(mac(number)),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::new(Some([10, 0, 0, number].into()), None),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        phase: EniPhase::Ready,
        since: Timestamp(1),
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        claim: None,
        assigning: None,
    }
}

async fn allocate(driver: &DriverHandle, number: u8) -> Answer {
    let key = AttachmentKey {
        network: NetworkName::new("terway").unwrap(),
        container: ContainerId::new(format!("c{number}")).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    };
    let deadline = clock::system() + Duration::from_mins(1);
    let (pod, netns, wants) = (PodRef::default(), String::new(), Wants::default());
    driver.ask(|request| Event::Allocate { request, key, pod, netns, wants, deadline }).await
}

/// Those who have no answer yet.
struct Crowd<'a>(Vec<Pin<Box<dyn Future<Output = Answer> + 'a>>>);

impl Crowd<'_> {
    fn poll(&mut self, context: &mut Context<'_>) {
        self.0.retain_mut(|asked| match asked.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Answer::Allocated(_)) => false,
            Poll::Ready(other) => panic!("{other:?}"),
        });
    }

    /// Until no more than so many are left.
    async fn shrinks_to(&mut self, left: usize) {
        let answered = poll_fn(|context| {
            self.poll(context);
            if self.0.len() <= left { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout(Duration::from_secs(10), answered).await.expect("they are answered");
    }
}

#[tokio::test]
async fn a_crowd_shares_commits_and_each_is_answered_after_its_own() {
    let (disk, notebook) = (Disk::default(), Notebook::default());
    disk.0.lock().unwrap().0.enis = (0..CROWD).map(ready).collect();
    let (allow, allowed) = mpsc::channel();
    let parts = parts(&disk);
    let most = u32::from(CROWD);
    let settings = PoolSettings { min_idle: 0, max_idle: most, max_enis: most, ..parts.settings };
    let parts = Parts { ledger: Box::new(Slow(disk.clone(), allowed)), settings, ..parts };
    let driver = driver::start(parts, |_| notebook.clone()).unwrap();
    (0..CROWD).for_each(|number| driver.link(mac(number), true));
    while driver.look(Pool::view).await.unwrap().idle != most {
        tokio::task::yield_now().await;
    }

    let mut crowd = Crowd((0..CROWD).map(|number| Box::pin(allocate(&driver, number)) as _).collect());
    let durable = || disk.0.lock().unwrap().0.attachments.len();
    // With the first look at each of them all have asked.
    crowd.shrinks_to(usize::from(CROWD)).await;
    assert_eq!((crowd.0.len(), durable()), (usize::from(CROWD), 0), "nobody is answered before a commit");
    // Who came while the driver had begun the first commit is in the second.
    allow.send(()).unwrap();
    crowd.shrinks_to(usize::from(CROWD) - 1).await;
    assert!(durable() >= usize::from(CROWD) - crowd.0.len(), "nobody is answered before his commit");
    allow.send(()).unwrap();
    crowd.shrinks_to(0).await;
    assert_eq!(durable(), usize::from(CROWD));
    driver.stop();
}
