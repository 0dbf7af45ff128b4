//! A collection from beginning to end.

use super::core::Core;
use super::mark::{self, MarkWork};
use super::verify::{self, VerifyError};
use super::{ephemerons, sweep, weak_pass};
use crate::memory::block::Block;
use crate::stats::{Cause, CycleStats};

/// Collects the whole heap. `at_once`: also drops everything dead now, and gives empty chunks back.
///
/// User code may run: `Drop` of dead objects and of the values of dead ephemerons. If a hand-written `Trace` panics, the panic passes through after the heap
/// was put into a state in which everything counts as alive, until the next collection finds out.
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
    let work = {
        let marking = Marking::begin(core);
        mark::mark_roots(marking.core);
        let mut work = mark::drain(marking.core);
        stats.mark_time = clock.lap();
        // From here to the end of the pass nothing but the pass looks at the heap.
        let cycle = marking.core.stats.collections as u32;
        work += weak_pass::run(marking.core, cycle, &mut stats);
        marking.finish();
        work
    };
    // Before the sweep: what it drops may drop and make roots.
    let verdict = if core.config.zeal { verify::verify(core, Some(sweep::marked(core))).map(drop) } else { Ok(()) };
    stats.weak_time = clock.lap();
    ephemerons::drop_dead(core::mem::take(&mut core.marker.examined), &mut core.failures);
    let (live_objects, live_bytes) = sweep::census(core);
    if at_once {
        sweep::finish(core, true);
    }
    core.pacing.collected(&core.config, live_bytes);
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

impl core::ops::AddAssign for MarkWork {
    fn add_assign(&mut self, other: Self) {
        self.traced += other.traced;
        self.prefetched += other.prefetched;
    }
}

/// The time in which the marks say less than the truth.
///
/// `[INV-CYCLE-1]` Marks are clear when it begins and complete when it is finished. If it is dropped before, by a
/// panic, everything is marked.
struct Marking<'a> {
    core: &'a mut Core,
}

impl<'a> Marking<'a> {
    fn begin(core: &'a mut Core) -> Self {
        for chunk in core.pool.chunks() {
            chunk.clear_marks();
        }
        Self { core }
    }

    fn finish(self) {
        self.core.marker.clear();
        core::mem::forget(self);
    }
}

impl Drop for Marking<'_> {
    fn drop(&mut self) {
        ephemerons::abandon(self.core);
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
