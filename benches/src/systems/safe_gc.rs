//! `safe-gc`: a mark-sweep collector without unsafe code, on typed vectors.
//!
//! Caveats:
//!
//! - References are indices; each access names the heap, looks the type up in a hash table and checks the bounds.
//! - Collections are automatic, when the vector of a type is full.
//! - An object that is referenced by nothing but the value being allocated can be collected by that allocation, so
//!   children are held by roots until their parent exists.
//! - No weak references, and a stale reference may come to name another object. `finalize` is a plain [`Drop`].

#![forbid(unsafe_code)]

use safe_gc::{Collector, Gc, Heap, Root, Trace};

use super::{System, count_cleanup, take_cleanups};
use crate::report::{Clock, Outcome, Steps, mark_figures, median_collection};
use crate::rng::XorShift64;
use crate::workload::{
    Length, PAUSE_SLOTS, PAUSE_STEP, bt_rounds, gcbench_array, gcbench_array_check, gcbench_rounds, nodes_in,
};

/// safe-gc.
#[derive(Debug)]
pub struct SafeGc;

/// A node of `bt`, or with `INTEGERS` of `gcbench`.
struct Tree<const INTEGERS: usize> {
    left: Option<Gc<Self>>,
    right: Option<Gc<Self>>,
    _integers: [i32; INTEGERS],
}

impl<const INTEGERS: usize> Trace for Tree<INTEGERS> {
    fn trace(&self, collector: &mut Collector) {
        if let Some(left) = self.left {
            collector.edge(left);
        }
        if let Some(right) = self.right {
            collector.edge(right);
        }
    }
}

impl<const INTEGERS: usize> Tree<INTEGERS> {
    const LEAF: Self = Tree { left: None, right: None, _integers: [0; INTEGERS] };

    fn bottom_up(heap: &mut Heap, depth: u32) -> Root<Self> {
        if depth == 0 {
            return heap.alloc(Self::LEAF);
        }
        let left = Self::bottom_up(heap, depth - 1);
        let right = Self::bottom_up(heap, depth - 1);
        heap.alloc(Tree { left: Some(left.unrooted()), right: Some(right.unrooted()), _integers: [0; INTEGERS] })
    }

    fn top_down(heap: &mut Heap, depth: u32) -> Root<Self> {
        let root = heap.alloc(Self::LEAF);
        Self::populate(heap, root.unrooted(), depth);
        root
    }

    /// `node` is reachable from the root of the tree.
    fn populate(heap: &mut Heap, node: Gc<Self>, depth: u32) {
        if depth > 0 {
            let left = heap.alloc(Self::LEAF).unrooted();
            heap[node].left = Some(left);
            let right = heap.alloc(Self::LEAF).unrooted();
            heap[node].right = Some(right);
            Self::populate(heap, left, depth - 1);
            Self::populate(heap, right, depth - 1);
        }
    }

    fn count(heap: &Heap, tree: Gc<Self>) -> u64 {
        let tree = &heap[tree];
        1 + tree.left.map_or(0, |tree| Self::count(heap, tree)) + tree.right.map_or(0, |tree| Self::count(heap, tree))
    }
}

struct Doubles {
    values: Vec<f64>,
}

impl Trace for Doubles {
    fn trace(&self, _collector: &mut Collector) {}
}

struct Vertex {
    edges: Option<[Gc<Vertex>; 4]>,
    id: u64,
}

impl Trace for Vertex {
    fn trace(&self, collector: &mut Collector) {
        for &edge in self.edges.iter().flatten() {
            collector.edge(edge);
        }
    }
}

struct Slot {
    _link: u64,
    payload: u64,
}

impl Trace for Slot {
    fn trace(&self, _collector: &mut Collector) {}
}

struct Slots(Vec<Gc<Slot>>);

impl Trace for Slots {
    fn trace(&self, collector: &mut Collector) {
        for &slot in &self.0 {
            collector.edge(slot);
        }
    }
}

struct Link {
    value: u64,
    next: Option<Gc<Link>>,
}

impl Trace for Link {
    fn trace(&self, collector: &mut Collector) {
        if let Some(next) = self.next {
            collector.edge(next);
        }
    }
}

struct Cleaned {
    _id: u64,
}

impl Trace for Cleaned {
    fn trace(&self, _collector: &mut Collector) {}
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        count_cleanup();
    }
}

struct AllCleaned(Vec<Gc<Cleaned>>);

impl Trace for AllCleaned {
    fn trace(&self, collector: &mut Collector) {
        for &object in &self.0 {
            collector.edge(object);
        }
    }
}

/// The graph of `mark`.
fn graph(heap: &mut Heap, nodes: usize) -> Root<Vertex> {
    let all: Vec<_> = (0..nodes as u64).map(|id| heap.alloc(Vertex { edges: None, id })).collect();
    let mut rng = XorShift64::new();
    for (i, node) in all.iter().enumerate() {
        let mut edge = || all[rng.below(nodes)].unrooted();
        heap[node].edges = Some([all[(i + 1) % nodes].unrooted(), edge(), edge(), edge()]);
    }
    all[0].clone()
}

fn graph_check(heap: &Heap, first: &Root<Vertex>) -> u64 {
    let mut sum = 0_u64;
    let mut node = &heap[first];
    while let Some([next, a, b, c]) = node.edges {
        sum = sum.wrapping_add(node.id + heap[a].id + 2 * heap[b].id + 3 * heap[c].id);
        if next == *first {
            break;
        }
        node = &heap[next];
    }
    sum
}

