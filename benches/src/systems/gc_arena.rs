//! `gc-arena`: an incremental mark-sweep collector with branded pointers, by malloc.
//!
//! Caveats:
//!
//! - Pacing is the default. Paying debt is left to the program: it is done where nothing is being built, after a
//!   temporary tree or every `SLICE` operations, once there are `DEBT` objects of it. Paying smaller debts is as
//!   good with mimalloc, but up to three times as slow with glibc.
//! - The barrier covers whole objects: a store into a marked array has the whole array traced again. Dividing the
//!   array of `churn` into pieces of 16, 64 or 1024 slots made no difference to be seen, so it is one.
//! - There is no finalizer that runs after the sweep: `finalize` is a plain [`Drop`].
//! - A dead object that is weakly held is dropped, but keeps its memory until the weak reference is gone.

#![forbid(unsafe_code)]

use gc_arena::arena::{CollectionPhase, Root};
use gc_arena::barrier::unlock;
use gc_arena::lock::Lock;
use gc_arena::{Arena, Collect, Gc, GcWeak, Mutation, Rootable};

use super::{System, count_cleanup, take_cleanups};
use crate::report::{Clock, Outcome, Steps, WEAK_ROUNDS, mark_figures, median_collection, timed, weak_figures};
use crate::rng::XorShift64;
use crate::workload::{
    Length, PAUSE_SLOTS, PAUSE_STEP, bt_rounds, gcbench_array, gcbench_array_check, gcbench_rounds, nodes_in,
};

/// gc-arena.
#[derive(Debug)]
pub struct GcArena;

/// Operations between two chances to pay debt.
const SLICE: usize = 4096;

/// Objects of debt that are worth a collection step.
const DEBT: f64 = 10_000.0;

/// Pays the debt if it is worth it.
fn pay<R>(arena: &mut Arena<R>)
where
    R: for<'a> Rootable<'a>,
    for<'a> Root<'a, R>: Collect<'a>,
{
    if arena.metrics().allocation_debt() >= DEBT {
        arena.collect_debt();
    }
}

#[derive(Collect)]
#[collect(no_drop)]
struct Tree<'gc> {
    left: Option<Gc<'gc, Tree<'gc>>>,
    right: Option<Gc<'gc, Tree<'gc>>>,
}

impl<'gc> Tree<'gc> {
    fn bottom_up(mc: &Mutation<'gc>, depth: u32) -> Gc<'gc, Tree<'gc>> {
        if depth == 0 {
            return Gc::new(mc, Tree { left: None, right: None });
        }
        let left = Some(Tree::bottom_up(mc, depth - 1));
        let right = Some(Tree::bottom_up(mc, depth - 1));
        Gc::new(mc, Tree { left, right })
    }

    fn count(&self) -> u64 {
        1 + self.left.map_or(0, |tree| tree.count()) + self.right.map_or(0, |tree| tree.count())
    }
}

#[derive(Collect, Default)]
#[collect(no_drop)]
struct Node<'gc> {
    left: Lock<Option<Gc<'gc, Node<'gc>>>>,
    right: Lock<Option<Gc<'gc, Node<'gc>>>>,
    _integers: [i32; 2],
}

impl<'gc> Node<'gc> {
    fn bottom_up(mc: &Mutation<'gc>, depth: u32) -> Gc<'gc, Node<'gc>> {
        if depth == 0 {
            return Gc::new(mc, Node::default());
        }
        let left = Lock::new(Some(Node::bottom_up(mc, depth - 1)));
        let right = Lock::new(Some(Node::bottom_up(mc, depth - 1)));
        Gc::new(mc, Node { left, right, _integers: [0; 2] })
    }

    fn top_down(mc: &Mutation<'gc>, depth: u32) -> Gc<'gc, Node<'gc>> {
        let root = Gc::new(mc, Node::default());
        Node::populate(mc, root, depth);
        root
    }

