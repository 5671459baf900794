//! Breadth-first search over the engine itself: every state that a bounded number of faults can lead to. States are
//! reached with the fewest faults, and then by the fewest steps, so a counterexample is the simplest there is.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::canonical::{canonical, digest};
use crate::histories::deed::Deed;
use crate::histories::world::World;
use crate::histories::world::choices::{After, Scope, Step};

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) scope: Scope,
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

struct Node {
    id: usize,
    world: World,
}

/// A successor: the state, how it was reached and at what price, or why it must not be.
struct Next {
    parent: usize,
    step: Step,
    price: usize,
    outcome: Result<(u128, World), String>,
}

struct Search {
    bounds: Bounds,
    seen: HashSet<u128>,
    /// How each state was reached: from which, and by which step.
    paths: Vec<Option<(usize, Step)>>,
    found: Found,
}

/// Explores everything, or panics with the simplest way to a broken invariant.
pub(super) fn explore(start: World, bounds: Bounds) -> Found {
    let mut search = Search { bounds, seen: HashSet::new(), paths: vec![None], found: Found::default() };
    search.seen.insert(identity(&start));
    let mut by_faults: Vec<Vec<Node>> = (0..=bounds.faults).map(|_| Vec::new()).collect();
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
struct Tale {
    from: usize,
    last: Step,
    why: String,
}

impl Search {
    /// Takes a successor into the books, if it is new.
    fn take(&mut self, next: Next) -> Result<Option<(usize, Node)>, Tale> {
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
        assert!(id < self.bounds.states, "more than {id} states; one of them: {}", spelt(&world));
        Ok(Some((next.price, Node { id, world })))
    }

    /// The whole way from the start, one line per step.
    fn tell(&self, mut world: World, tale: Tale) -> String {
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
            world.take_step(step);
            writeln!(text, "  {before}\n      {}", world.situation()).unwrap();
        }
        text + "  " + &world.describe(last)
    }
}

fn spelt(world: &World) -> String {
    canonical(&format!("{:?}", world.essence()), world.now())
}

fn identity(world: &World) -> u128 {
    digest(&spelt(world))
}

fn expand_all(nodes: &[Node], left: usize, bounds: &Bounds) -> Vec<Next> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = nodes.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = nodes
            .chunks(share)
            .map(|share| {
                scope.spawn(move || share.iter().flat_map(|node| expand(node, left, bounds)).collect())
            })
            .collect();
        let parts: Vec<Vec<Next>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        parts.into_iter().flatten().collect()
    })
}

/// All successors of a state.
fn expand(node: &Node, left: usize, bounds: &Bounds) -> Vec<Next> {
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
fn attempt(
    node: &Node,
    deed: &Deed,
    luck: u64,
    price: usize,
    left: usize,
    bounds: &Bounds,
    all: &mut Vec<Next>,
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
