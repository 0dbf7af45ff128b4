//! The comparison of a heap with the reference.
//!
//! Owns the check after each collection. What is compared is everything a dump says: for every node, whether its object
//! is alive; for every survivor, its header and each of its edges, and that a weak edge is cleared exactly if its target
//! died. The first difference ends it.

use std::fmt;

use lacuna::Mutator;

use crate::cut::Cut;
use crate::model::{Edge, Node, Tag, WeakNode};
use crate::outcome::{Outcome, TypeOutcome};
use crate::reference::Reference;
use crate::snapshot::{self, Snapshot};

/// The heap and the reference disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// About one node.
    Node {
        /// Its number.
        node: u32,
        /// What a search over the dump finds.
        expected: String,
        /// What the heap holds.
        found: String,
    },
    /// Each node is as it should be, and yet the heap counts another number of living objects.
    Count {
        /// Nodes a search over the dump finds.
        expected: u64,
        /// Objects the heap counts.
        found: u64,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Node { node, expected, found } => {
                write!(f, "node {node}: expected {expected} by a search over the dump, found {found} in the heap")
            }
            Mismatch::Count { expected, found } => write!(
                f,
                "expected {expected} living objects by a search over the dump, found that the heap counts {found}"
            ),
        }
    }
}

impl std::error::Error for Mismatch {}

/// What a heap should hold.
pub(crate) struct Expected<'a> {
    /// The dump it was built from.
    pub(crate) snapshot: &'a Snapshot,
    /// What was cut from it.
    pub(crate) cut: &'a Cut,
    /// What is alive.
    pub(crate) reference: &'a Reference,
    /// What was alive before the collection.
    pub(crate) before: &'a [bool],
}

impl Expected<'_> {
    /// Compares each node's object, found by `index`, and adds it to `outcome`; `payloads` has its bytes.
    pub(crate) fn compare(
        &self,
        cx: &Mutator<'_>,
        index: &[WeakNode],
        payloads: &[u64],
        outcome: &mut Outcome,
    ) -> Result<(), Mismatch> {
        outcome.types = vec![TypeOutcome::default(); self.snapshot.node_types().len()];
        // Who is alive comes first: a wrong edge may be no more than a consequence.
        for (node, weak) in (0..).zip(index) {
            self.compare_life(node, weak.upgrade(cx).is_some())?;
        }
        for (node, (weak, &payload)) in (0..).zip(index.iter().zip(payloads)) {
            let types = &mut outcome.types[self.snapshot.node_type(node)];
            let size = self.snapshot.node_size(node);
            if let Some(object) = weak.upgrade(cx) {
                types.survivors.add(size, payload);
                compare_tag(self.snapshot, node, object)?;
                self.compare_edges(cx, node, object, outcome)?;
            } else if self.before[node as usize] {
                types.dead.add(size, payload);
            }
        }
        Ok(())
    }

    fn compare_life(&self, node: u32, alive: bool) -> Result<(), Mismatch> {
        if alive == self.reference.alive[node as usize] {
            return Ok(());
        }
        let [lives, died] = ["an object that lives", "one that died"].map(str::to_owned);
        let (expected, found) = if alive { (died, lives) } else { (lives, died) };
        Err(Mismatch::Node { node, expected, found })
    }

    fn compare_edges<'gc>(
        &self,
        cx: &Mutator<'gc>,
        node: u32,
        object: Node<'gc>,
        outcome: &mut Outcome,
    ) -> Result<(), Mismatch> {
        let edges = self.snapshot.edges_of(node).map(|edge| self.snapshot.edge(edge));
        for (place, (edge, found)) in edges.zip(object.edges()).enumerate() {
            let expected = self.held(edge);
            let found = Held::found(cx, found);
            if found != expected {
                return Err(Mismatch::Node {
                    node,
                    expected: format!("edge {place} to be {expected}"),
                    found: found.to_string(),
                });
            }
            match expected {
                Held::Weak(_) => outcome.weak_kept += 1,
                Held::Cleared if self.before[edge.target as usize] => outcome.weak_cleared += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// What an edge of a survivor should be.
    fn held(&self, edge: snapshot::Edge) -> Held {
        if self.cut.removes(edge) {
            Held::Nothing
        } else if edge.kind.is_strong() {
            Held::Strong(edge.target)
        } else if self.reference.alive[edge.target as usize] {
            Held::Weak(edge.target)
        } else {
            Held::Cleared
        }
    }
}

fn compare_tag(snapshot: &Snapshot, node: u32, object: Node<'_>) -> Result<(), Mismatch> {
    let expected = Tag { node, name: snapshot.node_name(node), size: snapshot.node_size(node) };
    if object.tag() == expected {
        return Ok(());
    }
    Err(Mismatch::Node { node, expected: format!("the header {expected:?}"), found: format!("{:?}", object.tag()) })
}

/// An edge, as it was built or as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Strong(u32),
    Weak(u32),
    Cleared,
    Nothing,
}

impl Held {
    /// What an edge is.
    fn found<'gc>(cx: &Mutator<'gc>, edge: Edge<'gc>) -> Self {
        match (edge.strong(), edge.weak()) {
            (Some(target), _) => Held::Strong(target.tag().node),
            (None, Some(weak)) => match weak.upgrade(cx) {
                Some(target) => Held::Weak(target.tag().node),
                None => Held::Cleared,
            },
            (None, None) => Held::Nothing,
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::Strong(node) => write!(f, "a strong edge to node {node}"),
            Held::Weak(node) => write!(f, "a weak edge to node {node}"),
            Held::Cleared => f.write_str("a weak edge to nothing"),
            Held::Nothing => f.write_str("no edge"),
        }
    }
}
