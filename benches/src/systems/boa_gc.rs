//! `boa_gc`: the collector of the Boa JavaScript engine, mark-sweep by malloc.
//!
//! Caveats:
//!
//! - Collections are automatic, from inside allocation, and cannot be tuned. Handles are counted: making, cloning and
//!   dropping one costs a write to the object. Roots are found before each collection by counting the handles within
//!   the heap.
//! - A weak reference is an ephemeron, allocated separately.
//! - Finalizers run between two markings, while the object still exists.

#![forbid(unsafe_code)]

use std::cell::OnceCell;

use boa_gc::{Finalize, Gc, GcRefCell, Trace, WeakGc, WeakMap, force_collect};

use super::{System, count_cleanup, take_cleanups};
use crate::report::{
    Clock, Outcome, Steps, WEAK_ROUNDS, ephemeron_figures, mark_figures, median_collection, timed, weak_figures,
};
use crate::rng::XorShift64;
use crate::workload::{
    Length, Order, PAUSE_SLOTS, PAUSE_STEP, bt_rounds, gcbench_array, gcbench_array_check, gcbench_rounds, nodes_in,
};

/// boa_gc.
#[derive(Debug)]
pub struct BoaGc;

#[derive(Trace, Finalize)]
struct Tree {
    left: Option<Gc<Tree>>,
    right: Option<Gc<Tree>>,
}

impl Tree {
    fn bottom_up(depth: u32) -> Gc<Tree> {
        if depth == 0 {
            return Gc::new(Tree { left: None, right: None });
        }
        let left = Some(Tree::bottom_up(depth - 1));
        let right = Some(Tree::bottom_up(depth - 1));
        Gc::new(Tree { left, right })
    }

    fn count(&self) -> u64 {
        1 + self.left.as_ref().map_or(0, |tree| tree.count()) + self.right.as_ref().map_or(0, |tree| tree.count())
    }
}

#[derive(Trace, Finalize, Default)]
struct Node {
    left: OnceCell<Gc<Node>>,
    right: OnceCell<Gc<Node>>,
    #[unsafe_ignore_trace]
    _integers: [i32; 2],
}

impl Node {
    fn bottom_up(depth: u32) -> Gc<Node> {
        let node = Node::default();
        if depth > 0 {
            _ = node.left.set(Node::bottom_up(depth - 1));
            _ = node.right.set(Node::bottom_up(depth - 1));
        }
        Gc::new(node)
    }

    fn top_down(depth: u32) -> Gc<Node> {
        let root = Gc::default();
        Node::populate(&root, depth);
        root
    }

    fn populate(node: &Node, depth: u32) {
        if depth > 0 {
            let left = node.left.get_or_init(Gc::default);
            let right = node.right.get_or_init(Gc::default);
            Node::populate(left, depth - 1);
            Node::populate(right, depth - 1);
        }
    }

    fn count(&self) -> u64 {
        1 + self.left.get().map_or(0, |node| node.count()) + self.right.get().map_or(0, |node| node.count())
    }
}

#[derive(Trace, Finalize)]
struct Doubles {
    #[unsafe_ignore_trace]
    values: Vec<f64>,
}

#[derive(Trace, Finalize)]
struct Vertex {
    edges: OnceCell<[Gc<Vertex>; 4]>,
    id: u64,
}

#[derive(Trace, Finalize)]
struct Slot {
    _link: u64,
    payload: u64,
}

#[derive(Trace, Finalize)]
struct Link {
    value: u64,
    next: OnceCell<Gc<Link>>,
}

#[derive(Trace, Finalize)]
struct Object {
    id: u64,
}

#[derive(Trace)]
struct Cleaned {
    _id: u64,
}

impl Finalize for Cleaned {
    fn finalize(&self) {
        count_cleanup();
    }
}

/// The graph of `mark`.
fn graph(nodes: usize) -> Gc<Vertex> {
    let all: Vec<_> = (0..nodes as u64).map(|id| Gc::new(Vertex { edges: OnceCell::new(), id })).collect();
    let mut rng = XorShift64::new();
    for (i, node) in all.iter().enumerate() {
        let mut edge = || all[rng.below(nodes)].clone();
        _ = node.edges.set([all[(i + 1) % nodes].clone(), edge(), edge(), edge()]);
    }
    all[0].clone()
}

fn graph_check(first: &Gc<Vertex>) -> u64 {
    let mut sum = 0_u64;
    let mut node: &Gc<Vertex> = first;
    while let Some([next, a, b, c]) = node.edges.get() {
        sum = sum.wrapping_add(node.id + a.id + 2 * b.id + 3 * c.id);
        if Gc::ptr_eq(next, first) {
            break;
        }
        node = next;
    }
    sum
}

/// The state of `churn`.
struct Churn {
    rng: XorShift64,
    array: Gc<GcRefCell<Vec<Gc<Slot>>>>,
    sequence: u64,
    sum: u64,
}

impl Churn {
    fn new(slots: usize) -> Churn {
        let initial = (0..slots as u64).map(|payload| Gc::new(Slot { _link: 0, payload })).collect();
        Churn { rng: XorShift64::new(), array: Gc::new(GcRefCell::new(initial)), sequence: slots as u64, sum: 0 }
    }

    fn run(&mut self, steps: u64) {
        let array = self.array.clone();
        let slots = array.borrow().len();
        for _ in 0..steps {
            let (a, b) = (self.rng.below(slots), self.rng.below(slots));
            let link = array.borrow()[b].payload;
            let fresh = Gc::new(Slot { _link: link, payload: self.sequence });
            self.sequence += 1;
            array.borrow_mut()[a] = fresh;
            self.sum = self.sum.wrapping_add(array.borrow()[self.rng.below(slots)].payload);
        }
    }
}

