//! Marking: everything that can be reached from a set of objects.
//!
//! Two orders. *Plain*: the object queued last is visited next; on a heap laid out in the order of its edges that is
//! also the next in memory, and nothing is faster. *Ring*: queued objects pass through a small first-in-first-out ring
//! and are prefetched when they enter it, so that the memory has answered when they leave it (Cher, Hosking and
//! Vitek, "Software prefetching for mark-sweep garbage collection", 2004). Which one suits a heap is found while
//! marking: the start of each stretch of visits is sampled for how near to each other the objects lie.

use super::core::Core;
use crate::config::MarkOrder;
use crate::memory::bitmap::ones;
use crate::memory::chunk::{is_marked, make_clean};
use crate::object::descriptor::{ObjectRef, object_at};
use crate::object::marker::{Marker, Sharing};

/// Visits for which one order is kept.
pub(super) const STRETCH: usize = 4096;
/// Visits at the start of a stretch that are sampled.
const SAMPLE: usize = 64;
/// Objects count as near to each other if they are at most this many bytes apart.
const NEAR: usize = 512;
/// Near pairs in a sample from which on the plain order is used.
pub(super) const MOSTLY_NEAR: usize = SAMPLE * 3 / 4;

/// Objects that are visited before other threads are started: about a millisecond of work, against some tens of
/// microseconds that it costs to start one.
#[cfg(feature = "parallel")]
const ALONE: usize = 1 << 15;
/// Objects that have to be queued then, so that there is something to share.
#[cfg(feature = "parallel")]
const QUEUED: usize = 32;
/// A queue shorter than twice this is not shared.
#[cfg(feature = "parallel")]
const LEAST: usize = 8;

/// What marking did, for the statistics.
#[derive(Default)]
pub(crate) struct MarkWork {
    pub(crate) traced: usize,
    pub(crate) prefetched: usize,
}

/// Marks the targets of all roots and of queued guardians.
pub(crate) fn mark_roots(core: &mut Core) {
    for object in core.roots.targets() {
        core.marker.mark_object(object);
    }
    mark_guarded(core);
}

/// Marks the targets of the roots made since the last collection, and queues the dirty objects, which become clean: what
/// a minor collection starts from.
pub(crate) fn mark_recent(core: &mut Core) {
    for object in core.roots.recent_targets() {
        core.marker.mark_object(object);
    }
    let Core { remembered, marker, .. } = core;
    for object in remembered.drain(..) {
        make_clean(object.cell());
        marker.requeue(object);
    }
    mark_guarded(core);
}

/// Marks the targets of queued guardians.
pub(crate) fn mark_guarded(core: &mut Core) {
    let Core { weak, finalizers, marker, .. } = core;
    for slot in finalizers.guarded_slots() {
        marker.mark_object(weak.slot(slot).object().expect("queued guardians keep their targets alive"));
    }
}

/// [`drain`], by as many threads as the configuration allows if there turns out to be much to do. Not for the weak pass,
/// which allocates nothing.
pub(crate) fn drain_with_threads(core: &mut Core) -> MarkWork {
    let mut work = MarkWork::default();
    #[cfg(feature = "parallel")]
    if core.config.mark_threads > 1 {
        let Core { marker, config, .. } = &mut *core;
        // In zeal there is always enough for it.
        let (alone, queued, least) = if config.zeal { (0, 1, 1) } else { (ALONE, QUEUED, LEAST) };
        while work.traced < alone || marker.queued() < queued {
            if !stretch(marker, config.mark_order, &mut work) {
                break;
            }
        }
        if marker.queued() >= queued {
            work += super::parallel::drain(marker, config.mark_threads, least, config.mark_order);
        }
    }
    work += drain(core);
    work
}

/// Visits everything that is queued, and what that leads to.
pub(crate) fn drain(core: &mut Core) -> MarkWork {
    let mut work = MarkWork::default();
    loop {
        drain_queue(&mut core.marker, core.config.mark_order, &mut work);
        if !core.marker.take_overflow() {
            return work;
        }
        requeue_all(core, &mut work);
    }
}

fn drain_queue(marker: &mut Marker, order: MarkOrder, work: &mut MarkWork) {
    while stretch(marker, order, work) {}
}

/// Visits a stretch of objects in one order; says whether there may be more to do.
fn stretch(marker: &mut Marker, order: MarkOrder, work: &mut MarkWork) -> bool {
    let Some((last, near)) = sample(marker, work) else { return marker.visit_piece() };
    let plain = match order {
        MarkOrder::Sampled => near >= MOSTLY_NEAR,
        MarkOrder::Plain => true,
        MarkOrder::Ring => false,
    };
    if plain {
        work.traced += last.visit_plain(marker, STRETCH);
    } else {
        let visits = last.visit_ring(marker, STRETCH);
        work.traced += visits;
        work.prefetched += visits;
    }
    true
}

/// Visits a few objects in plain order. Returns the last of them, and how many lie near their predecessor; `None` if
/// nothing was queued.
pub(super) fn sample<S: Sharing>(marker: &mut Marker<S>, work: &mut MarkWork) -> Option<(ObjectRef, usize)> {
    let mut previous = marker.pop()?;
    previous.mark_edges(marker);
    let mut near = 0;
    let mut visits = 1;
    while visits < SAMPLE {
        let Some(object) = marker.pop() else { break };
        let distance = object.cell().addr().get().abs_diff(previous.cell().addr().get());
        near += usize::from(distance <= NEAR);
        object.mark_edges(marker);
        previous = object;
        visits += 1;
    }
    work.traced += visits;
    Some((previous, near))
}

/// Visits every marked object that can hold edges again: the queue had no room for some, and it is not known which.
fn requeue_all(core: &mut Core, work: &mut MarkWork) {
    let Core { spaces, larges, marker, config, .. } = core;
    // The queue is empty before each visit, and short after it unless much is newly found.
    let mut visit_again = |object: ObjectRef| {
        if object.descriptor().edges {
            marker.requeue(object);
            drain_queue(marker, config.mark_order, work);
        }
    };
    for space in spaces {
        for &block in &space.blocks {
            for (word, marks) in block.marks().iter().enumerate() {
                for bit in ones(marks.get()) {
                    visit_again(object_at(block, space.starts.offset(word, bit)));
                }
            }
        }
    }
    for &block in larges.iter().filter(|block| is_marked(block.base())) {
        visit_again(object_at(block, 0));
    }
}
