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
use crate::object::marker::Marker;

/// Visits for which one order is kept.
const STRETCH: usize = 4096;
/// Visits at the start of a stretch that are sampled.
const SAMPLE: usize = 64;
/// Objects count as near to each other if they are at most this many bytes apart.
const NEAR: usize = 512;
/// Near pairs in a sample from which on the plain order is used.
const MOSTLY_NEAR: usize = SAMPLE * 3 / 4;

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
    loop {
        let Some((last, near)) = sample(marker, work) else {
            if marker.visit_piece() {
                continue;
            }
            return;
        };
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
    }
}

/// Visits a few objects in plain order. Returns the last of them, and how many lie near their predecessor; `None` if
/// nothing was queued.
fn sample(marker: &mut Marker, work: &mut MarkWork) -> Option<(ObjectRef, usize)> {
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
