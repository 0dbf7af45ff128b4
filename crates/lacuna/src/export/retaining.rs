//! Why is this alive?

use alloc::vec::Vec;
use core::fmt;

use super::graph::Walk;
use crate::cycle::core::Core;
use crate::edges::finalizers::ArmedCallback;
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

/// A cleanup or notification that keeps alive what it waits for, or whom it is for, by its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SelfRetention {
    /// The label of the registration, if it has one.
    pub label: Option<&'static str>,
    /// What it keeps alive.
    pub retains: Retained,
    /// The path from what the payload roots to that.
    pub path: RetainingPath,
}

/// What the payload of a registration keeps alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Retained {
    /// The object that it waits for, so that it never runs.
    Target,
    /// The owner of the notification, which lives until it has run.
    Owner,
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

/// Looks at each armed callback for paths from its payload to its target and its owner.
pub(crate) fn check_registrations(core: &Core) -> Vec<SelfRetention> {
    let mut found = Vec::new();
    for ArmedCallback { target, owner, label, callback } in core.finalizers.armed_callbacks() {
        let mut held = EdgeList::default();
        callback.list_edges(&mut held);
        for (slot, retains) in [(Some(target), Retained::Target), (owner, Retained::Owner)] {
            let Some(object) = slot.and_then(|slot| core.weak.slot(slot).object()) else { continue };
            let mut walk = Walk::following_roots(core.roots.token());
            held.rooted_in(core.roots.token()).for_each(|cell| walk.reach(suspect(cell), None));
            found.extend(find(walk, object).map(|path| SelfRetention { label, retains, path }));
        }
    }
    found
}
