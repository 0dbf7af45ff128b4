//! Heaps to test with, and what to put into them.
#![allow(dead_code, reason = "no test uses everything")]

use lacuna::{Config, Gc, GcCell, Heap, Root, Trace};

/// Runs a test on an ordinary heap, and on one that collects at every chance.
pub(crate) fn on_each(test: impl Fn(&mut Heap)) {
    for zeal in [false, true] {
        test(&mut Heap::with_config(Config::default().zeal(zeal)));
    }
}

/// An object that can be part of a cycle.
#[derive(Trace)]
pub(crate) struct Node<'gc> {
    pub(crate) id: u32,
    pub(crate) next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

pub(crate) type NodeRoot = Root<Node<'static>>;

pub(crate) fn node(heap: &mut Heap, id: u32) -> NodeRoot {
    heap.alloc_with::<Node<'_>>(|_| Node { id, next: GcCell::new(None) })
}

/// A node that leads to itself.
pub(crate) fn ring(heap: &mut Heap, id: u32) -> NodeRoot {
    let node = node(heap, id);
    heap.enter(|cx| node.get(cx).set(cx, |node| &node.next, Some(node.get(cx))));
    node
}

pub(crate) fn id(heap: &Heap, node: &NodeRoot) -> u32 {
    heap.with(node, |node| node.id)
}

/// The numbers of nodes, sorted.
pub(crate) fn ids(heap: &Heap, nodes: impl IntoIterator<Item = NodeRoot>) -> Vec<u32> {
    let mut ids: Vec<u32> = nodes.into_iter().map(|node| id(heap, &node)).collect();
    ids.sort_unstable();
    ids
}