    fn populate(mc: &Mutation<'gc>, node: Gc<'gc, Node<'gc>>, depth: u32) {
        if depth > 0 {
            let left = Gc::new(mc, Node::default());
            let right = Gc::new(mc, Node::default());
            let write = Gc::write(mc, node);
            unlock!(write, Node, left).set(Some(left));
            unlock!(write, Node, right).set(Some(right));
            Node::populate(mc, left, depth - 1);
            Node::populate(mc, right, depth - 1);
        }
    }

    fn count(&self) -> u64 {
        1 + self.left.get().map_or(0, |node| node.count()) + self.right.get().map_or(0, |node| node.count())
    }
}

#[derive(Collect)]
#[collect(no_drop)]
struct LongLived<'gc> {
    tree: Option<Gc<'gc, Node<'gc>>>,
    array: Gc<'gc, Vec<f64>>,
}

#[derive(Collect)]
#[collect(no_drop)]
struct Vertex<'gc> {
    edges: Lock<[Option<Gc<'gc, Vertex<'gc>>>; 4]>,
    id: u64,
}

#[derive(Collect)]
#[collect(require_static)]
struct Slot {
    _link: u64,
    payload: u64,
}

/// What `pause` holds.
#[derive(Collect)]
#[collect(no_drop)]
struct Beside<'gc> {
    first: Gc<'gc, Vertex<'gc>>,
    slots: Slots<'gc>,
}

type Slots<'gc> = Gc<'gc, Vec<Lock<Gc<'gc, Slot>>>>;

#[derive(Collect)]
#[collect(no_drop)]
struct Link<'gc> {
    value: u64,
    next: Lock<Option<Gc<'gc, Link<'gc>>>>,
}

#[derive(Collect, Default)]
#[collect(no_drop)]
struct Queue<'gc> {
    head: Option<Gc<'gc, Link<'gc>>>,
    tail: Option<Gc<'gc, Link<'gc>>>,
}

impl<'gc> Queue<'gc> {
    fn push(&mut self, mc: &Mutation<'gc>, value: u64) {
        let node = Gc::new(mc, Link { value, next: Lock::new(None) });
        match self.tail.replace(node) {
            Some(last) => unlock!(Gc::write(mc, last), Link, next).set(Some(node)),
            None => self.head = Some(node),
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let first = self.head?;
        self.head = first.next.get();
        Some(first.value)
    }
}

#[derive(Collect)]
#[collect(require_static)]
struct Object {
    id: u64,
}

#[derive(Collect, Default)]
#[collect(no_drop)]
struct Weaks<'gc> {
    all: Vec<Gc<'gc, Object>>,
    kept: Vec<Gc<'gc, Object>>,
    weak: Vec<GcWeak<'gc, Object>>,
}

#[derive(Collect)]
#[collect(require_static)]
struct Cleaned {
    _id: u64,
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        count_cleanup();
    }
}

/// The graph of `mark`.
fn graph<'gc>(mc: &Mutation<'gc>, nodes: usize) -> Gc<'gc, Vertex<'gc>> {
    let all: Vec<_> = (0..nodes as u64).map(|id| Gc::new(mc, Vertex { edges: Lock::new([None; 4]), id })).collect();
    let mut rng = XorShift64::new();
    for (i, &node) in all.iter().enumerate() {
        let mut edge = || Some(all[rng.below(nodes)]);
        let edges = [Some(all[(i + 1) % nodes]), edge(), edge(), edge()];
        unlock!(Gc::write(mc, node), Vertex, edges).set(edges);
    }
    all[0]
}

fn graph_check<'gc>(first: Gc<'gc, Vertex<'gc>>) -> u64 {
    let mut sum = 0_u64;
    let mut node = first;
    loop {
        let edges = node.edges.get();
        let id = |edge: usize| edges[edge].map_or(0, |node| node.id);
        sum = sum.wrapping_add(node.id + id(1) + 2 * id(2) + 3 * id(3));
        match edges[0] {
            Some(next) if !Gc::ptr_eq(next, first) => node = next,
            _ => break sum,
        }
    }
}

/// The slots of `churn`.
fn slots<'gc>(mc: &Mutation<'gc>, slots: usize) -> Slots<'gc> {
    let slot = |payload| Lock::new(Gc::new(mc, Slot { _link: 0, payload }));
    Gc::new(mc, (0..slots as u64).map(slot).collect())
}

