//! The weak pass: which weak references die, and what is queued. It makes no request for memory: queues are linked
//! through the registrations, and what the mark queue has no room for is deferred.
//!
//! Before it, everything that roots and queued guardians lead to is marked. After it, unmarked means dead.

use super::core::Core;
use super::ephemerons;
use super::mark::{self, MarkWork};
use crate::edges::finalizers::Class;
use crate::stats::CycleStats;

/// Decides over all observed objects that were not reached.
pub(crate) fn run(core: &mut Core, cycle: u32, stats: &mut CycleStats) -> MarkWork {
    let queued = [Class::Cleanup, Class::Guardian, Class::Notification].map(|class| core.finalizers.queued(class));
    let external = core.pacing.external;
    // From here on nothing is asked of the allocator.
    core.marker.freeze();
    // Everything that is strongly reachable is marked once the values of ephemerons are.
    let mut work = ephemerons::converge(core, stats);
    if core.finalizers.has_owners() {
        // Who is unreachable now is told nothing, even if a guardian brings it back.
        stats.notifications_silenced = silence(core);
    }
    if core.finalizers.has_guardians() {
        // All guarded objects that are unreachable are found before any of them is marked: one may lead to another.
        queue_guardians(core, cycle);
        // Short weak references die even if a guardian brings the object back.
        stats.short_cleared = clear_short(core, cycle);
        // What the queued guardians lead to lives on, intact.
        mark::mark_guarded(core);
        work += mark::drain(core);
        work += ephemerons::converge(core, stats);
    }
    // Now nothing brings an unmarked object back.
    stats.ephemerons_cleared = ephemerons::kill(core, stats);
    stats.long_cleared = bury(core, cycle);
    stats.short_cleared = stats.short_cleared.max(stats.long_cleared);

    stats.cleanups_queued = core.finalizers.queued(Class::Cleanup) - queued[0];
    stats.guardians_queued = core.finalizers.queued(Class::Guardian) - queued[1];
    stats.notifications_queued = core.finalizers.queued(Class::Notification) - queued[2];
    stats.external_released = external - core.pacing.external;
    work
}

fn silence(core: &mut Core) -> usize {
    let Core { weak, finalizers, .. } = core;
    let before = finalizers.silenced();
    weak.each_condemned(|weak, slot| finalizers.silence_owned(weak, slot));
    finalizers.silenced() - before
}

fn queue_guardians(core: &mut Core, cycle: u32) {
    let Core { weak, finalizers, .. } = core;
    weak.each_condemned(|weak, slot| finalizers.queue_guardians(weak, slot, cycle));
}

/// Kills the short weak references of unreachable objects, and queues the notifications of that.
fn clear_short(core: &mut Core, cycle: u32) -> usize {
    let Core { weak, finalizers, .. } = core;
    let mut cleared = 0;
    weak.each_condemned(|weak, slot| {
        weak.clear_short(slot);
        finalizers.queue_notifications(weak, slot, cycle);
        cleared += 1;
    });
    cleared
}

/// Frees the slots of dead objects, which kills their weak references, and queues their callbacks.
fn bury(core: &mut Core, cycle: u32) -> usize {
    let Core { weak, finalizers, pacing, .. } = core;
    let mut external = 0_usize;
    let freed = weak.free_condemned(|weak, slot| {
        let newest = weak.take_registrations(slot);
        external = external.saturating_add(finalizers.queue_callbacks(weak, newest, cycle));
    });
    pacing.external = pacing.external.saturating_sub(external);
    freed
}
