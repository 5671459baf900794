//! A node: the engine with its ledger in memory, the daemon's own hands for its cloud operations, and the netdevs it is
//! told of. Its daemon can die and start anew from what was durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use terway_cloud::{EniWatch, WatchPace};
use terway_daemon::actions::{Actions, Owner};
use terway_daemon::subnets::SubnetBook;
use terway_pool::{
    Answer, CloudAnswer, Effect, Event, Mode, OperationId, Pool, PoolSettings, PoolView, ReleasePace,
    RequestId, VSwitchPolicy, Wants,
};
use terway_types::{
    AttachmentKey, AttachmentRecord, CloudFailure, EniRecord, InstanceId, IntentToken, LedgerChange,
    LedgerSnapshot, MacAddr, PodRef,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use crate::account::Account;
use crate::door::Door;

/// Idle ENIs a node keeps at least.
pub(crate) const WARM: u32 = 2;

/// What a node hears.
pub(crate) enum Message {
    /// A link came to the node, or left it.
    Link { mac: MacAddr, present: bool },
    /// A pod wants an ENI, or gives it back.
    Ask { want: Want, key: AttachmentKey, reply: oneshot::Sender<Answer> },
    /// The daemon dies and starts anew.
    Die,
    /// The node goes away.
    Retire,
}

/// What a pod wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Eni,
    Nothing,
}

/// A node as others see it.
pub(crate) struct Node {
    pub(crate) number: u32,
    pub(crate) instance: InstanceId,
    inbox: mpsc::UnboundedSender<Message>,
    account: Arc<Account>,
    pool: Arc<Mutex<Pool>>,
}

impl Node {
    /// Boots a node of the account.
    pub(crate) fn boot(account: &Arc<Account>, number: u32) -> Self {
        let instance = InstanceId(format!("i-{number:04}"));
        let (inbox, messages) = mpsc::unbounded_channel();
        account.register(instance.clone(), inbox.clone());
        let settings = settings(number);
        let (pool, first) = Pool::new(settings.clone(), LedgerSnapshot::default(), account.now());
        let pool = Arc::new(Mutex::new(pool));
        let (ends, ended) = mpsc::unbounded_channel();
        let daemon = Daemon {
            account: Arc::clone(account),
            instance: instance.clone(),
            settings,
            pool: Arc::clone(&pool),
            enis: BTreeMap::new(),
            attachments: BTreeMap::new(),
            home: BTreeSet::new(),
            hands: None,
            work: JoinSet::new(),
            ends,
            waiting: BTreeMap::new(),
            asked: 0,
        };
        tokio::spawn(daemon.live(first, messages, ended));
        Self { number, instance, inbox, account: Arc::clone(account), pool }
    }

    /// The pool as it is.
    pub(crate) fn look(&self) -> PoolView {
        locked(&self.pool).view(self.account.now())
    }

    /// The way to talk to it.
    pub(crate) fn inbox(&self) -> mpsc::UnboundedSender<Message> {
        self.inbox.clone()
    }

    /// Lets the daemon die after a while.
    pub(crate) fn die_after(&self, pause: Duration) {
        let inbox = self.inbox();
        tokio::spawn(async move {
            sleep(pause).await;
            inbox.send(Message::Die)
        });
    }

    /// Lets the node go away.
    pub(crate) fn retire(&self) {
        self.inbox.send(Message::Retire).expect("a node lives as long as the test");
    }
}

type End = (OperationId, Result<CloudAnswer, CloudFailure>);

/// The daemon, one life after the other.
struct Daemon {
    account: Arc<Account>,
    instance: InstanceId,
    settings: PoolSettings,
    pool: Arc<Mutex<Pool>>,
    /// What is durable.
    enis: BTreeMap<IntentToken, EniRecord>,
    attachments: BTreeMap<AttachmentKey, AttachmentRecord>,
    /// The netdevs in the node's own namespace.
    home: BTreeSet<MacAddr>,
    hands: Option<Arc<Actions>>,
    /// Cloud operations under way; they die with the daemon.
    work: JoinSet<()>,
    ends: mpsc::UnboundedSender<End>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    asked: u64,
}

