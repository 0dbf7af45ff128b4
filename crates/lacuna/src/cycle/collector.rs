//! A collection from beginning to end.
//!
//! Mark bits stay from one collection to the next: what is marked was reached by a collection before and is *old*, what is
//! not is new. A *major* collection clears the marks and decides over everything; see [`major`]. A *minor* one leaves them, so that old
//! objects count as alive, and marks what roots made since and dirty objects lead to (Demers et al., "Combining
//! generational and conservative garbage collection", 1990).
//!
//! `[INV-CYCLE-2]` While the heap is armed, an object is *dirty* that was marked and may have been written since it was looked into; it
//! is remembered. A marked object that leads to one that is neither marked nor dirty is dirty itself, and a root that leads to
//! such an object lies in a recent page. A collection ends with no marked object leading to an unmarked one; new objects are
//! unmarked; a write to a marked object makes it dirty first.
//!
//! Between collections a dirty object loses its mark, so that the barrier has to look at nothing but the mark, and gets
//! it back when the next collection begins. If its type has nothing to drop, its marked neighbours become dirty with it, so
//! that a program which writes them next is as quick. While marking it keeps it, or it would be visited as often as it is written;
//! and until its block is counted, since it would be taken for dead. Then a bit of its own says that it is dirty.

use super::core::Core;
use super::major;
use super::mark::{self, MarkWork};
use super::verify::{self, VerifyError};
use super::work::Work;
use super::{ephemerons, sweep, weak_pass};
use crate::memory::chunk::SEGMENT;
use crate::object::descriptor::ObjectRef;
use crate::stats::{Cause, CycleStats};

/// Collects the whole heap, without interruption. `at_once`: also drops everything dead now, and gives empty chunks back.
///
/// User code may run: `Drop` of dead objects and of the values of dead ephemerons. If a hand-written `Trace` panics, the
/// collection is abandoned, and the panic passes through: nothing is freed before the next major collection.
///
/// In zeal, says what is wrong with the heap.
pub(crate) fn collect(core: &mut Core, cause: Cause, at_once: bool) -> Result<(), VerifyError> {
    if core.closed || core.marker.reserve().is_err() {
        return Ok(());
    }
    if core.stage.is_marking() {
        // What was marked may have died since.
        major::abandon(core);
    }
    let mut clock = Clock::start(core.config.measure_times);
    let whole = &mut Work::unlimited();
    sweep::count_some(core, 0, whole);
    sweep::finish(core, false);
    core.forget_remembered();
    core.cycle = CycleStats { cause, ..CycleStats::default() };
    let verdict = major::mark_at_once(core, &mut clock);
    sweep::count_some(core, 0, whole);
    major::counted(core);
    if at_once {
        sweep::finish(core, true);
    } else if core.pacing.is_short_of_dead_tables() {
        sweep::finish(core, false);
    }
    core.stage = major::Stage::Idle;
    core.pool.release_empty(if at_once { core.config.keep_empty } else { core.pacing.goal });
    if at_once {
        core.release_tables();
    }
    clock.lap_into(&mut core.cycle.sweep_time);
    core.stats.last = core.cycle;
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

    let looked_at = if cause == Cause::Step { looked_at_again(core) } else { 0 };
    if cause == Cause::Step && !core.pacing.pays(0, looked_at) {
        // Even if all that is new were dead.
        core.pacing.learn(0, looked_at);
        if !core.pacing.wants_minors() {
            core.disarm();
        }
        return Ok(());
    }
    core.retire_cursors();
    core.weak.decide_over_recent(true);
    let work = decide(core, mark::mark_recent, &mut stats, &mut clock);
    let verdict = if core.config.zeal { verify::verify_marks(core, None) } else { Ok(()) };
    clock.lap_into(&mut stats.weak_time);
    ephemerons::drop_dead(core::mem::take(&mut core.marker.examined), &mut core.failures);
    let (objects, bytes) = sweep::count_recent(core);
    if cause == Cause::Step {
        core.pacing.learn(bytes, looked_at);
        core.arm();
    }
    core.pacing.minor_collected(bytes, core.stage != major::Stage::Idle);
    core.apply_limit();
    clock.lap_into(&mut stats.sweep_time);

    (stats.objects_traced, stats.objects_prefetched) = (work.traced, work.prefetched);
    core.count_callbacks(&mut stats);
    core.stats.collections += 1;
    core.stats.minor_collections += 1;
    core.stats.live_objects += objects;
    core.stats.live_bytes += bytes;
    core.stats.last = stats;
    verdict
}

/// Bytes of the dirty objects and segments, those of the collections that they own included, as far as they hold edges.
///
/// Code of the program runs: `Trace`.
fn looked_at_again(core: &Core) -> usize {
    let bytes = |object: ObjectRef| object.bytes().max(object.count_edges() * size_of::<usize>());
    core.remembered.iter().flat_map(|written| written.objects()).map(bytes).sum::<usize>()
        + core.segments.len() * SEGMENT
}

/// Marks from where `start` begins, and decides over what was not reached.
pub(crate) fn decide(core: &mut Core, start: fn(&mut Core), stats: &mut CycleStats, clock: &mut Clock) -> MarkWork {
    major::while_marking(core, |core| {
        start(core);
        let mut work = mark::drain_with_threads(core);
        clock.lap_into(&mut stats.mark_time);
        // From here to the end of the pass nothing but the pass looks at the heap.
        let cycle = core.stats.collections as u32;
        work += weak_pass::run(core, cycle, stats);
        core.roots.forget_recent();
        core.marker.clear();
        work
    })
}

/// Reads the time, if it was asked to.
pub(crate) struct Clock {
    #[cfg(feature = "std")]
    last: Option<std::time::Instant>,
}

impl Clock {
    #[cfg(feature = "std")]
    pub(crate) fn start(measure: bool) -> Self {
        Self { last: measure.then(std::time::Instant::now) }
    }

    /// Adds the time since the last lap.
    #[cfg(feature = "std")]
    pub(crate) fn lap_into(&mut self, total: &mut Option<core::time::Duration>) {
        if let Some(last) = self.last {
            let now = std::time::Instant::now();
            self.last = Some(now);
            *total = Some(total.unwrap_or_default() + (now - last));
        }
    }

    #[cfg(not(feature = "std"))]
    pub(crate) fn start(_: bool) -> Self {
        Self {}
    }

    #[cfg(not(feature = "std"))]
    pub(crate) fn lap_into(&mut self, _: &mut Option<core::time::Duration>) {}
}
