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
    /// Bytes of the [ephemeron tables](crate::Ephemerons), their entries and indices, those of dead tables that no sweep
    /// has dropped yet included.
    pub ephemeron_bytes: usize,
    /// External bytes, as told with [`Heap::add_external`](crate::Heap::add_external) and
    /// [`Heap::set_external`](crate::Heap::set_external).
    pub external_bytes: usize,
    /// The size at which the next automatic major collection is due, or if it is done in increments, has ended marking.
    pub goal_bytes: usize,
    /// Whether the next scope that ends, or allocation by handle, collects everything or does an increment of that: the size
    /// has reached the goal or that of the next increment, a scope found no memory, or minor collections have left much more
    /// memory unused than there is in use.
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
    /// How long collections have stopped the program, if [`Config::measure_times`](crate::Config::measure_times) is on.
    pub stops: Stops,
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

/// What happened when the heap stopped the program to collect.
///
/// Given to the listener that [`Heap::on_event`](crate::Heap::on_event) sets, after the fact: at the end of each stop.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Event {
    /// What it was.
    pub kind: EventKind,
    /// Why the collection was started that it was, or was a part of.
    pub cause: Cause,
    /// Where the heap was then.
    pub phase: Phase,
    /// Objects looked into in this stop.
    pub objects_traced: usize,
    /// Bytes that live and that had been allocated since the last collection, when it began.
    pub bytes_before: usize,
    /// The same when it ended. While a major collection is marking, or its blocks are being counted, what is dead is not
    /// known yet, and counts.
    pub bytes_after: usize,
    /// How long it took, if [`Config::measure_times`](crate::Config::measure_times) is on. `Drop` implementations are
    /// counted, callbacks are not.
    pub time: Option<Duration>,
    /// How much of that the pause was, from the end of marking to when what is dead was decided, if there was one.
    pub pause: Option<Duration>,
}

/// What a stop of the program was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A major collection, from beginning to end.
    Major,
    /// A minor collection.
    Minor,
    /// An increment of a major collection without its pause.
    Increment,
    /// The increment of a major collection in which its pause was.
    Pause,
}

/// How long the stops were that collections have made: how many fell between which bounds.
///
/// Each bound is an eighth above the one before it, so a figure is at most an eighth too large. Kept if
/// [`Config::measure_times`](crate::Config::measure_times) is on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stops {
    counts: [u32; STOPS],
    longest: Duration,
    total: Duration,
}

/// Bounds: eight for each doubling of a nanosecond, up to half a minute.
const STOPS: usize = 35 * 8;

impl Default for Stops {
    fn default() -> Self {
        Self { counts: [0; STOPS], longest: Duration::ZERO, total: Duration::ZERO }
    }
}

impl Stops {
    /// Stops so far.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The length that a part of the stops do not exceed, 0.999 for all but one in a thousand. Zero if there were none.
    ///
    /// # Panics
    ///
    /// If the part is not between 0 and 1.
    pub fn quantile(&self, part: f64) -> Duration {
        assert!((0.0..=1.0).contains(&part), "a part of all stops is between 0 and 1, which {part} is not");
        let all = self.count();
        // The cast saturates, and there are fewer than 2⁵³.
        let wanted = ((all as f64 * part) as u64).min(all.saturating_sub(1));
        let mut below = 0;
        for (place, &count) in self.counts.iter().enumerate() {
            below += u64::from(count);
            if below > wanted {
                // The last place has those that are longer than any bound, too.
                return if place == STOPS - 1 { self.longest } else { Self::bound(place).min(self.longest) };
            }
        }
        self.longest
    }

    /// Counts one in.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there is no clock"))]
    pub(crate) fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(8);
        let doubling = nanoseconds.ilog2();
        let eighth = (nanoseconds >> (doubling - 3)) & 7;
        let place = (doubling as usize - 3) * 8 + eighth as usize;
        let count = &mut self.counts[place.min(STOPS - 1)];
        *count = count.saturating_add(1);
        self.longest = self.longest.max(time);
        self.total += time;
    }

    /// The length that none exceeds which is counted at a place.
    fn bound(place: usize) -> Duration {
        let (doubling, eighth) = (place / 8 + 3, place as u64 % 8);
        Duration::from_nanos(((9 + eighth) << (doubling - 3)) - 1)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_are_told_to_an_eighth() {
        let mut stops = Stops::default();
        assert_eq!(stops.quantile(0.5), Duration::ZERO);
        for microseconds in 1..=1000 {
            stops.add(Duration::from_micros(microseconds));
        }
        assert_eq!((stops.count(), stops.longest()), (1000, Duration::from_millis(1)));
        for (part, exact) in [(0.0, 1.0), (0.5, 501.0), (0.99, 991.0), (1.0, 1000.0)] {
            let told = stops.quantile(part).as_nanos() as f64 / 1000.0;
            assert!((exact..exact * 1.126).contains(&told), "{part}: {told} for {exact}");
        }
        stops.add(Duration::from_secs(1_000_000));
        assert_eq!(stops.quantile(1.0), Duration::from_secs(1_000_000));
    }
}
