//! Marking: everything that can be reached from a set of objects.
//!
//! Two orders. *Plain*: the object queued last is visited next; on a heap laid out in the order of its edges that is
//! also the next in memory, and nothing is faster. *Ring*: queued objects pass through a small first-in-first-out ring
//! and are prefetched when they enter it, so that the memory has answered when they leave it (Cher, Hosking and
//! Vitek, "Software prefetching for mark-sweep garbage collection", 2004). Which one suits a heap is found while
//! marking: the start of each stretch of visits is sampled for how near to each other the objects lie.

use super::core::Core;
use super::work::Work;
use crate::config::MarkOrder;
use crate::memory::bitmap::ones;
use crate::memory::block::Block;
use crate::memory::chunk::{BLOCK_SIZE, SEGMENT, is_marked, make_clean, make_segment_clean};
use crate::memory::prefetch::prefetch;
use crate::object::descriptor::{ObjectRef, object_at};
use crate::object::marker::{Marker, Sharing};

/// Visits for which one order is kept.
pub(super) const STRETCH: usize = 4096;
/// Visits at the start of a stretch that are sampled.
pub(super) const SAMPLE: usize = 64;
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
    /// Work units.
    pub(super) units: usize,
}

impl MarkWork {
    pub(super) fn visited(&mut self, objects: usize) {
        self.traced += objects;
        self.units += objects;
    }
}

impl core::ops::AddAssign for MarkWork {
    fn add_assign(&mut self, other: Self) {
        self.traced += other.traced;
        self.prefetched += other.prefetched;
        self.units += other.units;
    }
}

/// Marks the targets of all roots and of queued guardians.
pub(crate) fn mark_roots(core: &mut Core) {
    for object in core.roots.targets() {
        core.marker.mark_object(object);
    }
    mark_guarded(core);
}

/// Queues the dirty objects, which become clean, and marks the targets of the roots made since the last collection: what
/// a minor collection starts from.
pub(crate) fn mark_recent(core: &mut Core) {
    // Before anything is marked: what is marked is queued, and could lie in a dirty pair. [INV-MARK-2]
    while queue_remembered(core).is_some() {}
    core.marker.visit_owners();
    while revisit_segment(core).is_some() {}
    for object in core.roots.recent_targets() {
        core.marker.mark_object(object);
    }
    mark_guarded(core);
}

/// How far ahead segments are prefetched.
const FORESEEN: usize = 4;

/// Visits the segment that was remembered last and makes it clean; `None` if none is remembered.
fn revisit_segment(core: &mut Core) -> Option<()> {
    let (object, offset) = core.segments.pop()?;
    let start_of = |offset: usize| offset & !(SEGMENT - 1);
    if let Some(&(object, offset)) = core.segments.below_top(FORESEEN) {
        for line in [0, SEGMENT / 2] {
            prefetch(object.cell().map_addr(|addr| addr.saturating_add(start_of(offset) + line)));
        }
    }
    make_segment_clean(object.cell(), offset);
    let start = start_of(offset);
    core.marker.visit_range(object, start..start + SEGMENT);
    Some(())
}

/// Queues the objects that were remembered last: marks those that have lost their marks, or takes those of a dirty pair of
/// granules, which becomes clean. `None` if none is remembered.
fn queue_remembered(core: &mut Core) -> Option<()> {
    let written = core.remembered.pop()?;
    if written.taken != 0 {
        written.objects().for_each(|object| core.marker.mark_object(object));
        return Some(());
    }
    let cell = written.cell;
    make_clean(cell);
    for cell in Block::marked_in_pair(cell) {
        core.marker.requeue(object_at(Block::of(cell), cell.addr().get() % BLOCK_SIZE));
    }
    Some(())
}

/// How far marking has caught up with what the program has changed since it began: dirty objects, and pages with roots made
/// since. In a *round* as many are looked at as there were when it began; the next has to be shorter by a quarter, so that a
/// program which changes as much as is looked at does not put the end of marking off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Round {
    all: usize,
    left: usize,
}

impl Round {
    /// Before the first.
    pub(crate) const NONE: Self = Self { all: usize::MAX, left: 0 };

    /// The next, in which so many are to be looked at, if it is worth it.
    fn next(self, all: usize) -> Option<Self> {
        (all > 0 && all <= self.all / 4 * 3).then_some(Self { all, left: all })
    }
}

/// Marks in an increment what roots made since the last one lead to and what dirty objects do, as far as the work goes.
/// Returns the round to go on with; `None` if what is left is for the pause.
pub(crate) fn catch_up(core: &mut Core, mut round: Round, work: &mut Work) -> Option<Round> {
    while drain_some(core, work) {
        if round.left == 0 {
            round = round.next(core.remembered.len() + core.segments.len() + core.roots.recent_pages())?;
        }
        round.left -= 1;
        let units = if core.segments.is_empty() { UNITS_OF_PAIR } else { UNITS_OF_SEGMENT };
        if revisit_segment(core).or_else(|| queue_remembered(core)).is_some() {
            work.spend(units);
        } else {
            core.roots.recent_page()?.for_each(|object| core.marker.mark_object(object));
            work.spend(UNITS_OF_PAGE);
        }
    }
    Some(round)
}