/// The state of `churn`.
struct Churn {
    rng: XorShift64,
    array: Root<Slots>,
    sequence: u64,
    sum: u64,
}

impl Churn {
    fn new(heap: &mut Heap, slots: usize) -> Churn {
        let array = heap.alloc(Slots(Vec::with_capacity(slots)));
        for payload in 0..slots as u64 {
            let slot = heap.alloc(Slot { _link: 0, payload }).unrooted();
            heap[&array].0.push(slot);
        }
        Churn { rng: XorShift64::new(), array, sequence: slots as u64, sum: 0 }
    }

    fn run(&mut self, heap: &mut Heap, steps: u64) {
        let Churn { rng, array, sequence, sum } = self;
        let array = &*array;
        let slots = heap[array].0.len();
        for _ in 0..steps {
            let (a, b) = (rng.below(slots), rng.below(slots));
            let link = heap[heap[array].0[b]].payload;
            let fresh = heap.alloc(Slot { _link: link, payload: *sequence }).unrooted();
            *sequence += 1;
            heap[array].0[a] = fresh;
            *sum = sum.wrapping_add(heap[heap[array].0[rng.below(slots)]].payload);
        }
    }
}

impl System for SafeGc {
    fn name(&self) -> &'static str {
        "safe-gc"
    }

    fn package(&self) -> Option<&'static str> {
        Some("safe-gc")
    }

    fn malloc_based(&self) -> bool {
        false
    }

    fn bt(&self, depth: u32) -> Outcome {
        type Tree = super::safe_gc::Tree<0>;
        let clock = Clock::start();
        let heap = &mut Heap::new();
        let stretch = Tree::bottom_up(heap, depth + 1);
        let mut check = Tree::count(heap, stretch.unrooted());
        drop(stretch);
        let long_lived = Tree::bottom_up(heap, depth);
        for (d, trees) in bt_rounds(depth) {
            for _ in 0..trees {
                let tree = Tree::bottom_up(heap, d);
                check += Tree::count(heap, tree.unrooted());
            }
        }
        check += Tree::count(heap, long_lived.unrooted());
        Ok(clock.stop(check))
    }

    fn gcbench(&self, depth: u32) -> Outcome {
        type Node = Tree<2>;
        let clock = Clock::start();
        let heap = &mut Heap::new();
        drop(Node::bottom_up(heap, depth));
        let mut check = 1;
        let long_lived = Node::top_down(heap, depth - 2);
        let array = heap.alloc(Doubles { values: gcbench_array() });
        for (d, trees) in gcbench_rounds(depth) {
            for _ in 0..trees {
                drop(Node::top_down(heap, d));
                check += 1;
            }
            for _ in 0..trees {
                drop(Node::bottom_up(heap, d));
                check += 1;
            }
        }
        check += Node::count(heap, long_lived.unrooted()) + gcbench_array_check(&heap[&array].values);
        Ok(clock.stop(check))
    }

    fn mark(&self, nodes: usize) -> Outcome {
        let clock = Clock::start();
        let heap = &mut Heap::new();
        let first = graph(heap, nodes);
        let median = median_collection(|| heap.gc());
        let sum = graph_check(heap, &first);
        Ok(mark_figures(clock.stop(sum), nodes, median))
    }

    fn churn(&self, slots: usize, steps: u64) -> Outcome {
        let clock = Clock::start();
        let heap = &mut Heap::new();
        let mut churn = Churn::new(heap, slots);
        churn.run(heap, steps);
        Ok(clock.stop(churn.sum).per("ns_per_step", steps))
    }

    fn pause(&self, mebibytes: usize, length: Length) -> Outcome {
        let clock = Clock::start();
        let heap = &mut Heap::new();
        let first = graph(heap, nodes_in(mebibytes));
        let mut churn = Churn::new(heap, PAUSE_SLOTS);
        // What building has left to be done is no part of the steps.
        heap.gc();
        let mut steps = Steps::begin(length);
        loop {
            churn.run(heap, PAUSE_STEP as u64);
            if !steps.goes_on() {
                break;
            }
        }
        Ok(steps.figures(clock.stop(graph_check(heap, &first)), churn.sum))
    }

    fn lists(&self, pushes: u64, length: u64) -> Outcome {
        let clock = Clock::start();
        let heap = &mut Heap::new();
        let mut sum = 0;
        let mut head: Option<Root<Link>> = None;
        let mut tail: Option<Root<Link>> = None;
        for value in 0..pushes {
            let node = heap.alloc(Link { value, next: None });
            match tail.replace(node.clone()) {
                Some(last) => heap[last].next = Some(node.unrooted()),
                None => head = Some(node),
            }
            if value >= length {
                sum += pop(heap, &mut head);
            }
        }
        drop(tail);
        while head.is_some() {
            sum += pop(heap, &mut head);
        }
        Ok(clock.stop(sum).per("ns_per_op", pushes))
    }

    fn finalize(&self, objects: usize) -> Outcome {
        take_cleanups();
        let clock = Clock::start();
        let heap = &mut Heap::new();
        let all = heap.alloc(AllCleaned(Vec::with_capacity(objects)));
        for id in 0..objects as u64 {
            let object = heap.alloc(Cleaned { _id: id }).unrooted();
            heap[&all].0.push(object);
        }
        drop(all);
        heap.gc();
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }
}

/// Takes the first value off the queue, zero if there is none.
fn pop(heap: &Heap, head: &mut Option<Root<Link>>) -> u64 {
    let Some(first) = head.take() else { return 0 };
    let first = &heap[first];
    *head = first.next.map(|next| heap.root(next));
    first.value
}
