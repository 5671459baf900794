//! The driver alone: a disk that refuses, and cloud operations of a pool that was thrown away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use terway_daemon::clock;
use terway_daemon::driver::{self, DriverHandle, Fuse, Hands, Journal, Parts, Ticket};
use terway_daemon::events::Events;
use terway_daemon::metrics::Metrics;
use terway_pool::{
    Answer, CloudAction, CloudAnswer, CloudEni, Event, Mode, Pool, PoolSettings, ReleasePace, VSwitchPolicy,
    Wants,
};
use terway_types::{
    AddressSet, Addresses, AttachmentKey, ContainerId, Fault, FaultCode, Gateways, HistoryEntry, IfName,
    IntentToken, LedgerChange, LedgerSnapshot, MacAddr, NetworkName, PastCall, PodRef, Subnets,
};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// A disk in memory that refuses on demand.
#[derive(Clone, Default)]
pub(crate) struct Disk(
    pub(crate) Arc<Mutex<(LedgerSnapshot, bool)>>,
    Arc<Mutex<Vec<HistoryEntry>>>,
    Arc<AtomicUsize>,
);

impl Disk {
    fn full(&self, full: bool) {
        self.0.lock().unwrap().1 = full;
    }
}

impl Journal for Disk {
    fn commit(&mut self, changes: &[LedgerChange]) -> Result<(), Fault> {
        let (durable, full) = &mut *self.0.lock().unwrap();
        if *full {
            self.2.fetch_add(1, Ordering::Relaxed);
            return Err(Fault::new(FaultCode::StateFull, "no room"));
        }
        for change in changes.iter().cloned() {
            match change {
                LedgerChange::PutEni(eni) => {
                    durable.enis.retain(|known| known.token != eni.token);
                    durable.enis.push(eni);
                }
                LedgerChange::RemoveEni(token) => durable.enis.retain(|known| known.token != token),
                LedgerChange::PutAttachment(held) => {
                    durable.attachments.retain(|known| known.key != held.key);
                    durable.attachments.push(held);
                }
                LedgerChange::RemoveAttachment(key) => durable.attachments.retain(|known| known.key != key),
                LedgerChange::Remember(entry) => self.1.lock().unwrap().push(entry),
                other => panic!("a pool of exclusive ENIs wrote {other:?}"),
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<LedgerSnapshot, Fault> {
        Ok(self.0.lock().unwrap().0.clone())
    }
}

/// Remembers what was to be done.
#[derive(Clone, Default)]
pub(crate) struct Notebook(Arc<Mutex<Vec<(Ticket, CloudAction)>>>);

impl Hands for Notebook {
    fn start(&mut self, ticket: Ticket, action: CloudAction, _: Option<IntentToken>) {
        self.0.lock().unwrap().push((ticket, action));
    }
}

impl Notebook {
    /// Waits for the operation of this number, from 0.
    async fn wait(&self, number: usize) -> (Ticket, CloudAction) {
        let found = async {
            loop {
                if let Some(found) = self.0.lock().unwrap().get(number) {
                    return found.clone();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), found).await.expect("the operation is started")
    }
}

fn start(disk: &Disk, notebook: &Notebook) -> DriverHandle {
    driver::start(parts(disk), |_| notebook.clone()).unwrap()
}

pub(crate) fn parts(disk: &Disk) -> Parts {
    let settings = PoolSettings {
        mode: Mode::Exclusive,
        min_idle: 1,
        max_idle: 1,
        warm_up: 0,
        max_enis: 2,
        release: ReleasePace { interval: Duration::from_mins(2), quick: false },
        reclaim: None,
        vswitches: vec!["vsw-1".into()],
        vswitch_policy: VSwitchPolicy::Ordered,
        security_groups: vec!["sg-1".into()],
        ipv6: false,
        quarantine: Duration::ZERO,
        quarantine_max: Duration::from_mins(1),
        consistency: Duration::from_secs(30),
        link_timeout: Duration::from_mins(1),
        home_timeout: Duration::from_mins(1),
        operation_timeout: Duration::from_mins(10),
        retry_first: Duration::from_millis(1),
        retry_max: Duration::from_millis(10),
        parallel: 2,
        token_prefix: "t".to_owned(),
        generation: 0,
        seed: 0,
    };
    let metrics = Arc::new(Metrics::default());
    Parts {
        ledger: Box::new(disk.clone()),
        settings,
        clock: clock::system,
        metrics,
        events: Arc::new(Events::new(clock::system)),
        fuse: Fuse::NONE,
    }
}

pub(crate) fn created() -> CloudAnswer {
    let subnets = Subnets::new("10.0.0.0/24".parse().ok(), None);
    CloudAnswer::Created(CloudEni {
        id: "eni-1".into(),
        mac: MAC,
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::new("10.0.0.9".parse().ok(), None),
        assigned: AddressSet { ipv4: vec![[10, 0, 0, 9].into()], ..AddressSet::default() },
        subnets,
        gateways: Gateways::new("10.0.0.253".parse().ok(), None),
        attached: false,
    })
}

async fn allocate(driver: &DriverHandle) -> Answer {
    let key = AttachmentKey {
        network: NetworkName::new("terway").unwrap(),
        container: ContainerId::new("a").unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    };
    let deadline = clock::system() + Duration::from_secs(10);
    let (pod, netns, wants) = (PodRef::default(), String::new(), Wants::default());
    driver.ask(|request| Event::Allocate { request, key, pod, netns, wants, deadline }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_the_call_and_the_pool_starts_again_from_what_is_durable() {
    let (disk, notebook) = (Disk::default(), Notebook::default());
    let driver = start(&disk, &notebook);
    let (ticket, _) = notebook.wait(0).await;
    driver.done(ticket, Ok(created()));
    let (ticket, action) = notebook.wait(1).await;
    assert_eq!(action, CloudAction::Attach { eni: "eni-1".into() });
    driver.done(ticket, Ok(CloudAnswer::Attached));
    driver.link(MAC, true);
    let idle = async |driver: &DriverHandle| driver.look(Pool::view).await.map_or(0, |view| view.idle);
    while idle(&driver).await != 1 {
        tokio::task::yield_now().await;
    }

    disk.full(true);
    let Answer::Failed(fault) = allocate(&driver).await else { panic!("nothing was durable") };
    assert_eq!(fault.code, FaultCode::StateFull);
    assert!(disk.0.lock().unwrap().0.attachments.is_empty());

    disk.full(false);
    let Answer::Allocated(held) = allocate(&driver).await else {
        panic!("the link is remembered over the rebuild")
    };
    assert_eq!(held.eni.mac, Some(MAC));
    assert_eq!(disk.0.lock().unwrap().0.attachments.len(), 1, "durable before visible");
    driver.stop();
}

/// The pool has an ENI to make from the beginning, and cannot record that it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_can_be_recorded_what_is_recorded_is_shown_and_no_circles_are_run() {
    let (disk, notebook) = (Disk::default(), Notebook::default());
    disk.full(true);
    let begun = Instant::now();
    let driver = start(&disk, &notebook);
    for _ in 0..100 {
        assert!(driver.look(Pool::view).await.is_ok(), "what is recorded can be read");
    }
    let Answer::Failed(fault) = allocate(&driver).await else { panic!("nothing was durable") };
    assert_eq!(fault.code, FaultCode::StateFull);
    let (tries, seconds) = (disk.2.load(Ordering::Relaxed), begun.elapsed().as_secs());
    assert!(tries as u64 <= 2 + seconds, "{tries} tries in {seconds} s");

    disk.full(false);
    notebook.wait(0).await;
    driver.stop();
}

/// Starts nothing before somebody was answered.
struct Reluctant(Notebook, mpsc::Receiver<()>);

impl Hands for Reluctant {
    fn start(&mut self, ticket: Ticket, action: CloudAction, intent: Option<IntentToken>) {
        self.1.recv_timeout(Duration::from_secs(10)).expect("the answer comes first");
        self.0.start(ticket, action, intent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_answered_before_anything_else_is_done() {
    let (disk, notebook) = (Disk::default(), Notebook::default());
    let (answered, wait) = mpsc::channel();
    let driver = driver::start(parts(&disk), |_| Reluctant(notebook.clone(), wait)).unwrap();
    // Three beginnings until an ENI is there for which nobody has asked yet.
    let made = [Some(created()), Some(CloudAnswer::Attached), None];
    for (number, outcome) in made.into_iter().enumerate() {
        if outcome.is_some() {
            answered.send(()).unwrap();
        } else {
            driver.link(MAC, true);
            // The ENI that takes the place of the one given is begun in the turn that gives.
            assert!(matches!(allocate(&driver).await, Answer::Allocated(_)));
            answered.send(()).unwrap();
        }
        let (ticket, action) = notebook.wait(number).await;
        match outcome {
            Some(outcome) => driver.done(ticket, Ok(outcome)),
            None => assert!(matches!(action, CloudAction::Create { .. }), "{action:?}"),
        }
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_pool_started_does_not_concern_the_next() {
    let (disk, notebook) = (Disk::default(), Notebook::default());
    let driver = start(&disk, &notebook);
    let (first, action) = notebook.wait(0).await;
    disk.full(true);
    // The end of the creation cannot be recorded: the pool is built anew and asks again, with the same token.
    driver.done(first, Ok(created()));
    let (second, again) = notebook.wait(1).await;
    disk.full(false);
    assert_eq!(action, again);
    assert_ne!(first, second);
    driver.done(first, Ok(created()));
    let phase = |view: terway_pool::PoolView| view.enis[0].record.phase.name();
    assert_eq!(driver.look(Pool::view).await.map(phase).unwrap(), "Creating");
    driver.done(second, Ok(created()));
    let (_, next) = notebook.wait(2).await;
    assert_eq!(next, CloudAction::Attach { eni: "eni-1".into() });
    driver.stop();
}

fn call(action: &str) -> HistoryEntry {
    HistoryEntry::Called(PastCall {
        action: action.to_owned(),
        object: "eni-1".to_owned(),
        intent: None,
        request_id: None,
        failure: None,
        at: clock::system(),
        took: Duration::from_millis(1),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_written_soon_and_its_loss_brings_nothing_down() {
    let (disk, notebook) = (Disk::default(), Notebook::default());
    let driver = start(&disk, &notebook);
    let (ticket, _) = notebook.wait(0).await;
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect(what);
    };
    let written = |wanted: &HistoryEntry| disk.1.lock().unwrap().contains(wanted);
    // Nothing else happens, so it makes a commit of its own.
    let alone = call("alone");
    driver.remember(alone.clone());
    until("it is written", &|| written(&alone)).await;
    disk.full(true);
    let late = call("late");
    driver.remember(late.clone());
    until("the disk refused", &|| disk.2.load(Ordering::Relaxed) > 0).await;
    let phase = |view: terway_pool::PoolView| view.enis[0].record.phase.name();
    assert_eq!(driver.look(Pool::view).await.map(phase).unwrap(), "Creating", "the pool is the same");
    disk.full(false);
    driver.done(ticket, Ok(created()));
    until("it is written late", &|| written(&late)).await;
    let (_, next) = notebook.wait(1).await;
    assert_eq!(next, CloudAction::Attach { eni: "eni-1".into() });
    driver.stop();
}
