//! From a dump to a heap.
//!
//! Owns the building of the object graph: one object for each node, then its edges, then a root on the node everything
//! hangs on. Outside of the heap remain a weak reference to each object, by which a replay finds them again without
//! keeping them alive, and the bytes each was built with.

use std::any::Any;

use lacuna::{Config, Heap};

use crate::model::{Edge, Node, Tag, WeakNode};
use crate::progress::Progress;
use crate::snapshot::Snapshot;

/// A heap that holds a dump.
pub struct Loaded {
    /// The heap. It collects only when told to, so that what a collection does can be told apart.
    pub heap: Heap,
    /// Holds the dump's root; dropped, nothing is held.
    pub root: Box<dyn Any>,
    /// Each node's object.
    pub index: Vec<WeakNode>,
    /// Bytes of header and edges of each node's object.
    pub payloads: Vec<u64>,
    /// Bytes of all objects' length words.
    pub length_words: u64,
}

/// Builds the objects of `snapshot` in a heap of their own.
///
/// # Panics
///
/// When there is no memory for them.
pub fn load(snapshot: &Snapshot, progress: &Progress) -> Loaded {
    let config = Config::default().collect_automatically(false).measure_times(true);
    let mut heap = Heap::with_config(config);
    let steps = snapshot.node_count() + snapshot.edge_count();
    let bar = progress.bar("building", steps as u64);
    let (root, index, payloads, length_words) = heap.enter(|cx| {
        // Pointers outside of the heap are fine here: nothing is freed within a scope.
        let nodes: Vec<Node<'_>> = (0..snapshot.node_count() as u32)
            .map(|node| {
                bar.advance(1);
                let tag = Tag { node, name: snapshot.node_name(node), size: snapshot.node_size(node) };
                Node::alloc(cx, snapshot.node_kind(node), tag, snapshot.edges_of(node).len())
            })
            .collect();
        let index: Vec<WeakNode> = nodes.iter().map(|node| node.downgrade(cx)).collect();
        for (number, node) in nodes.iter().enumerate() {
            let edges = snapshot.edges_of(number as u32);
            bar.advance(edges.len() as u64);
            for (place, edge) in edges.enumerate() {
                let edge = snapshot.edge(edge);
                let target = edge.target as usize;
                let edge = if edge.kind.is_strong() { Edge::from(nodes[target]) } else { Edge::from(index[target]) };
                node.set(cx, place, edge);
            }
        }
        let payloads = nodes.iter().map(|node| node.payload() as u64).collect();
        let length_words = nodes.iter().map(|node| node.length_word() as u64).sum();
        (nodes[snapshot.root() as usize].root(cx), index, payloads, length_words)
    });
    Loaded { heap, root, index, payloads, length_words }
}
