//! Numbers about a heap.

use core::time::Duration;

/// What a heap holds now, and what it has done so far. All sizes are in bytes.
///
/// Returned by [`Heap::stats`](crate::Heap::stats).
#[derive(Clone, Copy, Default, PartialEq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Collections so far, of both kinds.
    pub collections: u64,
    /// Minor collections so far.
    pub minor_collections: u64,
    /// Objects that the last collection left alive.
    pub live_objects: usize,
    /// Bytes of the cells of those objects.
    pub live_bytes: usize,
    /// Bytes of the cells handed out since the last collection, rounded up to what allocation has reserved.
    pub allocated_bytes: usize,
    /// Bytes of the blocks in use, which hold the cells.
    pub used_bytes: usize,
    /// Bytes held from the system for objects and side tables.
    pub reserved_bytes: usize,
    /// Bytes of the side tables: marks and block tables. Counted in `reserved_bytes`.
    pub table_bytes: usize,
    /// Bytes of the root table.
    pub root_bytes: usize,
    /// Bytes of the weak-slot table.
    pub weak_bytes: usize,
    /// Bytes of the registrations and queues.
    pub finalizer_bytes: usize,
    /// External bytes, as told with [`Heap::add_external`](crate::Heap::add_external) and
    /// [`Heap::set_external`](crate::Heap::set_external).
    pub external_bytes: usize,
    /// The size at which the next automatic collection is due.
    pub goal_bytes: usize,
    /// Whether the next scope that ends, or allocation by handle, collects everything: the size has reached the goal, a scope
    /// found no memory, or minor collections have left much more memory unused than there is in use.
    pub major_due: bool,
    /// Roots that exist.
    pub roots: usize,
    /// Objects that are observed by weak references, cleanups, guardians or notifications, own notifications, or are keys
    /// of ephemerons.
    pub weak_slots: usize,
    /// Cleanups, guardians and notifications whose target was not found unreachable so far.
    pub armed: usize,
    /// Cleanups that wait for a drain.
    pub queued_cleanups: usize,
    /// Notifications that wait for a drain.
    pub queued_notifications: usize,
    /// Guarded objects that wait to be taken.
    pub queued_guardians: usize,
    /// How many collections ago the oldest cleanup or notification that waits was queued, the last one not counted. One
    /// that was cancelled while it waited may count until the next drain.
    pub oldest_age_in_cycles: u64,
    /// Batches so far: collections that queued a cleanup or notification.
    pub batches: u64,
    /// Cleanups and notifications queued so far.
    pub callbacks_queued: u64,
    /// Callbacks run so far.
    pub callbacks_run: u64,
    /// Those of them that panicked in a drain or a shutdown.
    pub callbacks_panicked: u64,
    /// Callbacks handed out by [`Heap::drain_send`](crate::Heap::drain_send) so far.
    pub callbacks_sent: u64,
    /// Notifications so far that were dropped because their owner became unreachable.
    pub notifications_silenced: u64,
    /// Callbacks, and `Drop` implementations run by the sweep, that panicked so far.
    pub panics: u64,
    /// Registrations cancelled so far.
    pub cancelled: u64,
    /// The last collection.
    pub last: CycleStats,
}

/// What one collection did.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
#[non_exhaustive]
pub struct CycleStats {
    /// Why it was started.
    pub cause: Cause,
    /// Whether it was a minor one, which takes all objects for alive that a collection has seen before.
    pub minor: bool,
    /// The increments in which it was done so far; 0 for one that was done at once.
    pub increments: u64,
    /// Observed objects, whatever observed them, that were found unreachable.
    pub short_cleared: usize,
    /// Those of them that died for good.
    pub long_cleared: usize,
    /// Cleanups queued.
    pub cleanups_queued: usize,
    /// Guarded objects queued.
    pub guardians_queued: usize,
    /// Entries of the ephemeron tables that were reached.
    pub ephemeron_entries: usize,
    /// How often such an entry was looked at: at most once for each of its keys, and once more.
    pub ephemerons_examined: usize,
    /// Entries whose values were visited, because all their keys were reached.
    pub ephemerons_resolved: usize,
    /// Entries removed, because one of their keys was dead.
    pub ephemerons_cleared: usize,
    /// Notifications queued.
    pub notifications_queued: usize,
    /// Notifications dropped, since their owner is unreachable.
    pub notifications_silenced: usize,
    /// External bytes that were counted out with the objects that held them.
    pub external_released: usize,
    /// Callbacks that ran after the collection before this one.
    pub callbacks_run: u64,
    /// Those of them that panicked in a drain or a shutdown.
    pub callbacks_panicked: u64,
    /// Registrations that were cancelled after the collection before this one.
    pub cancelled: u64,
    /// Objects looked into while marking. Objects that cannot hold edges are not.
    pub objects_traced: usize,
    /// Of those, the ones looked into by way of the prefetch ring.
    pub objects_prefetched: usize,
    /// How long marking took, if [`Config::measure_times`](crate::Config::measure_times) is on.
    pub mark_time: Option<Duration>,
    /// How long the weak pass took, likewise.
    pub weak_time: Option<Duration>,
    /// How long sweeping took, likewise. What is swept lazily is not counted.
    pub sweep_time: Option<Duration>,
}

/// Where a heap is between two major collections.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// No major collection is under way.
    #[default]
    Idle,
    /// Live objects are being marked, in increments.
    Marking,
    /// What is dead has been decided. Its memory is being made available.
    Sweeping,
}

/// Why a collection was started.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// [`Heap::collect`](crate::Heap::collect) was called.
    #[default]
    Explicit,
    /// The heap had reached its goal.
    Goal,
    /// So much had been allocated that a minor collection was due.
    Step,
    /// There was no memory for an allocation.
    Exhausted,
    /// The heap is in zeal.
    Zeal,
}
