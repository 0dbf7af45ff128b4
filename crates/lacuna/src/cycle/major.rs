//! A major collection, in stages.
//!
//! ```text
//!          begin            all marks clear          all is marked, and caught up with
//!   idle --------> clearing ---------------> marking --------------------------------+
//!    ^                |                         |                                    | pause
//!    |                +---- abandoned ----------+                                    v
//!    +------ releasing <--------------- sweeping <------------------------------- counting
//!         memory is       all values that           the free cells of all
//!         given back      are dead are dropped      blocks are told
//! ```
//!
//! Each stage but the pause can be done in *increments*, between which the program runs. What happens to the heap
//! meanwhile:
//!
//! - Allocation reads the occupied bits, which change only when a block is counted, so it does not see that marks are
//!   cleared and set. What is allocated while marking is unmarked like all that is new, and dies in the pause if nothing
//!   leads to it then.
//! - `[INV-CYCLE-2]` holds while marking as well, with one more exception: a marked object may lead to an unmarked one
//!   while it is queued. So the last steps of marking are those of a minor collection: what roots made since lead to, and
//!   what dirty objects lead to. Rounds of that are done in increments, each shorter than the one before by a quarter at
//!   least; what the program changes after them is left for the pause (Boehm, Demers and Shenker, "Mostly parallel garbage
//!   collection", 1991).
//! - After the pause blocks are counted one by one, by increments or by whoever wants cells of theirs first. Minor
//!   collections may run meanwhile: they concern only blocks that cursors have entered, which are counted.

use super::collector::{Clock, decide};
use super::core::Core;
use super::ephemerons;
use super::mark::{self, Round};
use super::pacing::Live;
use super::sweep;
use super::verify::{self, VerifyError};
use super::work::Work;
use crate::memory::chunk::BLOCK_SIZE;
use crate::stats::{Cause, CycleStats, Phase, Stats};

/// Where the heap is between two major collections. See the top of the file.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    #[default]
    Idle,
    Clearing {
        /// The chunk whose marks are cleared next, by its position in the pool. None goes away in this stage.
        chunk: usize,
    },
    Marking {
        /// The number of the page of roots that is looked at next.
        page: usize,
    },
    /// All that roots led to when marking began is marked.
    CatchingUp(Round),
    Counting {
        space: usize,
    },
    Sweeping {
        space: usize,
        block: usize,
    },
    Releasing,
}

impl Stage {
    /// Whether marks say less than the truth.
    pub(crate) fn is_marking(self) -> bool {
        matches!(self, Self::Clearing { .. } | Self::Marking { .. } | Self::CatchingUp(_))
    }

    /// Whether the marks are being set, or are still to be counted, so that they may not change for another reason.
    pub(crate) fn needs_marks(self) -> bool {
        self.is_marking() || matches!(self, Self::Counting { .. })
    }

    /// The phase it belongs to.
    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Idle => Phase::Idle,
            Self::Clearing { .. } | Self::Marking { .. } | Self::CatchingUp(_) => Phase::Marking,
            Self::Counting { .. } | Self::Sweeping { .. } | Self::Releasing => Phase::Sweeping,
        }
    }
}

/// Work units of clearing the marks of a chunk.
const UNITS_OF_CHUNK: usize = 64;
/// Work units of giving a chunk back to the system.
const UNITS_OF_RELEASE: usize = 4096;

/// Begins a major collection that is done in increments. The heap has to be idle. Says whether it has begun.
pub(crate) fn begin(core: &mut Core, cause: Cause) -> bool {
    if core.closed || core.marker.reserve().is_err() {
        return false;
    }
    debug_assert_eq!(core.stage, Stage::Idle);
    core.cycle = CycleStats { cause, ..CycleStats::default() };
    core.marked_units = 0;
    core.forget_remembered();
    (core.armed, core.major_only) = (false, true);
    core.stage = Stage::Clearing { chunk: 0 };
    core.pacing.began();
    true
}

