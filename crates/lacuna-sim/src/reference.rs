//! The second opinion: what a collection must leave, computed without a heap.
//!
//! Owns a breadth-first search over the columns of a dump. It shares no code with the heap and makes no attempt to be
//! clever, so that an agreement between the two means something.

use crate::cut::Cut;
use crate::snapshot::Snapshot;

/// What a dump amounts to when some of its edges are left out.
#[derive(Clone, Debug)]
pub struct Reference {
    /// For each node, whether the root reaches it over strong edges.
    pub alive: Vec<bool>,
}

/// Figures of a reference, for all nodes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Edges that the cut removes, wherever they start.
    pub cut_edges: usize,
    /// Those of them that start at a survivor: the ones the search met and did not follow.
    pub cut_at_survivors: usize,
    /// Nodes reached.
    pub survivors: usize,
    /// Nodes not reached.
    pub dead: usize,
    /// The sum of the sizes of the nodes not reached.
    pub dead_size: u64,
    /// Weak edges that start at a survivor and lead to a dead node.
    pub weak_to_dead: usize,
}

impl Reference {
    /// Follows every strong edge from the root but those that `cut` removes.
    pub fn search(snapshot: &Snapshot, cut: &Cut) -> Self {
        let mut alive = vec![false; snapshot.node_count()];
        let mut queue = vec![snapshot.root()];
        alive[snapshot.root() as usize] = true;
        let mut next = 0;
        while let Some(&node) = queue.get(next) {
            next += 1;
            for index in snapshot.edges_of(node) {
                let edge = snapshot.edge(index);
                let target = edge.target as usize;
                if edge.kind.is_strong() && !cut.removes(edge) && !alive[target] {
                    alive[target] = true;
                    queue.push(edge.target);
                }
            }
        }
        Reference { alive }
    }

    /// Adds it all up.
    pub fn figures(&self, snapshot: &Snapshot, cut: &Cut) -> Figures {
        let mut figures =
            Figures { cut_edges: 0, cut_at_survivors: 0, survivors: 0, dead: 0, dead_size: 0, weak_to_dead: 0 };
        for node in 0..snapshot.node_count() as u32 {
            let alive = self.alive[node as usize];
            if alive {
                figures.survivors += 1;
            } else {
                figures.dead += 1;
                figures.dead_size += snapshot.node_size(node);
            }
            for index in snapshot.edges_of(node) {
                let edge = snapshot.edge(index);
                if cut.removes(edge) {
                    figures.cut_edges += 1;
                    figures.cut_at_survivors += usize::from(alive);
                }
                if alive && !edge.kind.is_strong() && !self.alive[edge.target as usize] {
                    figures.weak_to_dead += 1;
                }
            }
        }
        figures
    }
}