impl Daemon {
    async fn live(
        mut self,
        first: Vec<Effect>,
        mut messages: mpsc::UnboundedReceiver<Message>,
        mut ended: mpsc::UnboundedReceiver<End>,
    ) {
        self.execute(first);
        loop {
            let now = self.account.now();
            let pause =
                locked(&self.pool).next_deadline().map_or(Duration::from_hours(1), |next| next.since(now));
            let deadline = tokio::time::Instant::now() + pause.max(Duration::from_millis(1));
            let heard = async {
                tokio::select! {
                    message = messages.recv() => Ok(message),
                    end = ended.recv() => Err(end),
                }
            };
            match timeout_at(deadline, heard).await {
                Ok(Ok(Some(message))) => self.hear(message),
                Ok(Err(Some((operation, outcome)))) => self.decide(Event::CloudDone { operation, outcome }),
                Ok(Ok(None) | Err(None)) => return,
                Err(_) => self.decide(Event::Tick),
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Link { mac, present } => self.link(mac, present),
            Message::Ask { want: Want::Eni, key, reply } => {
                let request = self.expect(reply);
                let deadline = self.account.now() + Duration::from_mins(1);
                let (pod, netns, wants) = (PodRef::default(), String::new(), Wants::default());
                self.decide(Event::Allocate { request, key, pod, netns, wants, deadline });
            }
            Message::Ask { want: Want::Nothing, key, reply } => {
                // The plugin brings the netdev home before it says so.
                let mac = locked(&self.pool).attachment(&key).and_then(|(_, eni)| eni.mac);
                if let Some(mac) = mac {
                    self.link(mac, true);
                }
                let request = self.expect(reply);
                self.decide(Event::Release { request, key });
            }
            Message::Die => self.die(),
            Message::Retire => self.decide(Event::Retire),
        }
    }

    fn expect(&mut self, reply: oneshot::Sender<Answer>) -> RequestId {
        self.asked += 1;
        self.waiting.insert(RequestId(self.asked), reply);
        RequestId(self.asked)
    }

    fn link(&mut self, mac: MacAddr, present: bool) {
        if present {
            self.home.insert(mac);
            self.decide(Event::LinkUp { mac });
        } else {
            self.home.remove(&mac);
            self.decide(Event::LinkGone { mac });
        }
    }

    /// Whatever was under way ends, nobody is answered, and a new engine starts from what is durable.
    fn die(&mut self) {
        self.work.abort_all();
        self.waiting.clear();
        self.hands = None;
        self.settings.generation += 1;
        let snapshot = LedgerSnapshot {
            enis: self.enis.values().cloned().collect(),
            attachments: self.attachments.values().cloned().collect(),
            ..LedgerSnapshot::default()
        };
        let (pool, first) = Pool::new(self.settings.clone(), snapshot, self.account.now());
        *locked(&self.pool) = pool;
        self.execute(first);
        for mac in self.home.clone() {
            self.decide(Event::LinkUp { mac });
        }
    }

    fn decide(&mut self, event: Event) {
        let effects = locked(&self.pool).handle(self.account.now(), event);
        self.execute(effects);
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(changes) => changes.into_iter().for_each(|change| self.keep(change)),
                Effect::Cloud { operation, action } => {
                    let (hands, ends) = (self.hands(), self.ends.clone());
                    self.work.spawn(async move {
                        // A daemon that has ended hears nothing any more.
                        let _ = ends.send((operation, hands.run(&action).await));
                    });
                }
                Effect::Reply { request, answer } => self.answer(request, answer),
                Effect::Publish(_) | Effect::Note(_) => {}
            }
        }
        while self.work.try_join_next().is_some() {}
    }

    /// An ENI that is given leaves the node's namespace for the pod's.
    fn answer(&mut self, request: RequestId, answer: Answer) {
        let Some(reply) = self.waiting.remove(&request) else { return };
        let taken = if let Answer::Allocated(grant) = &answer { grant.eni.mac } else { None };
        let heard = reply.send(answer).is_ok();
        if let Some(mac) = taken.filter(|mac| heard && self.home.contains(mac)) {
            self.link(mac, false);
        }
    }

    fn keep(&mut self, change: LedgerChange) {
        match change {
            LedgerChange::PutEni(eni) => drop(self.enis.insert(eni.token.clone(), eni)),
            LedgerChange::RemoveEni(token) => drop(self.enis.remove(&token)),
            LedgerChange::PutAttachment(held) => drop(self.attachments.insert(held.key.clone(), held)),
            LedgerChange::RemoveAttachment(key) => drop(self.attachments.remove(&key)),
            LedgerChange::Remember(_) => {}
            other => panic!("whole ENIs have no addresses of their own: {other:?}"),
        }
    }

    /// The daemon's hands, made once in a life as it makes them.
    fn hands(&mut self) -> Arc<Actions> {
        let (account, instance) = (&self.account, &self.instance);
        let make = || {
            let cloud = Arc::new(Door::new(account));
            let owner = Owner { cluster: "morning".to_owned(), node: instance.to_string() };
            Arc::new(Actions {
                watch: EniWatch::new(cloud.clone()),
                pace: WatchPace::default(),
                instance: instance.clone(),
                tags: owner.marks(),
                subnets: Arc::new(SubnetBook::new(cloud.clone(), &[])),
                cloud,
            })
        };
        Arc::clone(self.hands.get_or_insert_with(make))
    }
}

fn locked(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As the daemon sets them for a node with the usual configuration.
fn settings(number: u32) -> PoolSettings {
    PoolSettings {
        mode: Mode::Exclusive,
        min_idle: WARM,
        max_idle: 4,
        warm_up: 0,
        max_enis: 9,
        release: ReleasePace { interval: Duration::from_mins(2), quick: false },
        reclaim: None,
        vswitches: vec!["vsw-pods".into()],
        vswitch_policy: VSwitchPolicy::Ordered,
        security_groups: vec!["sg-sim".into()],
        ipv6: false,
        quarantine: Duration::from_secs(30),
        quarantine_max: Duration::from_mins(10),
        consistency: Duration::from_secs(30),
        link_timeout: Duration::from_mins(1),
        home_timeout: Duration::from_mins(1),
        operation_timeout: Duration::from_mins(10),
        retry_first: Duration::from_secs(1),
        retry_max: Duration::from_secs(30),
        parallel: 4,
        token_prefix: format!("morning-{number:04}"),
        generation: 1,
        seed: u64::from(number),
    }
}