/// Goes on with a major collection as far as the work goes.
///
/// User code may run: `Trace`, and `Drop` as in [`collect`](super::collector::collect). If a `Trace` panics, the
/// collection is abandoned, and the panic passes through.
pub(crate) fn advance(core: &mut Core, work: &mut Work) -> Result<(), VerifyError> {
    let mut clock = Clock::start(core.config.measure_times);
    core.cycle.increments += 1;
    let mut verdict = Ok(());
    while core.stage != Stage::Idle && verdict.is_ok() && !work.is_spent() {
        verdict = go_on(core, work, &mut clock);
    }
    core.left_remembered = mark::remembered_units(core);
    core.pacing.increment_done(&core.config, core.stage);
    verdict
}

/// Does everything that is left up to the end of the pause.
pub(crate) fn finish_marking(core: &mut Core) -> Result<(), VerifyError> {
    let mut clock = Clock::start(core.config.measure_times);
    core.cycle.increments += 1;
    let mut verdict = Ok(());
    while core.stage.is_marking() && verdict.is_ok() {
        verdict = go_on(core, &mut Work::unlimited(), &mut clock);
    }
    core.left_remembered = mark::remembered_units(core);
    core.pacing.increment_done(&core.config, core.stage);
    verdict
}

/// Does a part of what is to be done in the stage.
fn go_on(core: &mut Core, work: &mut Work, clock: &mut Clock) -> Result<(), VerifyError> {
    match core.stage {
        Stage::Idle => {}
        Stage::Clearing { chunk } => {
            core.stage = clear(core, chunk);
            work.spend(UNITS_OF_CHUNK);
        }
        Stage::Marking { page } => {
            core.stage = match while_marking(core, |core| mark::mark_pages(core, page, work)) {
                Some(page) => Stage::Marking { page },
                None => {
                    core.marked_before = core.marked_units;
                    Stage::CatchingUp(Round::NONE)
                }
            };
            clock.lap_into(&mut core.cycle.mark_time);
        }
        Stage::CatchingUp(round) => {
            let round = while_marking(core, |core| mark::catch_up(core, round, work));
            clock.lap_into(&mut core.cycle.mark_time);
            match round {
                Some(round) => core.stage = Stage::CatchingUp(round),
                None => return pause(core, mark::mark_recent, clock),
            }
        }
        Stage::Counting { space } => {
            core.stage = match sweep::count_some(core, space, work) {
                Some(space) => Stage::Counting { space },
                None => counted(core),
            };
            clock.lap_into(&mut core.cycle.sweep_time);
        }
        Stage::Sweeping { space, block } => {
            core.stage = match sweep::drop_some(core, space, block, work) {
                Some((space, block)) => Stage::Sweeping { space, block },
                None => Stage::Releasing,
            };
            clock.lap_into(&mut core.cycle.sweep_time);
        }
        Stage::Releasing => {
            if core.pool.release_empty_chunk(core.pacing.goal) {
                work.spend(UNITS_OF_RELEASE);
            } else {
                core.stage = Stage::Idle;
            }
        }
    }
    Ok(())
}

/// How many times as much as the program has written since the last increment the next one looks at when it catches up.
/// Where the program writes steadily, each round is then half as long as the one before, so that they go on to the end.
const AHEAD: usize = 2;

/// How much the next increment has to do so that marking ends in time.
pub(crate) fn due_work(core: &Core) -> Work {
    let blocks = core.pool.used() / BLOCK_SIZE;
    let remembered = mark::remembered_units(core);
    match core.stage {
        Stage::Idle => Work::units(0),
        Stage::Clearing { .. } | Stage::Marking { .. } => {
            let all = core.pacing.expected_units(core.stats.live_objects, core.larges.bytes, core.pacing.allocated);
            // An estimate, which may turn out to have been too low: then a part of all is done for what room there is.
            let left = all.saturating_sub(core.marked_units).max(all / 16);
            core.pacing.marking_work(left + remembered)
        }
        Stage::CatchingUp(_) => {
            // What is found meanwhile may lead to anything: while something is queued, as much again as was found so far.
            let found = if core.marker.is_empty() { 0 } else { core.marked_units - core.marked_before };
            let found = found.max(core.pacing.expected_units(0, 0, core.pacing.allocated));
            let written = remembered.saturating_sub(core.left_remembered);
            core.pacing.catching_up_work(remembered + found).at_least(written.saturating_mul(AHEAD))
        }
        Stage::Counting { .. } | Stage::Sweeping { .. } | Stage::Releasing => core.pacing.sweeping_work(blocks),
    }
}

