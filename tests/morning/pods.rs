//! The pods: each asks its node for an ENI as a kubelet does, again until it gets one, and gives it back. A register of
//! all addresses in the cluster sees whether one is ever given twice.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use terway_pool::Answer;
use terway_types::{Addresses, AttachmentKey, ContainerId, IfName, NetworkName};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::account::Account;
use crate::node::{Message, Node, Want};

/// Between two tries of one pod.
const AGAIN: Duration = Duration::from_secs(2);
/// In how many steps pods spread over a time; a prime, so that neighbours are far from each other.
const STEPS: u32 = 9_973;

/// Who holds which address.
type Register = Arc<Mutex<BTreeMap<IpAddr, AttachmentKey>>>;

/// A pod that has what it needs.
struct Pod {
    place: Place,
    key: AttachmentKey,
    addresses: Addresses,
}

/// Where pods follow each other: one of the places on a node.
#[derive(Clone)]
struct Place {
    account: Arc<Account>,
    register: Register,
    node: mpsc::UnboundedSender<Message>,
    number: u32,
}

/// The pods of the cluster.
pub(crate) struct Pods {
    all: Vec<Pod>,
    /// How often they were replaced, so that no two have one name.
    round: u32,
}

impl Pods {
    /// So many pods come to each node, spread over a while.
    pub(crate) async fn arrive(account: &Arc<Account>, nodes: &[Node], each: u32, over: Duration) -> Self {
        let register = Register::default();
        let place = |node: &Node, number: u32| Place {
            account: Arc::clone(account),
            register: Arc::clone(&register),
            node: node.inbox(),
            number: node.number * each + number,
        };
        let places = nodes.iter().flat_map(|node| (0..each).map(move |number| place(node, number)));
        let comings = places.map(|place| async move {
            sleep(place.share(over, 0)).await;
            place.come(0).await
        });
        Self { all: comings.collect::<JoinSet<_>>().join_all().await, round: 0 }
    }

    /// Every pod goes, spread over a while, and another one comes to its place at once.
    pub(crate) async fn replaced(self, over: Duration) -> Self {
        let round = self.round + 1;
        let changes = self.all.into_iter().map(|pod| async move {
            let place = pod.place.clone();
            sleep(place.share(over, round)).await;
            pod.go().await;
            place.come(round).await
        });
        Self { all: changes.collect::<JoinSet<_>>().join_all().await, round }
    }

    /// All pods go.
    pub(crate) async fn leave(self) {
        self.all.into_iter().map(Pod::go).collect::<JoinSet<_>>().join_all().await;
    }
}

impl Place {
    /// This place's moment within a time, another one each round.
    fn share(&self, over: Duration, round: u32) -> Duration {
        over * ((self.number * 4_001 + round * 1_009) % STEPS) / STEPS
    }

    /// A new pod asks until it has an ENI.
    async fn come(self, round: u32) -> Pod {
        let key = AttachmentKey {
            network: NetworkName::new("terway").expect("a name"),
            container: ContainerId::new(format!("pod-{}-{round}", self.number)).expect("a name"),
            ifname: IfName::new("eth0").expect("a name"),
        };
        let begun = Instant::now();
        loop {
            if let Some(Answer::Allocated(grant)) = self.ask(Want::Eni, &key).await {
                self.account.note_ready(begun.elapsed());
                self.enter(&key, &grant.addresses);
                return Pod { place: self, key, addresses: grant.addresses };
            }
            sleep(AGAIN).await;
        }
    }

    fn enter(&self, key: &AttachmentKey, addresses: &Addresses) {
        let mut register = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses.iter() {
            let before = register.insert(address, key.clone());
            assert!(before.is_none(), "{address} was given to {key} while {before:?} has it");
        }
    }

    /// `None`: the daemon died before it answered.
    async fn ask(&self, want: Want, key: &AttachmentKey) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.node.send(Message::Ask { want, key: key.clone(), reply }).ok()?;
        answer.await.ok()
    }
}

impl Pod {
    /// The pod ends, and its node is told until it has heard.
    async fn go(self) {
        {
            let mut register = self.place.register.lock().unwrap_or_else(PoisonError::into_inner);
            self.addresses.iter().for_each(|address| drop(register.remove(&address)));
        }
        while !matches!(self.place.ask(Want::Nothing, &self.key).await, Some(Answer::Released(_))) {
            sleep(AGAIN).await;
        }
    }
}
