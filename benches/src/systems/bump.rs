//! `bump`: bumpalo, never freeing until the end of each tree.
//!
//! The lower limit for trees, and no collector: the program says where each tree ends. Caveats:
//!
//! - Each temporary tree lives in one arena that is reset, not given back, between trees; the long-lived tree has its
//!   own.
//! - Nothing in an arena is dropped, and nothing can be freed alone, so only `bt` and `gcbench` make sense.

#![forbid(unsafe_code)]

use std::cell::Cell;

use bumpalo::Bump as Arena;

use super::{Role, System};
use crate::report::{Clock, Outcome, Unsupported};
use crate::workload::{GCBENCH_ARRAY, bt_rounds, gcbench_array_check, gcbench_element, gcbench_rounds};

/// bumpalo.
#[derive(Debug)]
pub struct Bump;

const NEVER_FREES: Unsupported = Unsupported("nothing is freed before the arena is");

struct Tree<'a> {
    left: Option<&'a Tree<'a>>,
    right: Option<&'a Tree<'a>>,
}

impl<'a> Tree<'a> {
    fn bottom_up(arena: &'a Arena, depth: u32) -> &'a Tree<'a> {
        if depth == 0 {
            return arena.alloc(Tree { left: None, right: None });
        }
        let left = Some(Tree::bottom_up(arena, depth - 1));
        let right = Some(Tree::bottom_up(arena, depth - 1));
        arena.alloc(Tree { left, right })
    }

    fn count(&self) -> u64 {
        1 + self.left.map_or(0, Tree::count) + self.right.map_or(0, Tree::count)
    }
}

#[derive(Default)]
struct Node<'a> {
    left: Cell<Option<&'a Node<'a>>>,
    right: Cell<Option<&'a Node<'a>>>,
    _integers: [i32; 2],
}

impl<'a> Node<'a> {
    fn bottom_up(arena: &'a Arena, depth: u32) -> &'a Node<'a> {
        if depth == 0 {
            return arena.alloc(Node::default());
        }
        let left = Cell::new(Some(Node::bottom_up(arena, depth - 1)));
        let right = Cell::new(Some(Node::bottom_up(arena, depth - 1)));
        arena.alloc(Node { left, right, _integers: [0; 2] })
    }

    fn top_down(arena: &'a Arena, depth: u32) -> &'a Node<'a> {
        let root = arena.alloc(Node::default());
        Node::populate(arena, root, depth);
        root
    }

    fn populate(arena: &'a Arena, node: &Node<'a>, depth: u32) {
        if depth > 0 {
            let left: &Node<'a> = arena.alloc(Node::default());
            let right: &Node<'a> = arena.alloc(Node::default());
            node.left.set(Some(left));
            node.right.set(Some(right));
            Node::populate(arena, left, depth - 1);
            Node::populate(arena, right, depth - 1);
        }
    }

    fn count(&self) -> u64 {
        1 + self.left.get().map_or(0, Node::count) + self.right.get().map_or(0, Node::count)
    }
}

impl System for Bump {
    fn name(&self) -> &'static str {
        "bump"
    }

    fn package(&self) -> Option<&'static str> {
        Some("bumpalo")
    }

    fn role(&self) -> Role {
        Role::Yardstick
    }

    fn malloc_based(&self) -> bool {
        false
    }

    fn bt(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        let mut arena = Arena::new();
        let mut check = Tree::bottom_up(&arena, depth + 1).count();
        let long_lived_arena = Arena::new();
        let long_lived = Tree::bottom_up(&long_lived_arena, depth);
        for (d, trees) in bt_rounds(depth) {
            for _ in 0..trees {
                arena.reset();
                check += Tree::bottom_up(&arena, d).count();
            }
        }
        check += long_lived.count();
        Ok(clock.stop(check))
    }

    fn gcbench(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        let mut arena = Arena::new();
        std::hint::black_box(Node::bottom_up(&arena, depth));
        let mut check = 1;
        let long_lived_arena = Arena::new();
        let long_lived = Node::top_down(&long_lived_arena, depth - 2);
        let array = long_lived_arena.alloc_slice_fill_with(GCBENCH_ARRAY, gcbench_element);
        for (d, trees) in gcbench_rounds(depth) {
            for _ in 0..trees {
                arena.reset();
                std::hint::black_box(Node::top_down(&arena, d));
                check += 1;
            }
            for _ in 0..trees {
                arena.reset();
                std::hint::black_box(Node::bottom_up(&arena, d));
                check += 1;
            }
        }
        check += long_lived.count() + gcbench_array_check(array);
        Ok(clock.stop(check))
    }

    fn mark(&self, _nodes: usize) -> Outcome {
        Err(Unsupported("no collections"))
    }

    fn churn(&self, _slots: usize, _steps: u64) -> Outcome {
        Err(NEVER_FREES)
    }

    fn lists(&self, _pushes: u64, _length: u64) -> Outcome {
        Err(NEVER_FREES)
    }

    fn finalize(&self, _objects: usize) -> Outcome {
        Err(Unsupported("values in an arena are not dropped"))
    }
}
