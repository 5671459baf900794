//! Breadth-first search over the engine itself: every state that a bounded number of faults can lead to. States are
//! reached with the fewest faults, and then by the fewest steps, so a counterexample is the simplest there is.

use std::collections::HashSet;
use std::fmt::{Debug, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::canonical::digest;
use crate::histories::world::choices::{After, Step};

/// A world that can be searched.
pub(crate) trait Explored: Clone + Send + Sync {
    /// What may happen in it.
    type Deed: Clone + Debug + Send;
    /// What the search chooses from.
    type Scope: Copy + Send + Sync;

    /// What may happen next, and its price in faults.
    fn deeds(&self, scope: Self::Scope) -> Vec<(Self::Deed, u32)>;
    /// How many different starting points for random choices are worth trying.
    fn lucks(&self, deed: &Self::Deed) -> u64;
    /// It happens; its effects wait.
    fn begin(&mut self, deed: &Self::Deed, luck: u64);
    /// What may become of the effects that wait, and its price.
    fn afters(&self, scope: Self::Scope) -> Vec<(After, u32)>;
    fn finish(&mut self, after: After);
    /// All worlds that will behave alike are spelt alike.
    fn spelt(&self) -> String;
    fn come_to_rest(&mut self);
    /// What a step is about to do here, for whoever reads a counterexample.
    fn describe(&self, step: &Step<Self::Deed>) -> String;
    fn situation(&self) -> String;
}

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<S> {
    pub(super) scope: S,
    /// Faults on a path.
    pub(super) faults: usize,
    /// From every how many-th state everything is made to come to rest.
    pub(super) rest_every: u128,
    /// More states than expected are a defect of the search: something counts up that decides nothing.
    pub(super) states: usize,
}

/// What a search saw.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// The longest way to a state, counted from the last fault.
    pub(super) depth: usize,
}

struct Node<W> {
    id: usize,
    world: W,
}

/// A state that was not seen before, with its price.
type New<W> = (usize, Node<W>);

/// A successor: the state, how it was reached and at what price, or why it must not be.
struct Next<W: Explored> {
    parent: usize,
    step: Step<W::Deed>,
    price: usize,
    outcome: Result<(u128, W), String>,
}

struct Search<W: Explored> {
    bounds: Bounds<W::Scope>,
    seen: HashSet<u128>,
    /// How each state was reached: from which, and by which step.
    paths: Vec<Option<(usize, Step<W::Deed>)>>,
    found: Found,
}

/// Explores everything, or panics with the simplest way to a broken invariant.
pub(super) fn explore<W: Explored>(start: W, bounds: Bounds<W::Scope>) -> Found {
    let mut search = Search { bounds, seen: HashSet::new(), paths: vec![None], found: Found::default() };
    search.seen.insert(identity(&start));
    let mut by_faults: Vec<Vec<Node<W>>> = (0..=bounds.faults).map(|_| Vec::new()).collect();
    by_faults[0].push(Node { id: 0, world: start.clone() });
    for faults in 0..=bounds.faults {
        let mut level = std::mem::take(&mut by_faults[faults]);
        let mut depth = 0;
        while !level.is_empty() {
            let left = bounds.faults - faults;
            let mut next_level = Vec::new();
            for chunk in level.chunks(4096) {
                for next in expand_all(chunk, left, &bounds) {
                    let (price, node) = match search.take(next) {
                        Ok(Some(new)) => new,
                        Ok(None) => continue,
                        Err(tale) => panic!("{}", search.tell(start, tale)),
                    };
                    if price == 0 { next_level.push(node) } else { by_faults[faults + price].push(node) }
                }
            }
            level = next_level;
            depth += 1;
        }
        search.found.depth = search.found.depth.max(depth);
    }
    search.found.states = search.paths.len();
    search.found
}

/// How a path goes on that must not.
struct Tale<D> {
    from: usize,
    last: Step<D>,
    why: String,
}

impl<W: Explored> Search<W> {
    /// Takes a successor into the books, if it is new.
    fn take(&mut self, next: Next<W>) -> Result<Option<New<W>>, Tale<W::Deed>> {
        self.found.steps += 1;
        let (digest, world) = match next.outcome {
            Ok(state) => state,
            Err(why) => return Err(Tale { from: next.parent, last: next.step, why }),
        };
        if !self.seen.insert(digest) {
            return Ok(None);
        }
        let id = self.paths.len();
        self.paths.push(Some((next.parent, next.step)));
        assert!(id < self.bounds.states, "more than {id} states; one of them: {}", world.spelt());
        Ok(Some((next.price, Node { id, world })))
    }

    /// The whole way from the start, one line per step.
    fn tell(&self, mut world: W, tale: Tale<W::Deed>) -> String {
        let mut steps = vec![tale.last];
        let mut id = tale.from;
        while let Some((parent, step)) = &self.paths[id] {
            steps.push(step.clone());
            id = *parent;
        }
        steps.reverse();
        let mut text = format!("{}\nafter {} steps:\n", tale.why, steps.len());
        let (last, before) = steps.split_last().unwrap();
        for step in before {
            let before = world.describe(step);
            world.begin(&step.deed, step.luck);
            world.finish(step.after);
            writeln!(text, "  {before}\n      {}", world.situation()).unwrap();
        }
        text + "  " + &world.describe(last)
    }
}

fn identity(world: &impl Explored) -> u128 {
    digest(&world.spelt())
}

fn expand_all<W: Explored>(nodes: &[Node<W>], left: usize, bounds: &Bounds<W::Scope>) -> Vec<Next<W>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = nodes.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = nodes
            .chunks(share)
            .map(|share| {
                scope.spawn(move || share.iter().flat_map(|node| expand(node, left, bounds)).collect())
            })
            .collect();
        let parts: Vec<Vec<Next<W>>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        parts.into_iter().flatten().collect()
    })
}

/// All successors of a state.
fn expand<W: Explored>(node: &Node<W>, left: usize, bounds: &Bounds<W::Scope>) -> Vec<Next<W>> {
    let mut all = Vec::new();
    for (deed, price) in node.world.deeds(bounds.scope) {
        if price as usize <= left {
            for luck in 0..node.world.lucks(&deed) {
                attempt(node, &deed, luck, price as usize, left, bounds, &mut all);
            }
        }
    }
    all
}

/// One deed, with everything that may become of its effects.
fn attempt<W: Explored>(
    node: &Node<W>,
    deed: &W::Deed,
    luck: u64,
    price: usize,
    left: usize,
    bounds: &Bounds<W::Scope>,
    all: &mut Vec<Next<W>>,
) {
    let mut told = node.world.clone();
    let next = |after, price, outcome| Next {
        parent: node.id,
        step: Step { deed: deed.clone(), luck, after },
        price,
        outcome,
    };
    if let Err(why) = guarded(|| told.begin(deed, luck)) {
        all.push(next(After::Lag, price, Err(why)));
        return;
    }
    let mut afters = told.afters(bounds.scope);
    afters.retain(|(_, more)| price + *more as usize <= left);
    let mut told = Some(told);
    while let Some((after, more)) = afters.pop() {
        let last = if afters.is_empty() { told.take() } else { told.clone() };
        let Some(mut world) = last else { break };
        let outcome = guarded(|| {
            world.finish(after);
            let identity = identity(&world);
            if identity.is_multiple_of(bounds.rest_every) {
                world.clone().come_to_rest();
            }
            (identity, world)
        });
        all.push(next(after, price + more as usize, outcome));
    }
}

fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}
