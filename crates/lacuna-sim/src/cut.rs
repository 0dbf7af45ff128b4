//! Which edges a replay removes.
//!
//! Owns the meaning of a name given by the user: the edges of a type that carries a name and keeps its target alive
//! (property, internal, context, shortcut) and whose name is exactly that. Weak edges, elements and hidden edges stay.

use crate::snapshot::{Edge, Snapshot};

/// Names whose edges are removed.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Entries of the table of strings, sorted.
    names: Vec<u32>,
}

impl Cut {
    /// Removes nothing.
    pub fn nothing() -> Self {
        Cut::default()
    }

    /// Removes the edges called `name`.
    pub fn named(snapshot: &Snapshot, name: &str) -> Self {
        let mut cut = Cut::nothing();
        cut.add(snapshot, name);
        cut
    }

    /// Removes the edges called `name` as well.
    pub fn add(&mut self, snapshot: &Snapshot, name: &str) {
        self.names.extend(snapshot.find_text(name));
        self.names.sort_unstable();
    }

    /// Whether `edge` is removed.
    pub fn removes(&self, edge: Edge) -> bool {
        edge.kind.can_be_cut() && self.names.binary_search(&edge.name).is_ok()
    }
}
