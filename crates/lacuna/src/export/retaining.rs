//! Why is this alive?

use alloc::vec::Vec;
use core::fmt;

use super::graph::Walk;
use crate::cycle::core::Core;
use crate::object::descriptor::{ObjectRef, suspect};
use crate::object::edges::EdgeList;

/// A shortest path of strong edges that keeps an object alive, by the types on it: first the object that is rooted, last
/// the object that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetainingPath {
    types: Vec<&'static str>,
}

impl RetainingPath {
    fn of(path: &[ObjectRef]) -> Self {
        Self { types: path.iter().map(|object| (object.descriptor().type_name)()).collect() }
    }

    /// The names of the types on the path.
    pub fn types(&self) -> &[&'static str] {
        &self.types
    }
}

impl fmt::Display for RetainingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.types.iter().enumerate() {
            let arrow = if position == 0 { "root -> " } else { " -> " };
            write!(f, "{arrow}{name}")?;
        }
        Ok(())
    }
}

/// A cleanup that never runs, because its payload keeps its object alive.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SelfRetention {
    /// The label of the cleanup, if it has one.
    pub label: Option<&'static str>,
    /// The path from what the payload roots to the object.
    pub path: RetainingPath,
}

/// A shortest path from a root to an object.
pub(crate) fn path_to(core: &Core, object: ObjectRef) -> Option<RetainingPath> {
    find(Walk::from_roots(core), object)
}

fn find(mut walk: Walk, object: ObjectRef) -> Option<RetainingPath> {
    while let Some((reached, _)) = walk.next() {
        if reached == object {
            return Some(RetainingPath::of(&walk.path_to(object)));
        }
    }
    None
}

/// Looks at each armed cleanup for a path from its payload to its object.
pub(crate) fn check_registrations(core: &Core) -> Vec<SelfRetention> {
    let mut found = Vec::new();
    for (slot, label, callback) in core.finalizers.armed_callbacks() {
        let Some(target) = core.weak.slot(slot).object() else { continue };
        let mut held = EdgeList::default();
        callback.list_edges(&mut held);
        let mut walk = Walk::default();
        held.rooted_in(core.roots.token()).for_each(|cell| walk.reach(suspect(cell), None));
        found.extend(find(walk, target).map(|path| SelfRetention { label, path }));
    }
    found
}
