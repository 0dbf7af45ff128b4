//! `gc`: rust-gc, mark-sweep by malloc, with rooting by flags in the pointers.
//!
//! Caveats:
//!
//! - Collections are automatic, from inside allocation; the threshold that could be set is behind an unstable feature,
//!   so the default is used. It starts at 100 bytes and grows with the heap.
//! - Marking is recursive: a long list needs a deep stack. The driver gives it one for `mark` and `lists`, which would
//!   crash without; that means a second thread, in which glibc's malloc is slower.
//! - No weak references. Finalizers run between two markings, while the object still exists.

#![forbid(unsafe_code)]
#![expect(non_local_definitions, reason = "the derives of this old crate expand to such implementations")]

use gc::{Finalize, Gc, GcCell, Trace, force_collect};

use super::{System, count_cleanup, take_cleanups};
use crate::report::{Clock, Outcome, Steps, mark_figures, median_collection};
use crate::rng::XorShift64;
use crate::workload::{
    Length, PAUSE_SLOTS, PAUSE_STEP, Workload, bt_rounds, gcbench_array, gcbench_array_check, gcbench_rounds, nodes_in,
};

/// rust-gc.
#[derive(Debug)]
pub struct RustGc;

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

/// Both references in one cell, which saves a borrow flag.
#[derive(Trace, Finalize, Default)]
struct Node {
    children: GcCell<Option<[Gc<Node>; 2]>>,
    #[unsafe_ignore_trace]
    _integers: [i32; 2],
}

impl Node {
    fn bottom_up(depth: u32) -> Gc<Node> {
        if depth == 0 {
            return Gc::default();
        }
        let children = GcCell::new(Some([Node::bottom_up(depth - 1), Node::bottom_up(depth - 1)]));
        Gc::new(Node { children, _integers: [0; 2] })
    }

    fn top_down(depth: u32) -> Gc<Node> {
        let root = Gc::default();
        Node::populate(&root, depth);
        root
    }

    fn populate(node: &Node, depth: u32) {
        if depth > 0 {
            *node.children.borrow_mut() = Some([Gc::default(), Gc::default()]);
            if let Some([left, right]) = &*node.children.borrow() {
                Node::populate(left, depth - 1);
                Node::populate(right, depth - 1);
            }
        }
    }

    fn count(&self) -> u64 {
        let children = self.children.borrow();
        1 + children.as_ref().map_or(0, |[left, right]| left.count() + right.count())
    }
}

#[derive(Trace, Finalize)]
struct Doubles {
    #[unsafe_ignore_trace]
    values: Vec<f64>,
}

#[derive(Trace, Finalize)]
struct Vertex {
    edges: GcCell<Option<[Gc<Vertex>; 4]>>,
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
    next: GcCell<Option<Gc<Link>>>,
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
    let all: Vec<_> = (0..nodes as u64).map(|id| Gc::new(Vertex { edges: GcCell::new(None), id })).collect();
    let mut rng = XorShift64::new();
    for (i, node) in all.iter().enumerate() {
        let mut edge = || all[rng.below(nodes)].clone();
        *node.edges.borrow_mut() = Some([all[(i + 1) % nodes].clone(), edge(), edge(), edge()]);
    }
    all[0].clone()
}

fn graph_check(first: &Gc<Vertex>) -> u64 {
    let mut sum = 0_u64;
    let mut node = first.clone();
    loop {
        let next = match &*node.edges.borrow() {
            Some([next, a, b, c]) => {
                sum = sum.wrapping_add(node.id + a.id + 2 * b.id + 3 * c.id);
                next.clone()
            }
            None => break,
        };
        if Gc::ptr_eq(&next, first) {
            break;
        }
        node = next;
    }
    sum
}

impl System for RustGc {
    fn name(&self) -> &'static str {
        "gc"
    }

    fn package(&self) -> Option<&'static str> {
        Some("gc")
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

    fn pause(&self, mebibytes: usize, length: Length) -> Outcome {
        let clock = Clock::start();
        let first = graph(nodes_in(mebibytes));
        let mut array: Vec<Gc<Slot>> =
            (0..PAUSE_SLOTS as u64).map(|payload| Gc::new(Slot { _link: 0, payload })).collect();
        let mut rng = XorShift64::new();
        let mut sum = 0_u64;
        let mut sequence = PAUSE_SLOTS as u64;
        // What building has left to be done is no part of the steps.
        force_collect();
        let mut steps = Steps::begin(length);
        loop {
            for _ in 0..PAUSE_STEP {
                let (a, b) = (rng.below(PAUSE_SLOTS), rng.below(PAUSE_SLOTS));
                let link = array[b].payload;
                array[a] = Gc::new(Slot { _link: link, payload: sequence });
                sequence += 1;
                sum = sum.wrapping_add(array[rng.below(PAUSE_SLOTS)].payload);
            }
            if !steps.goes_on() {
                break;
            }
        }
        Ok(steps.figures(clock.stop(graph_check(&first)), sum))
    }

    fn churn(&self, slots: usize, steps: u64) -> Outcome {
        let clock = Clock::start();
        let mut rng = XorShift64::new();
        let mut sum = 0;
        // A vector of handles outside of the heap: in a `GcCell`, each borrow would root and unroot the whole vector.
        let mut array: Vec<Gc<Slot>> = (0..slots as u64).map(|payload| Gc::new(Slot { _link: 0, payload })).collect();
        for sequence in slots as u64..slots as u64 + steps {
            let (a, b) = (rng.below(slots), rng.below(slots));
            let link = array[b].payload;
            array[a] = Gc::new(Slot { _link: link, payload: sequence });
            sum += array[rng.below(slots)].payload;
        }
        Ok(clock.stop(sum).per("ns_per_step", steps))
    }

    fn lists(&self, pushes: u64, length: u64) -> Outcome {
        let clock = Clock::start();
        let mut sum = 0;
        let mut head: Option<Gc<Link>> = None;
        let mut tail: Option<Gc<Link>> = None;
        for value in 0..pushes {
            let node = Gc::new(Link { value, next: GcCell::new(None) });
            match tail.replace(node.clone()) {
                Some(last) => *last.next.borrow_mut() = Some(node),
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
        force_collect();
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }
}

/// Takes the first value off the queue, zero if there is none.
fn pop(head: &mut Option<Gc<Link>>) -> u64 {
    let Some(first) = head.take() else { return 0 };
    *head = first.next.borrow().clone();
    first.value
}