/// Marks in an increment what the roots in pages from a number on lead to, as far as the work goes. Returns the number to go
/// on from; `None` if all is marked that they lead to, and all is queued that roots made since lead to.
pub(crate) fn mark_pages(core: &mut Core, mut page: usize, work: &mut Work) -> Option<usize> {
    while drain_some(core, work) {
        let Some(targets) = core.roots.targets_in_page(page) else {
            // A root that was made since may lead to much, and catching up leaves that page to the pause. Once only, or a
            // program that makes one root after the other would put the end of marking off.
            core.roots.targets_in_current_page().for_each(|object| core.marker.mark_object(object));
            return None;
        };
        targets.for_each(|object| core.marker.mark_object(object));
        page += 1;
        work.spend(UNITS_OF_PAGE);
    }
    Some(page)
}

/// Work units of visiting what is remembered.
pub(crate) fn remembered_units(core: &Core) -> usize {
    core.remembered.len() * UNITS_OF_PAIR + core.segments.len() * UNITS_OF_SEGMENT
}

/// Work units of marking what the roots of a page lead to.
const UNITS_OF_PAGE: usize = 64;

/// Visits queued objects as far as the work goes; says whether work is left and no object is. Those that the queue had no
/// room for are left for the pause.
fn drain_some(core: &mut Core, work: &mut Work) -> bool {
    loop {
        if work.is_spent() {
            return false;
        }
        if core.marker.is_empty() {
            return true;
        }
        let mut done = MarkWork::default();
        drain_queue(&mut core.marker, core.config.mark_order, work.left().min(STRETCH), &mut done);
        work.spend(done.units);
        core.marked_units += done.units;
        core.cycle.objects_traced += done.traced;
        core.cycle.objects_prefetched += done.prefetched;
    }
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
        while work.traced < alone || marker.queue_length() < queued {
            if !stretch(marker, config.mark_order, usize::MAX, &mut work) {
                break;
            }
        }
        if marker.queue_length() >= queued {
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
        drain_queue(&mut core.marker, core.config.mark_order, usize::MAX, &mut work);
        if !core.marker.take_overflow() {
            return work;
        }
        requeue_all(core, &mut work);
    }
}

/// Visits queued objects until there are none, or about so many work units are done.
fn drain_queue(marker: &mut Marker, order: MarkOrder, units: usize, work: &mut MarkWork) {
    while work.units < units && stretch(marker, order, units, work) {}
}

/// Visits a stretch of objects in one order, or as much of it as there are work units; says whether there may be more to do.
fn stretch(marker: &mut Marker, order: MarkOrder, units: usize, work: &mut MarkWork) -> bool {
    // An increment may be shorter than a stretch, which the next one then goes on with.
    let left = units.saturating_sub(work.units).max(1);
    let sampled = if marker.in_ring > 0 { 1 } else { SAMPLE.min(left) };
    let Some((last, near)) = sample(marker, sampled, work) else {
        let visited = marker.visit_piece();
        work.units += if visited { UNITS_OF_PIECE } else { 0 };
        return visited;
    };
    let plain = match order {
        MarkOrder::Sampled => near * SAMPLE >= MOSTLY_NEAR * sampled,
        MarkOrder::Plain => true,
        MarkOrder::Ring => false,
    };
    let left = units.saturating_sub(work.units);
    if plain {
        work.visited(last.visit_plain(marker, STRETCH.min(left)));
    } else {
        let stretch = if marker.in_ring > 0 { marker.in_ring } else { STRETCH };
        let visits = last.visit_ring(marker, stretch.min(left));
        marker.in_ring = stretch.saturating_sub(visits.max(1));
        work.visited(visits);
        work.prefetched += visits;
    }
    true
}

/// Work units of finding the objects of a pair of granules and queueing them.
const UNITS_OF_PAIR: usize = 1;

/// Work units of visiting a segment of a large object.
const UNITS_OF_SEGMENT: usize = 3;

/// Work units of visiting a piece of an array.
const UNITS_OF_PIECE: usize = 16;

/// Visits up to so many objects in plain order. Returns the last of them, and how many lie near their predecessor; `None`
/// if nothing was queued.
pub(super) fn sample<S: Sharing>(
    marker: &mut Marker<S>,
    objects: usize,
    work: &mut MarkWork,
) -> Option<(ObjectRef, usize)> {
    let mut previous = marker.pop()?;
    marker.visit(previous);
    let mut near = 0;
    let mut visits = 1;
    while visits < objects {
        let Some(object) = marker.pop() else { break };
        let distance = object.cell().addr().get().abs_diff(previous.cell().addr().get());
        near += usize::from(distance <= NEAR);
        marker.visit(object);
        previous = object;
        visits += 1;
    }
    work.visited(visits);
    Some((previous, near))
}

/// Visits every marked object that can hold edges again: the queue had no room for some, and it is not known which.
fn requeue_all(core: &mut Core, work: &mut MarkWork) {
    let Core { spaces, larges, marker, config, .. } = core;
    // The queue is empty before each visit, and short after it unless much is newly found.
    let mut visit_again = |object: ObjectRef| {
        if object.descriptor().edges {
            marker.requeue(object);
            drain_queue(marker, config.mark_order, usize::MAX, work);
        }
    };
    for space in spaces {
        for block in space.all_blocks() {
            for (word, marks) in block.marks().iter().enumerate() {
                for bit in ones(marks.get()) {
                    visit_again(object_at(block, space.starts.offset(word, bit)));
                }
            }
        }
    }
    for block in larges.iter().filter(|block| is_marked(block.base())) {
        visit_again(object_at(block, 0));
    }
}
