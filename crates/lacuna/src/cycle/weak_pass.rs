//! The weak pass: which weak references die, and what is queued. It needs no memory: room for what it queues was made
//! when it was registered, and the mark queue can do without growing.
//!
//! Before it, everything that roots and queued guardians lead to is marked. After it, unmarked means dead.

use super::core::Core;
use super::ephemerons;
use super::mark::{self, MarkWork};
use crate::stats::CycleStats;

/// Decides over all observed objects that were not reached.
pub(crate) fn run(core: &mut Core, cycle: u32, stats: &mut CycleStats) -> MarkWork {
    let before = core.finalizers.queue_lengths();
    // Everything that is strongly reachable is marked once the values of ephemerons are.
    let mut work = ephemerons::converge(core, stats);
    if core.finalizers.has_guardians() {
        // All guarded objects that are unreachable are found before any of them is marked: one may lead to another.
        queue_guardians(core, cycle);
        // Short weak references die even if a guardian brings the object back.
        stats.short_cleared = clear_short(core);
        // What the queued guardians lead to lives on, intact.
        mark::mark_guarded(core);
        work += mark::drain(core);
        work += ephemerons::converge(core, stats);
    }
    // Now nothing brings an unmarked object back.
    stats.ephemerons_cleared = ephemerons::kill_unmarked(core, stats);
    stats.long_cleared = bury(core, cycle, stats);
    stats.short_cleared = stats.short_cleared.max(stats.long_cleared);
    let after = core.finalizers.queue_lengths();
    (stats.guardians_queued, stats.cleanups_queued) = (after.0 - before.0, after.1 - before.1);
    core.finalizers.order_batch(before);
    work
}

fn queue_guardians(core: &mut Core, cycle: u32) {
    let Core { weak, finalizers, .. } = core;
    weak.each_condemned(|weak, slot| finalizers.queue_guardians(weak, slot, cycle));
}

fn clear_short(core: &mut Core) -> usize {
    let mut cleared = 0;
    core.weak.each_condemned(|weak, slot| {
        weak.clear_short(slot);
        cleared += 1;
    });
    cleared
}

/// Frees the slots of dead objects, which kills their weak references, kills the ephemerons that they are keys of, and
/// queues their cleanups.
fn bury(core: &mut Core, cycle: u32, stats: &mut CycleStats) -> usize {
    let Core { weak, finalizers, pacing, .. } = core;
    weak.free_condemned(|weak, slot| {
        stats.ephemerons_cleared += ephemerons::kill_waiters(weak.replace_waiter(slot, None));
        let external = finalizers.queue_cleanups(weak, slot, cycle);
        pacing.external = pacing.external.saturating_sub(external);
    })
}
