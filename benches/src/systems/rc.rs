//! `rc`: reference counting, with [`Rc`] and [`std::rc::Weak`].
//!
//! Caveats:
//!
//! - Cycles are never freed, so `mark`, whose graph is one, is missing; every other graph here is acyclic.
//! - Weak references keep the memory (not the value) of the dead object; clearing is immediate, without a collection,
//!   so the time to let go of the objects stands for the collection.
//! - Trees are dropped by recursion; the queue is emptied from the head, which needs none.

#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::rc::{Rc, Weak};

use super::{Role, System, count_cleanup, take_cleanups};
use crate::report::{Clock, Outcome, Unsupported, WEAK_ROUNDS, timed, weak_figures};
use crate::rng::XorShift64;
use crate::workload::{bt_rounds, gcbench_array, gcbench_array_check, gcbench_rounds};

/// Reference counting.
#[derive(Debug)]
pub struct RefCounted;

struct Tree {
    left: Option<Rc<Tree>>,
    right: Option<Rc<Tree>>,
}

impl Tree {
    fn bottom_up(depth: u32) -> Rc<Tree> {
        if depth == 0 {
            return Rc::new(Tree { left: None, right: None });
        }
        let left = Some(Tree::bottom_up(depth - 1));
        let right = Some(Tree::bottom_up(depth - 1));
        Rc::new(Tree { left, right })
    }

    fn count(&self) -> u64 {
        1 + self.left.as_ref().map_or(0, |tree| tree.count()) + self.right.as_ref().map_or(0, |tree| tree.count())
    }
}

#[derive(Default)]
struct Node {
    left: OnceCell<Rc<Node>>,
    right: OnceCell<Rc<Node>>,
    _integers: [i32; 2],
}

impl Node {
    fn bottom_up(depth: u32) -> Rc<Node> {
        if depth == 0 {
            return Rc::default();
        }
        let left = Node::bottom_up(depth - 1).into();
        let right = Node::bottom_up(depth - 1).into();
        Rc::new(Node { left, right, _integers: [0; 2] })
    }

    fn top_down(depth: u32) -> Rc<Node> {
        let root = Rc::default();
        Node::populate(&root, depth);
        root
    }

    fn populate(node: &Node, depth: u32) {
        if depth > 0 {
            let left = node.left.get_or_init(Rc::default);
            let right = node.right.get_or_init(Rc::default);
            Node::populate(left, depth - 1);
            Node::populate(right, depth - 1);
        }
    }

    fn count(&self) -> u64 {
        1 + self.left.get().map_or(0, |node| node.count()) + self.right.get().map_or(0, |node| node.count())
    }
}

struct Slot {
    _link: u64,
    payload: u64,
}

struct Link {
    value: u64,
    next: OnceCell<Rc<Link>>,
}

struct Object {
    id: u64,
}

struct Cleaned {
    _id: u64,
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        count_cleanup();
    }
}

impl System for RefCounted {
    fn name(&self) -> &'static str {
        "rc"
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
        drop(Node::bottom_up(depth));
        let mut check = 1;
        let long_lived = Node::top_down(depth - 2);
        let array = Rc::new(gcbench_array());
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

    fn mark(&self, _nodes: usize) -> Outcome {
        Err(Unsupported("the graph is a cycle and reference counts would leak it"))
    }

    fn churn(&self, slots: usize, steps: u64) -> Outcome {
        let clock = Clock::start();
        let mut rng = XorShift64::new();
        let mut sum = 0;
        let mut array: Vec<Rc<Slot>> = (0..slots as u64).map(|payload| Rc::new(Slot { _link: 0, payload })).collect();
        for sequence in slots as u64..slots as u64 + steps {
            let (a, b) = (rng.below(slots), rng.below(slots));
            let link = array[b].payload;
            array[a] = Rc::new(Slot { _link: link, payload: sequence });
            sum += array[rng.below(slots)].payload;
        }
        Ok(clock.stop(sum).per("ns_per_step", steps))
    }

    fn lists(&self, pushes: u64, length: u64) -> Outcome {
        let clock = Clock::start();
        let mut sum = 0;
        let mut head: Option<Rc<Link>> = None;
        let mut tail: Option<Rc<Link>> = None;
        for value in 0..pushes {
            let node = Rc::new(Link { value, next: OnceCell::new() });
            match tail.replace(Rc::clone(&node)) {
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
        let all: Vec<Rc<Object>> = (0..objects as u64).map(|id| Rc::new(Object { id })).collect();
        let (weaks, made) = timed(|| all.iter().map(Rc::downgrade).collect::<Vec<Weak<Object>>>());
        let kept: Vec<Rc<Object>> = all.iter().step_by(2).cloned().collect();
        let ((), cleared) = timed(|| drop(all));
        let check = weaks.iter().filter(|weak| weak.strong_count() == 0).count() as u64;
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
        Ok(weak_figures(clock.stop(check), objects, made + cleared, upgraded, seen))
    }

    fn finalize(&self, objects: usize) -> Outcome {
        take_cleanups();
        let clock = Clock::start();
        let all: Vec<Rc<Cleaned>> = (0..objects as u64).map(|id| Rc::new(Cleaned { _id: id })).collect();
        drop(all);
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }
}

/// Takes the first value off the queue, zero if there is none.
fn pop(head: &mut Option<Rc<Link>>) -> u64 {
    let Some(first) = head.take() else { return 0 };
    *head = first.next.get().cloned();
    first.value
}
