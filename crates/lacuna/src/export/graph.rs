//! Walking the graph breadth first, so that the first path found to an object is a shortest one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::cycle::core::Core;
use crate::object::descriptor::{ObjectRef, suspect};
use crate::object::edges::{EdgeList, Waiting};

/// Objects in the order in which a walk reached them.
#[derive(Default)]
pub(crate) struct Walk {
    /// For each object reached, the one that it was first reached from; `None` for where the walk began.
    reached_from: HashMap<ObjectRef, Option<ObjectRef>>,
    pending: VecDeque<ObjectRef>,
    /// Edges in the values of ephemerons whose keys were not all reached yet.
    waiting: Waiting<ObjectRef>,
    /// Edges in the values of ephemerons whose keys were all reached, each with the object that holds the table.
    pub(crate) dependent: Vec<(ObjectRef, ObjectRef)>,
}

impl Walk {
    /// A walk that begins at everything that keeps objects alive by itself.
    pub(crate) fn from_roots(core: &Core) -> Self {
        let mut walk = Self::default();
        core.roots.targets().for_each(|object| walk.reach(object, None));
        for slot in core.finalizers.guarded_slots() {
            core.weak.slot(slot).object().into_iter().for_each(|object| walk.reach(object, None));
        }
        walk
    }

    /// Reaches an object, from another or as a beginning.
    pub(crate) fn reach(&mut self, object: ObjectRef, from: Option<ObjectRef>) {
        if let hashbrown::hash_map::Entry::Vacant(entry) = self.reached_from.entry(object) {
            entry.insert(from);
            self.pending.push_back(object);
        }
    }

    /// The next object and what its edges lead to, except those in the values of ephemerons.
    pub(crate) fn next(&mut self) -> Option<(ObjectRef, Vec<ObjectRef>)> {
        let object = self.pending.pop_front()?;
        let mut list = EdgeList::default();
        object.list_edges(&mut list);
        let edges: Vec<ObjectRef> = list.edges.into_iter().map(suspect).collect();
        for &target in &edges {
            self.reach(target, Some(object));
        }
        let now_free = self.waiting.reached(object.cell());
        for (holder, edge) in list.dependent.into_iter().map(|edge| (object, edge)).chain(now_free) {
            let is_reached = |cell| self.reached_from.contains_key(&suspect(cell));
            if let Some((holder, target)) = self.waiting.admit(holder, edge, is_reached) {
                let target = suspect(target);
                self.dependent.push((holder, target));
                self.reach(target, Some(holder));
            }
        }
        Some((object, edges))
    }

    /// The objects from a beginning of the walk to one that was reached.
    pub(crate) fn path_to(&self, object: ObjectRef) -> Vec<ObjectRef> {
        let mut path: Vec<_> =
            core::iter::successors(Some(object), |object| self.reached_from.get(object).copied().flatten()).collect();
        path.reverse();
        path
    }
}
