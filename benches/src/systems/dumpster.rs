//! `dumpster`: reference counting with a cycle collector, the `unsync` (single-threaded) variant.
//!
//! Caveats:
//!
//! - What is in no cycle is freed at once by its count. A collection looks only at objects that a reference to was
//!   dropped since the last one, and what they reach; there is no full collection as such. For `mark`, a reference to
//!   node 0 is dropped before each forced collection, from which it then has to trace everything.
//! - Tracing is recursive: a long list needs a deep stack. The driver gives it one for `mark` and `lists`, which would
//!   crash without; that means a second thread, in which glibc's malloc is slower.
//! - No weak references. `finalize` is a plain [`Drop`].

#![forbid(unsafe_code)]

use std::cell::{OnceCell, RefCell};

use dumpster::Trace;
use dumpster::unsync::{Gc, collect};

use super::{System, count_cleanup, take_cleanups};
use crate::report::{Clock, Outcome, Steps, mark_figures, median_collection};
use crate::rng::XorShift64;
use crate::workload::{
    Length, PAUSE_SLOTS, PAUSE_STEP, Workload, bt_rounds, gcbench_array, gcbench_array_check, gcbench_rounds, nodes_in,
};

/// dumpster.
#[derive(Debug)]
pub struct Dumpster;

#[derive(Trace)]
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

#[derive(Trace, Default)]
struct Node {
    left: OnceCell<Gc<Node>>,
    right: OnceCell<Gc<Node>>,
    _integers: (i32, i32),
}

impl Node {
    fn leaf() -> Gc<Node> {
        Gc::new(Node::default())
    }

    fn bottom_up(depth: u32) -> Gc<Node> {
        let node = Node::default();
        if depth > 0 {
            _ = node.left.set(Node::bottom_up(depth - 1));
            _ = node.right.set(Node::bottom_up(depth - 1));
        }
        Gc::new(node)
    }

    fn top_down(depth: u32) -> Gc<Node> {
        let root = Node::leaf();
        Node::populate(&root, depth);
        root
    }

    fn populate(node: &Node, depth: u32) {
        if depth > 0 {
            let left = node.left.get_or_init(Node::leaf);
            let right = node.right.get_or_init(Node::leaf);
            Node::populate(left, depth - 1);
            Node::populate(right, depth - 1);
        }
    }

    fn count(&self) -> u64 {
        1 + self.left.get().map_or(0, |node| node.count()) + self.right.get().map_or(0, |node| node.count())
    }
}

#[derive(Trace)]
struct Vertex {
    edges: OnceCell<[Gc<Vertex>; 4]>,
    id: u64,
}

#[derive(Trace)]
struct Slot {
    _link: u64,
    payload: u64,
}

#[derive(Trace)]
struct Link {
    value: u64,
    next: OnceCell<Gc<Link>>,
}

#[derive(Trace)]
struct Cleaned {
    _id: u64,
}

impl Drop for Cleaned {
    fn drop(&mut self) {
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
    array: Gc<RefCell<Vec<Gc<Slot>>>>,
    sequence: u64,
    sum: u64,
}

impl Churn {
    fn new(slots: usize) -> Churn {
        let initial = (0..slots as u64).map(|payload| Gc::new(Slot { _link: 0, payload })).collect();
        Churn { rng: XorShift64::new(), array: Gc::new(RefCell::new(initial)), sequence: slots as u64, sum: 0 }
    }

    fn run(&mut self, steps: u64) {
        let array = self.array.clone();
        let slots = array.borrow().len();
        for _ in 0..steps {
            let (a, b) = (self.rng.below(slots), self.rng.below(slots));
            let link = array.borrow()[b].payload;
            let fresh = Gc::new(Slot { _link: link, payload: self.sequence });
            self.sequence += 1;
            // The old value is dropped, which may collect, only when the array is no longer borrowed.
            let _old = std::mem::replace(&mut array.borrow_mut()[a], fresh);
            self.sum = self.sum.wrapping_add(array.borrow()[self.rng.below(slots)].payload);
        }
    }
}

impl System for Dumpster {
    fn name(&self) -> &'static str {
        "dumpster"
    }

    fn package(&self) -> Option<&'static str> {
        Some("dumpster")
    }

    fn traces_by_recursion(&self, workload: Workload) -> bool {
        matches!(workload, Workload::Mark { .. } | Workload::Pause { .. } | Workload::Lists { .. })
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
        let array = Gc::new(gcbench_array());
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
        check += long_lived.count() + gcbench_array_check(&array);
        Ok(clock.stop(check))
    }

    fn mark(&self, nodes: usize) -> Outcome {
        let clock = Clock::start();
        let first = graph(nodes);
        let median = median_collection(|| {
            drop(first.clone());
            collect();
        });
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
        collect();
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

    fn finalize(&self, objects: usize) -> Outcome {
        take_cleanups();
        let clock = Clock::start();
        let all: Gc<Vec<Gc<Cleaned>>> = Gc::new((0..objects as u64).map(|id| Gc::new(Cleaned { _id: id })).collect());
        drop(all);
        collect();
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }
}

/// Takes the first value off the queue, zero if there is none.
fn pop(head: &mut Option<Gc<Link>>) -> u64 {
    let Some(first) = head.take() else { return 0 };
    *head = first.next.get().cloned();
    first.value
}
