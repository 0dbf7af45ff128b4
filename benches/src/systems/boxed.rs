//! `box`: memory managed by hand, with [`Box`].
//!
//! The yardstick: what malloc and free cost when somebody knows when to free. Caveats:
//!
//! - It frees at once and at no cost of finding out, which no collector can; it is not a peer.
//! - A queue whose tail is at hand cannot be made of boxes without unsafe code, and a graph cannot either, so `lists`
//!   and `mark` are missing; `rc` has a queue.
//! - Trees are dropped by recursion.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::mem;

use super::{Role, System, count_cleanup, take_cleanups};
use crate::report::{Clock, Outcome, Unsupported};
use crate::rng::XorShift64;
use crate::workload::{bt_rounds, gcbench_array, gcbench_array_check, gcbench_rounds};

/// Memory managed by hand.
#[derive(Debug)]
pub struct ByHand;

struct Tree {
    left: Option<Box<Tree>>,
    right: Option<Box<Tree>>,
}

impl Tree {
    fn bottom_up(depth: u32) -> Box<Tree> {
        if depth == 0 {
            return Box::new(Tree { left: None, right: None });
        }
        let left = Some(Tree::bottom_up(depth - 1));
        let right = Some(Tree::bottom_up(depth - 1));
        Box::new(Tree { left, right })
    }

    fn count(&self) -> u64 {
        1 + self.left.as_ref().map_or(0, |tree| tree.count()) + self.right.as_ref().map_or(0, |tree| tree.count())
    }
}

#[derive(Default)]
struct Node {
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
    _integers: [i32; 2],
}

impl Node {
    fn bottom_up(depth: u32) -> Box<Node> {
        if depth == 0 {
            return Box::default();
        }
        let left = Some(Node::bottom_up(depth - 1));
        let right = Some(Node::bottom_up(depth - 1));
        Box::new(Node { left, right, _integers: [0; 2] })
    }

    fn top_down(depth: u32) -> Box<Node> {
        let mut root = Box::default();
        Node::populate(&mut root, depth);
        root
    }

    fn populate(node: &mut Node, depth: u32) {
        if depth > 0 {
            let left = node.left.insert(Box::default());
            let right = node.right.insert(Box::default());
            Node::populate(left, depth - 1);
            Node::populate(right, depth - 1);
        }
    }

    fn count(&self) -> u64 {
        1 + self.left.as_ref().map_or(0, |node| node.count()) + self.right.as_ref().map_or(0, |node| node.count())
    }
}

struct Slot {
    _link: u64,
    payload: u64,
}

struct Object {
    _id: u64,
}

impl Drop for Object {
    fn drop(&mut self) {
        count_cleanup();
    }
}

impl System for ByHand {
    fn name(&self) -> &'static str {
        "box"
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn role(&self) -> Role {
        Role::Yardstick
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
        drop(black_box(Node::bottom_up(depth)));
        let mut check = 1;
        let long_lived = Node::top_down(depth - 2);
        let array = gcbench_array();
        for (d, trees) in gcbench_rounds(depth) {
            for _ in 0..trees {
                drop(black_box(Node::top_down(d)));
                check += 1;
            }
            for _ in 0..trees {
                drop(black_box(Node::bottom_up(d)));
                check += 1;
            }
        }
        check += long_lived.count() + gcbench_array_check(&array);
        Ok(clock.stop(check))
    }

    fn mark(&self, _nodes: usize) -> Outcome {
        Err(Unsupported("no collections and no shared references"))
    }

    fn churn(&self, slots: usize, steps: u64) -> Outcome {
        let clock = Clock::start();
        let mut rng = XorShift64::new();
        let mut sum = 0;
        let mut array: Vec<Box<Slot>> = (0..slots as u64).map(|payload| Box::new(Slot { _link: 0, payload })).collect();
        for sequence in slots as u64..slots as u64 + steps {
            let (a, b) = (rng.below(slots), rng.below(slots));
            let link = array[b].payload;
            // A fresh node is the point: writing into the old box would be no replacement.
            drop(mem::replace(&mut array[a], Box::new(Slot { _link: link, payload: sequence })));
            sum += array[rng.below(slots)].payload;
        }
        Ok(clock.stop(sum).per("ns_per_step", steps))
    }

    fn lists(&self, _pushes: u64, _length: u64) -> Outcome {
        Err(Unsupported("a queue of boxes cannot hold its tail"))
    }

    fn finalize(&self, objects: usize) -> Outcome {
        take_cleanups();
        let clock = Clock::start();
        let all: Vec<Box<Object>> = (0..objects as u64).map(|id| Box::new(Object { _id: id })).collect();
        drop(all);
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }
}