impl System for BoaGc {
    fn name(&self) -> &'static str {
        "boa_gc"
    }

    fn package(&self) -> Option<&'static str> {
        Some("boa_gc")
    }

    fn bt(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        let mut check = Tree::bottom_up(depth + 1).count();
        let long_lived = Tree::bottom_up(depth);
        for (d, trees) in bt_rounds(depth) {
            for _ in 0..trees {
                check += Tree::bottom_up(d).count();
            }
        }
        check += long_lived.count();
        Ok(clock.stop(check))
    }

    fn gcbench(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        drop(Node::bottom_up(depth));
        let mut check = 1;
        let long_lived = Node::top_down(depth - 2);
        let array = Gc::new(Doubles { values: gcbench_array() });
        for (d, trees) in gcbench_rounds(depth) {
            for _ in 0..trees {
                drop(Node::top_down(d));
                check += 1;
            }
            for _ in 0..trees {
                drop(Node::bottom_up(d));
                check += 1;
            }
        }
        check += long_lived.count() + gcbench_array_check(&array.values);
        Ok(clock.stop(check))
    }

    fn mark(&self, nodes: usize) -> Outcome {
        let clock = Clock::start();
        let first = graph(nodes);
        let median = median_collection(force_collect);
        let sum = graph_check(&first);
        Ok(mark_figures(clock.stop(sum), nodes, median))
    }

    fn churn(&self, slots: usize, steps: u64) -> Outcome {
        let clock = Clock::start();
        let mut churn = Churn::new(slots);
        churn.run(steps);
        Ok(clock.stop(churn.sum).per("ns_per_step", steps))
    }

    fn pause(&self, mebibytes: usize, length: Length) -> Outcome {
        let clock = Clock::start();
        let first = graph(nodes_in(mebibytes));
        let mut churn = Churn::new(PAUSE_SLOTS);
        // What building has left to be done is no part of the steps.
        force_collect();
        let mut steps = Steps::begin(length);
        loop {
            churn.run(PAUSE_STEP as u64);
            if !steps.goes_on() {
                break;
            }
        }
        Ok(steps.figures(clock.stop(graph_check(&first)), churn.sum))
    }

    fn lists(&self, pushes: u64, length: u64) -> Outcome {
        let clock = Clock::start();
        let mut sum = 0;
        let mut head: Option<Gc<Link>> = None;
        let mut tail: Option<Gc<Link>> = None;
        for value in 0..pushes {
            let node = Gc::new(Link { value, next: OnceCell::new() });
            match tail.replace(node.clone()) {
                Some(last) => _ = last.next.set(node),
                None => head = Some(node),
            }
            if value >= length {
                sum += pop(&mut head);
            }
        }
        drop(tail);
        while head.is_some() {
            sum += pop(&mut head);
        }
        Ok(clock.stop(sum).per("ns_per_op", pushes))
    }

    fn weak(&self, objects: usize) -> Outcome {
        let clock = Clock::start();
        let all: Vec<Gc<Object>> = (0..objects as u64).map(|id| Gc::new(Object { id })).collect();
        let (weaks, made) = timed(|| Gc::new(all.iter().map(WeakGc::new).collect::<Vec<_>>()));
        let kept: Gc<Vec<Gc<Object>>> = Gc::new(all.iter().step_by(2).cloned().collect());
        let ((), collected) = timed(|| {
            drop(all);
            force_collect();
        });
        let check = weaks.iter().filter(|weak| !weak.is_upgradable()).count() as u64;
        let (seen, upgraded) = timed(|| {
            let mut seen = 0;
            for _ in 0..WEAK_ROUNDS {
                for weak in weaks.iter().step_by(2) {
                    seen += weak.upgrade().map_or(0, |object| object.id);
                }
            }
            seen
        });
        drop(kept);
        Ok(weak_figures(clock.stop(check), objects, made + collected, upgraded, seen))
    }

    fn ephemeron(&self, entries: usize, order: Order) -> Outcome {
        let order = order.numbers(entries);
        let clock = Clock::start();
        let all: Vec<Gc<Object>> = (0..=entries as u64).map(|id| Gc::new(Object { id })).collect();
        let mut map = WeakMap::<Object, Gc<Object>>::new();
        for i in order {
            map.insert(&all[i], all[i + 1].clone());
        }
        let head = all[0].clone();
        let second = WeakGc::new(&all[1]);
        drop(all);
        let ((), kept) = timed(force_collect);
        let value = |key: &Gc<Object>| Some(map.get(key)?.value()?.clone());
        let sum = std::iter::successors(value(&head), value).map(|object| object.id).sum();
        drop(head);
        let ((), cleared) = timed(force_collect);
        let left = usize::from(second.is_upgradable());
        Ok(ephemeron_figures(clock.stop(sum), kept, cleared, left))
    }

    fn finalize(&self, objects: usize) -> Outcome {
        take_cleanups();
        let clock = Clock::start();
        let all: Gc<Vec<Gc<Cleaned>>> = Gc::new((0..objects as u64).map(|id| Gc::new(Cleaned { _id: id })).collect());
        drop(all);
        force_collect();
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }
}

/// Takes the first value off the queue, zero if there is none.
fn pop(head: &mut Option<Gc<Link>>) -> u64 {
    let Some(first) = head.take() else { return 0 };
    *head = first.next.get().cloned();
    first.value
}
