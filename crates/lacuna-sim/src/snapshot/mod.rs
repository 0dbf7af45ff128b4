//! A dump in memory, and the reader of V8's heap snapshot format.
//!
//! Owns the columns a dump is kept in: one entry for each node or edge in each, in the order of the file, about 17
//! bytes for a node and 9 for an edge. Invariants, established by [`parse`] and relied on by everyone after: every
//! number of a type, a name or a node is in range; `first_edge` ascends from 0 to the number of edges.

mod check;
mod error;
mod json;
mod kinds;
mod members;
mod meta;
mod parse;
mod skip;
mod utf16;

use std::ops::Range;

pub use error::{Item, ParseError};
pub use kinds::{EdgeKind, NodeKind};
pub use meta::NodeType;
pub use parse::parse;
pub use skip::MAX_NESTING;

/// A dump.
#[derive(Debug)]
pub struct Snapshot {
    node_types: Vec<NodeType>,
    nodes: Nodes,
    edges: Edges,
    texts: Texts,
    root: u32,
}

#[derive(Debug, Default)]
struct Nodes {
    types: Vec<u8>,
    names: Vec<u32>,
    sizes: Vec<u64>,
    /// Of node `i`: `first_edge[i]..first_edge[i + 1]`.
    first_edge: Vec<u32>,
    total_size: u64,
}

impl Nodes {
    fn len(&self) -> usize {
        self.types.len()
    }

    fn reserve(&mut self, count: usize) {
        self.types.reserve(count);
        self.names.reserve(count);
        self.sizes.reserve(count);
        self.first_edge.reserve(count + 1);
    }
}

#[derive(Debug, Default)]
struct Edges {
    kinds: Vec<EdgeKind>,
    names: Vec<u32>,
    targets: Vec<u32>,
}

impl Edges {
    fn len(&self) -> usize {
        self.kinds.len()
    }

    fn reserve(&mut self, count: usize) {
        self.kinds.reserve(count);
        self.names.reserve(count);
        self.targets.reserve(count);
    }
}

/// All strings in one, with the end of each.
#[derive(Debug, Default)]
struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }
}

/// One edge of a dump.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// Its type.
    pub kind: EdgeKind,
    /// An entry of the table of strings, or the number of an element; which, depends on `kind`.
    pub name: u32,
    /// The number of the node it leads to.
    pub target: u32,
}

impl Snapshot {
    /// The number of nodes; they are numbered from 0.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The number of edges; they are numbered from 0 over the whole dump.
    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }

    /// The sum of all nodes' sizes in the program the dump was taken from.
    pub fn total_size(&self) -> u64 {
        self.nodes.total_size
    }

    /// The node everything hangs on.
    pub fn root(&self) -> u32 {
        self.root
    }

    /// The types of nodes; [`Snapshot::node_type`] is an index into them.
    pub fn node_types(&self) -> &[NodeType] {
        &self.node_types
    }

    /// The type of a node, as an index into [`Snapshot::node_types`].
    pub fn node_type(&self, node: u32) -> usize {
        usize::from(self.nodes.types[node as usize])
    }

    /// The type of a node, as this program understands it.
    pub fn node_kind(&self, node: u32) -> NodeKind {
        self.node_types[self.node_type(node)].kind
    }

    /// The name of a node, as an entry of the table of strings.
    pub fn node_name(&self, node: u32) -> u32 {
        self.nodes.names[node as usize]
    }

    /// The bytes a node took in the program the dump was taken from, without what it refers to.
    pub fn node_size(&self, node: u32) -> u64 {
        self.nodes.sizes[node as usize]
    }

    /// The numbers of the edges that start at a node.
    pub fn edges_of(&self, node: u32) -> Range<usize> {
        let node = node as usize;
        self.nodes.first_edge[node] as usize..self.nodes.first_edge[node + 1] as usize
    }

    /// An edge by its number.
    pub fn edge(&self, index: usize) -> Edge {
        Edge { kind: self.edges.kinds[index], name: self.edges.names[index], target: self.edges.targets[index] }
    }

    /// The number of edges that keep their target alive.
    pub fn strong_edge_count(&self) -> usize {
        self.edges.kinds.iter().filter(|kind| kind.is_strong()).count()
    }

    /// An entry of the table of strings.
    ///
    /// # Panics
    ///
    /// When there is no such entry. The names of nodes and of named edges always are.
    pub fn text(&self, index: u32) -> &str {
        self.texts.get(index as usize)
    }

    /// The entries of the table of strings that read `text`. A writer has no reason to repeat one, but may.
    pub fn find_text(&self, text: &str) -> Vec<u32> {
        (0..self.texts.len() as u32).filter(|&index| self.text(index) == text).collect()
    }
}
