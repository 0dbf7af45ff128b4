//! A collection from beginning to end.
//!
//! Mark bits stay from one collection to the next: what is marked was reached by a collection before and is *old*, what is
//! not is new. A *major* collection clears the marks and decides over everything. A *minor* one leaves them, so that old
//! objects count as alive, and marks what roots made since and dirty objects lead to (Demers et al., "Combining
//! generational and conservative garbage collection", 1990).
//!
//! `[INV-CYCLE-2]` Between collections, while the heap is armed, an old object that leads to a new one is dirty, or a root
//! page is recent that a root of it lies in. A collection ends with no marked object leading to an unmarked one; new
//! objects are unmarked; a write to a marked object makes it dirty first.

use super::core::Core;
use super::mark::{self, MarkWork};
use super::verify::{self, VerifyError};
use super::{ephemerons, sweep, weak_pass};
use crate::memory::block::Block;
use crate::stats::{Cause, CycleStats};

/// Collects the whole heap. `at_once`: also drops everything dead now, and gives empty chunks back.
///
/// User code may run: `Drop` of dead objects and of the values of dead ephemerons. If a hand-written `Trace` panics, the
/// panic passes through after the heap was put into a state in which everything counts as alive, until the next
/// collection finds out.
///
/// In zeal, says what is wrong with the heap.
pub(crate) fn collect(core: &mut Core, cause: Cause, at_once: bool) -> Result<(), VerifyError> {
    if core.closed || core.marker.reserve().is_err() {
        return Ok(());
    }
    let mut stats = CycleStats { cause, ..CycleStats::default() };
    let mut clock = Clock::start(core.config.measure_times);

    core.retire_cursors();
    sweep::finish(core, false);
    core.forget_remembered();
    let work = decide(Marking::of_everything(core), mark::mark_roots, &mut stats, &mut clock);
    core.major_only = false;
    // Before the sweep: what it drops may drop and make roots.
    let verdict = if core.config.zeal { verify::verify(core, Some(sweep::marked(core))).map(drop) } else { Ok(()) };
    stats.weak_time = clock.lap();
    ephemerons::drop_dead(core::mem::take(&mut core.marker.examined), &mut core.failures);
    let (live_objects, live_bytes) = sweep::census(core);
    if at_once {
        sweep::finish(core, true);
    }
    core.pacing.collected(&core.config, live_bytes);
    core.arm();
    core.pool.release_empty(if at_once { core.config.keep_empty } else { core.pacing.goal });
    if at_once {
        core.release_tables();
    }
    core.apply_limit();
    stats.sweep_time = clock.lap();

    (stats.objects_traced, stats.objects_prefetched) = (work.traced, work.prefetched);
    core.count_callbacks(&mut stats);
    core.stats.collections += 1;
    (core.stats.live_objects, core.stats.live_bytes) = (live_objects, live_bytes);
    core.stats.last = stats;
    verdict
}

/// Frees what has died of the objects made since the last collection. Old objects, which a collection has seen before,
/// count as alive.
///
/// User code may run, as in [`collect`].
pub(crate) fn collect_minor(core: &mut Core, cause: Cause) -> Result<(), VerifyError> {
    if core.closed || core.marker.reserve().is_err() {
        return Ok(());
    }
    let mut stats = CycleStats { cause, minor: true, ..CycleStats::default() };
    let mut clock = Clock::start(core.config.measure_times);

    core.retire_cursors();
    let looked_at = core.remembered.iter().map(|object| object.bytes()).sum();
    let work = decide(Marking::of_recent(core), mark::mark_recent, &mut stats, &mut clock);
    let verdict = if core.config.zeal { verify::verify_minor(core) } else { Ok(()) };
    stats.weak_time = clock.lap();
    ephemerons::drop_dead(core::mem::take(&mut core.marker.examined), &mut core.failures);
    let (objects, bytes) = sweep::minor_census(core);
    if cause == Cause::Step {
        core.pacing.learn(bytes, looked_at);
        core.arm();
    }
    core.pacing.minor_collected(bytes);
    core.apply_limit();
    stats.sweep_time = clock.lap();

    (stats.objects_traced, stats.objects_prefetched) = (work.traced, work.prefetched);
    core.count_callbacks(&mut stats);
    core.stats.collections += 1;
    core.stats.minor_collections += 1;
    core.stats.live_objects += objects;
    core.stats.live_bytes += bytes;
    core.stats.last = stats;
    verdict
}

/// Marks from where `start` begins, and decides over what was not reached.
fn decide(marking: Marking<'_>, start: fn(&mut Core), stats: &mut CycleStats, clock: &mut Clock) -> MarkWork {
    start(marking.core);
    let mut work = mark::drain_with_threads(marking.core);
    stats.mark_time = clock.lap();
    // From here to the end of the pass nothing but the pass looks at the heap.
    let cycle = marking.core.stats.collections as u32;
    work += weak_pass::run(marking.core, cycle, stats);
    marking.finish();
    work
}

impl core::ops::AddAssign for MarkWork {
    fn add_assign(&mut self, other: Self) {
        self.traced += other.traced;
        self.prefetched += other.prefetched;
    }
}

/// The time in which the marks say less than the truth.
///
/// `[INV-CYCLE-1]` When it begins marks are clear, or only old objects are marked; when it is finished they are
/// complete. If it is dropped before, by a panic, everything is marked.
struct Marking<'a> {
    core: &'a mut Core,
}

impl<'a> Marking<'a> {
    fn of_everything(core: &'a mut Core) -> Self {
        core.weak.decide_over_recent(false);
        for chunk in core.pool.chunks() {
            chunk.clear_marks();
        }
        Self { core }
    }

    fn of_recent(core: &'a mut Core) -> Self {
        core.weak.decide_over_recent(true);
        Self { core }
    }

    fn finish(self) {
        self.core.roots.forget_recent();
        self.core.marker.clear();
        core::mem::forget(self);
    }
}

impl Drop for Marking<'_> {
    fn drop(&mut self) {
        ephemerons::abandon(self.core);
        self.core.forget_remembered();
        self.core.major_only = true;
        let Core { spaces, larges, marker, .. } = &mut *self.core;
        marker.clear();
        for space in spaces {
            for block in &space.blocks {
                // Cells that hold nothing are marked, too. Nobody visits them: the next collection clears the marks,
                // and until then only cells that are not marked are handed out or dropped.
                block.marks().iter().zip(&space.starts.granules).for_each(|(marks, &cells)| marks.set(cells));
                block.info().live.set(block.capacity() as u32);
            }
            space.exhaust();
        }
        for block in larges {
            crate::memory::chunk::mark(Block::base(*block));
        }
    }
}

/// Reads the time, if it was asked to.
struct Clock {
    #[cfg(feature = "std")]
    last: Option<std::time::Instant>,
}

impl Clock {
    #[cfg(feature = "std")]
    fn start(measure: bool) -> Self {
        Self { last: measure.then(std::time::Instant::now) }
    }

    /// The time since the last lap.
    #[cfg(feature = "std")]
    fn lap(&mut self) -> Option<core::time::Duration> {
        let last = self.last?;
        let now = std::time::Instant::now();
        self.last = Some(now);
        Some(now - last)
    }

    #[cfg(not(feature = "std"))]
    fn start(_: bool) -> Self {
        Self {}
    }

    #[cfg(not(feature = "std"))]
    fn lap(&mut self) -> Option<core::time::Duration> {
        None
    }
}