/// Clears the marks of a chunk.
fn clear(core: &mut Core, chunk: usize) -> Stage {
    if let Some(cleared) = core.pool.chunks().get(chunk) {
        cleared.clear_marks();
        return Stage::Clearing { chunk: chunk + 1 };
    }
    core.marker.interrupted = true;
    core.roots.forget_recent();
    // From here on the program has to say what it writes.
    core.armed = true;
    Stage::Marking { page: 0 }
}

/// Clears all marks and marks everything without interruption, up to the end of the pause.
pub(crate) fn mark_at_once(core: &mut Core, clock: &mut Clock) -> Result<(), VerifyError> {
    for chunk in core.pool.chunks() {
        chunk.clear_marks();
    }
    pause(core, mark::mark_roots, clock)
}

/// The end of marking, from which on unmarked means dead.
fn pause(core: &mut Core, start: fn(&mut Core), clock: &mut Clock) -> Result<(), VerifyError> {
    let at_once = !core.marker.interrupted;
    core.retire_cursors();
    core.weak.decide_over_recent(false);
    core.marker.begin_pause();
    let mut stats = core.cycle;
    let work = decide(core, start, &mut stats, clock);
    core.cycle = stats;
    core.cycle.objects_traced += work.traced;
    core.cycle.objects_prefetched += work.prefetched;
    (core.major_only, core.refused) = (false, false);
    // Before the sweep: what it drops may drop and make roots.
    let marked = at_once.then(|| sweep::marked(core));
    let verdict = if core.config.zeal { verify::verify_marks(core, marked) } else { Ok(()) };
    clock.lap_into(&mut core.cycle.weak_time);
    let tables = ephemerons::drop_dead(core::mem::take(&mut core.marker.examined), &mut core.failures);
    core.pacing.tables_reached(tables);
    core.spaces.iter_mut().for_each(|space| space.begin_count());
    core.larges.begin_count();
    core.pacing.marking_ended();
    core.arm();
    core.stage = Stage::Counting { space: 0 };
    core.stats.collections += 1;
    let mut stats = core.cycle;
    core.count_callbacks(&mut stats);
    (core.cycle, core.stats.last) = (stats, stats);
    verdict
}

/// All blocks are counted.
pub(crate) fn counted(core: &mut Core) -> Stage {
    let objects: usize = core.spaces.iter().map(|space| space.live).sum();
    let bytes: usize = core.spaces.iter().map(|space| space.live * space.cell_size).sum();
    core.stats.live_objects = objects + core.larges.live();
    core.stats.live_bytes = bytes + core.larges.live_bytes;
    let Stats { live_objects: objects, live_bytes: bytes, .. } = core.stats;
    core.pacing.collected(&core.config, Live { objects, bytes, large_bytes: core.larges.bytes }, core.pool.used());
    core.apply_limit();
    Stage::Sweeping { space: 0, block: 0 }
}

/// Gives up a collection that has not reached its pause: nothing of what it did counts.
pub(crate) fn abandon(core: &mut Core) {
    ephemerons::abandon(core);
    core.forget_remembered();
    core.marker.clear();
    (core.armed, core.major_only) = (false, true);
    if core.stage.is_marking() {
        core.stage = Stage::Idle;
        core.pacing.abandoned();
    }
}

/// Does a step of marking or of the weak pass.
///
/// `[INV-CYCLE-1]` If a `Trace` panics in it, the collection is abandoned: the marks are read by nobody before the next one
/// clears them.
pub(crate) fn while_marking<R>(core: &mut Core, step: impl FnOnce(&mut Core) -> R) -> R {
    let marking = Marking(core);
    let result = step(marking.0);
    core::mem::forget(marking);
    result
}

struct Marking<'a>(&'a mut Core);

impl Drop for Marking<'_> {
    fn drop(&mut self) {
        abandon(self.0);
    }
}
