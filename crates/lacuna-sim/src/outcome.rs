//! What a collection did.
//!
//! Owns the figures of one collection, by type and in all, as a replay gathers them.

use std::time::Duration;

use crate::measure::{Memory, Phases};

/// What was alive after a collection, and what had died in it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Strong edges that were removed from living objects since the collection before.
    pub cut_edges: u64,
    /// Those of them whose object survived.
    pub cut_at_survivors: u64,
    /// By type, in the order of [`Snapshot::node_types`](crate::snapshot::Snapshot::node_types).
    pub types: Vec<TypeOutcome>,
    /// Weak edges of survivors whose target is alive.
    pub weak_kept: u64,
    /// Weak edges of survivors whose target died in this collection.
    pub weak_cleared: u64,
    /// From the call of `collect` to its return.
    pub time: Duration,
    /// The parts of that time.
    pub phases: Phases,
    /// Memory afterwards.
    pub memory: Memory,
}

/// Objects of one type.
#[derive(Clone, Copy, Debug, Default)]
pub struct TypeOutcome {
    /// Those that survived.
    pub survivors: Group,
    /// Those that died in this collection.
    pub dead: Group,
}

/// Some objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub objects: u64,
    /// Bytes they took in the dumped program.
    pub self_size: u64,
    /// Bytes of their headers and edges here.
    pub payload: u64,
}

impl Group {
    /// One more.
    pub(crate) fn add(&mut self, self_size: u64, payload: u64) {
        self.objects += 1;
        self.self_size += self_size;
        self.payload += payload;
    }
}

impl std::iter::Sum for Group {
    fn sum<I: Iterator<Item = Self>>(groups: I) -> Self {
        groups.fold(Group::default(), |sum, group| Group {
            objects: sum.objects + group.objects,
            self_size: sum.self_size + group.self_size,
            payload: sum.payload + group.payload,
        })
    }
}

impl Outcome {
    /// All that survived.
    pub fn survivors(&self) -> Group {
        self.types.iter().map(|outcome| outcome.survivors).sum()
    }

    /// All that died in this collection.
    pub fn dead(&self) -> Group {
        self.types.iter().map(|outcome| outcome.dead).sum()
    }
}