/// One step of `churn`: what it sees.
#[inline]
fn churn<'gc>(mc: &Mutation<'gc>, array: Slots<'gc>, rng: &mut XorShift64, sequence: &mut u64) -> u64 {
    let slots = array.len();
    let (a, b) = (rng.below(slots), rng.below(slots));
    let link = array[b].get().payload;
    let fresh = Gc::new(mc, Slot { _link: link, payload: *sequence });
    *sequence += 1;
    Gc::write(mc, array)[a].unlock().set(fresh);
    array[rng.below(slots)].get().payload
}

impl System for GcArena {
    fn name(&self) -> &'static str {
        "gc-arena"
    }

    fn package(&self) -> Option<&'static str> {
        Some("gc-arena")
    }

    fn bt(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        let mut arena = Arena::<Rootable![Option<Gc<'_, Tree<'_>>>]>::new(|_| None);
        let mut check = arena.mutate(|mc, _| Tree::bottom_up(mc, depth + 1).count());
        pay(&mut arena);
        arena.mutate_root(|mc, root| *root = Some(Tree::bottom_up(mc, depth)));
        for (d, trees) in bt_rounds(depth) {
            for _ in 0..trees {
                check += arena.mutate(|mc, _| Tree::bottom_up(mc, d).count());
                pay(&mut arena);
            }
        }
        check += arena.mutate(|_, root| root.map_or(0, |tree| tree.count()));
        Ok(clock.stop(check))
    }

    fn gcbench(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        let mut arena =
            Arena::<Rootable![LongLived<'_>]>::new(|mc| LongLived { tree: None, array: Gc::new(mc, Vec::new()) });
        arena.mutate(|mc, _| _ = Node::bottom_up(mc, depth));
        pay(&mut arena);
        let mut check = 1;
        arena.mutate_root(|mc, root| {
            root.tree = Some(Node::top_down(mc, depth - 2));
            root.array = Gc::new(mc, gcbench_array());
        });
        for (d, trees) in gcbench_rounds(depth) {
            for _ in 0..trees {
                arena.mutate(|mc, _| _ = Node::top_down(mc, d));
                pay(&mut arena);
                check += 1;
            }
            for _ in 0..trees {
                arena.mutate(|mc, _| _ = Node::bottom_up(mc, d));
                pay(&mut arena);
                check += 1;
            }
        }
        check += arena.mutate(|_, root| root.tree.map_or(0, |tree| tree.count()) + gcbench_array_check(&root.array));
        Ok(clock.stop(check))
    }

    fn pause(&self, mebibytes: usize, length: Length) -> Outcome {
        let clock = Clock::start();
        let mut arena = Arena::<Rootable![Beside<'_>]>::new(|mc| Beside {
            first: graph(mc, nodes_in(mebibytes)),
            slots: slots(mc, PAUSE_SLOTS),
        });
        // What building has left to be done is no part of the steps.
        arena.finish_cycle();
        let mut rng = XorShift64::new();
        let mut sum = 0_u64;
        let mut sequence = PAUSE_SLOTS as u64;
        let mut steps = Steps::begin(length);
        loop {
            arena.mutate(|mc, root| {
                let slots = root.slots;
                for _ in 0..PAUSE_STEP {
                    sum = sum.wrapping_add(churn(mc, slots, &mut rng, &mut sequence));
                }
            });
            // The smallest debts make the shortest steps.
            arena.collect_debt();
            if !steps.goes_on() {
                break;
            }
        }
        let check = arena.mutate(|_, root| graph_check(root.first));
        Ok(steps.figures(clock.stop(check), sum))
    }

    fn mark(&self, nodes: usize) -> Outcome {
        let clock = Clock::start();
        let mut arena = Arena::<Rootable![Gc<'_, Vertex<'_>>]>::new(|mc| graph(mc, nodes));
        let median = median_collection(|| arena.finish_cycle());
        let check = arena.mutate(|_, &first| graph_check(first));
        Ok(mark_figures(clock.stop(check), nodes, median))
    }

    fn churn(&self, slots: usize, steps: u64) -> Outcome {
        let clock = Clock::start();
        let mut rng = XorShift64::new();
        let mut sum = 0;
        let mut arena = Arena::<Rootable![Slots<'_>]>::new(|mc| self::slots(mc, slots));
        let mut sequence = slots as u64;
        let end = sequence + steps;
        while sequence < end {
            sum += arena.mutate(|mc, root| {
                let mut sum = 0;
                for _ in 0..SLICE.min((end - sequence) as usize) {
                    sum += churn(mc, *root, &mut rng, &mut sequence);
                }
                sum
            });
            pay(&mut arena);
        }
        Ok(clock.stop(sum).per("ns_per_step", steps))
    }

    fn lists(&self, pushes: u64, length: u64) -> Outcome {
        let clock = Clock::start();
        let mut sum = 0;
        let mut arena = Arena::<Rootable![Queue<'_>]>::new(|_| Queue::default());
        let mut value = 0;
        while value < pushes {
            sum += arena.mutate_root(|mc, queue| {
                let mut sum = 0;
                for _ in 0..SLICE.min((pushes - value) as usize) {
                    queue.push(mc, value);
                    if value >= length {
                        sum += queue.pop().unwrap_or(0);
                    }
                    value += 1;
                }
                sum
            });
            pay(&mut arena);
        }
        sum += arena.mutate_root(|_, queue| std::iter::from_fn(|| queue.pop()).sum::<u64>());
        Ok(clock.stop(sum).per("ns_per_op", pushes))
    }

    fn weak(&self, objects: usize) -> Outcome {
        let clock = Clock::start();
        let mut arena = Arena::<Rootable![Weaks<'_>]>::new(|_| Weaks::default());
        for start in (0..objects as u64).step_by(SLICE) {
            arena.mutate_root(|mc, root| {
                let ids = start..(start + SLICE as u64).min(objects as u64);
                root.all.extend(ids.map(|id| Gc::new(mc, Object { id })));
            });
            pay(&mut arena);
        }
        let ((), made) = timed(|| {
            arena.mutate_root(|_, root| root.weak = root.all.iter().map(|&object| Gc::downgrade(object)).collect());
        });
        arena.mutate_root(|_, root| root.kept = root.all.iter().step_by(2).copied().collect());
        // A cycle that is under way would keep what it has already marked: finish it, then time a whole one.
        if arena.collection_phase() != CollectionPhase::Sleeping {
            arena.finish_cycle();
        }
        let ((), collected) = timed(|| {
            arena.mutate_root(|_, root| root.all = Vec::new());
            arena.finish_cycle();
        });
        let check = arena.mutate(|_, root| root.weak.iter().filter(|weak| weak.is_dropped()).count() as u64);
        let (seen, upgraded) = timed(|| {
            arena.mutate(|mc, root| {
                let mut seen = 0;
                for _ in 0..WEAK_ROUNDS {
                    for weak in root.weak.iter().step_by(2) {
                        seen += weak.upgrade(mc).map_or(0, |object| object.id);
                    }
                }
                seen
            })
        });
        Ok(weak_figures(clock.stop(check), objects, made + collected, upgraded, seen))
    }

    fn finalize(&self, objects: usize) -> Outcome {
        take_cleanups();
        let clock = Clock::start();
        let mut arena = Arena::<Rootable![Vec<Gc<'_, Cleaned>>]>::new(|_| Vec::new());
        for start in (0..objects as u64).step_by(SLICE) {
            arena.mutate_root(|mc, root| {
                let ids = start..(start + SLICE as u64).min(objects as u64);
                root.extend(ids.map(|id| Gc::new(mc, Cleaned { _id: id })));
            });
            pay(&mut arena);
        }
        arena.mutate_root(|_, root| *root = Vec::new());
        let mut ran = 0;
        // The first call may only finish a cycle that had already marked some of the objects.
        for _ in 0..2 {
            arena.finish_cycle();
            ran += take_cleanups();
            if ran == objects as u64 {
                break;
            }
        }
        Ok(clock.stop(ran).per("ns_each", objects as u64))
    }
}
