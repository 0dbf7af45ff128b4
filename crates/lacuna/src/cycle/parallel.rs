//! Marking by several threads, while the thread of the heap does nothing else.
//!
//! Each thread has a marker of its own, and visits what is in its queue as one thread alone would. Now and then it looks
//! whether another one has nothing to do, and hands a part of its queue over. When no one has anything left, the thread of
//! the heap takes back what the markers have found: the ephemeron tables that were reached, and whether there was no memory
//! for a queue. The weak pass is always the work of one thread.
//!
//! Threads are started for one marking and end with it: that costs some tens of microseconds, so it is done only where
//! there is more than that to do.

use std::any::Any;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::vec::Vec;

use super::failures::discard;
use super::hand_over::HandOver;
use super::mark::{MOSTLY_NEAR, MarkWork, SAMPLE, STRETCH, sample};
use crate::config::MarkOrder;
use crate::object::marker::{Batch, Marker, Shared};

/// Visits after which a thread looks whether another one waits.
const PIECE: usize = 512;

/// Visits between two batches of one thread, at most.
const LONGEST_INTERVAL: usize = 1 << 16;

/// Bytes that have to be there for threads to be started: the standard library aborts where it cannot start one for want
/// of memory.
const ROOM: usize = 64 << 10;

/// One of the threads, by what it has.
struct Thread {
    marker: Marker<Shared>,
    work: MarkWork,
    /// Its visits when it gave the last batch away.
    gave_at: usize,
    panic: Option<Box<dyn Any + Send>>,
}

/// How all of them go about it.
struct Plan {
    hand_over: HandOver<Batch>,
    order: MarkOrder,
    /// A queue shorter than twice this is not shared.
    least: usize,
    /// Visits between two batches of one thread. Grows while batches lead to little: waking a thread costs more than that.
    interval: AtomicUsize,
}

/// Visits everything that is queued, and what that leads to, with so many threads at most. What there was no memory for is
/// left to do, as the marker then says.
///
/// The marker is that of a heap whose marking has begun, and nobody else has the heap: `[INV-MARK-2]`. Its marks are read
/// and set by the threads alone until this function returns.
///
/// If a `Trace` panics, in whichever thread, the panic passes through when all have ended.
pub(crate) fn drain(marker: &mut Marker, threads: usize, least: usize, order: MarkOrder) -> MarkWork {
    let (Some(hand_over), Some(mut others)) = (HandOver::new(threads), others(threads - 1)) else {
        return MarkWork::default();
    };
    let plan = Plan { hand_over, order, least, interval: AtomicUsize::new(PIECE) };
    let mut own = Thread::new(marker.share());
    for other in &mut others {
        // If it is not started after all, this is taken back from it.
        let begin_with = own.marker.split(least);
        begin_with.into_iter().for_each(|batch| other.marker.accept(batch));
    }
    thread::scope(|scope| {
        for other in &mut others {
            plan.hand_over.enlist();
            let begun = thread::Builder::new().name("lacuna marking".into()).spawn_scoped(scope, || other.run(&plan));
            if begun.is_err() {
                plan.hand_over.dismiss();
                break;
            }
        }
        own.run(&plan);
    });
    let mut work = MarkWork::default();
    let mut panic = None;
    for thread in [own].into_iter().chain(others) {
        marker.take_back(thread.marker);
        work += thread.work;
        match (&panic, thread.panic) {
            (None, first) => panic = first,
            (Some(_), Some(second)) => discard(second),
            (Some(_), None) => {}
        }
    }
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
    work
}

/// So many threads with empty queues. `None` if there is no memory for them, or for starting them.
fn others(count: usize) -> Option<Vec<Thread>> {
    Vec::<u8>::new().try_reserve_exact(ROOM * count).ok()?;
    let mut others = Vec::new();
    others.try_reserve_exact(count).ok()?;
    for _ in 0..count {
        let mut marker = Marker::default();
        marker.reserve().ok()?;
        others.push(Thread::new(marker));
    }
    Some(others)
}

impl Plan {
    /// After a batch that has led to so many visits.
    fn learn(&self, visits: usize) {
        let interval = self.interval.load(Relaxed);
        let next = if visits < PIECE { (interval * 2).min(LONGEST_INTERVAL) } else { (interval / 2).max(PIECE) };
        self.interval.store(next, Relaxed);
    }
}

impl Thread {
    fn new(marker: Marker<Shared>) -> Self {
        Self { marker, work: MarkWork::default(), gave_at: 0, panic: None }
    }

    /// Marks until nothing is left for any thread. If a `Trace` panics, that ends it for all of them.
    fn run(&mut self, plan: &Plan) {
        let visit = AssertUnwindSafe(|| {
            loop {
                while self.stretch(plan) {}
                let Some(batch) = plan.hand_over.take() else { return };
                let before = self.work.traced;
                self.marker.accept(batch);
                while self.stretch(plan) {}
                plan.learn(self.work.traced - before);
            }
        });
        if let Err(panic) = catch_unwind(visit) {
            self.panic = Some(panic);
            plan.hand_over.abandon();
        }
    }

    /// Visits a stretch of objects in one order; says whether there is more to do. As in [`super::mark`], but with a look at
    /// the others between.
    fn stretch(&mut self, plan: &Plan) -> bool {
        let Self { marker, work, gave_at, .. } = self;
        let Some((last, near)) = sample(marker, SAMPLE, work) else {
            return !plan.hand_over.is_over() && marker.visit_piece();
        };
        let plain = match plan.order {
            MarkOrder::Sampled => near >= MOSTLY_NEAR,
            MarkOrder::Plain => true,
            MarkOrder::Ring => false,
        };
        for _ in 0..STRETCH / PIECE {
            if plan.hand_over.is_over() {
                return false;
            }
            if plan.hand_over.wants()
                && work.traced - *gave_at >= plan.interval.load(Relaxed)
                && let Some(batch) = marker.split(plan.least)
            {
                *gave_at = work.traced;
                if let Err(batch) = plan.hand_over.give(batch) {
                    marker.accept(batch);
                }
            }
            let visits = if plain { last.visit_plain(marker, PIECE) } else { last.visit_ring(marker, PIECE) };
            work.visited(visits);
            work.prefetched += if plain { 0 } else { visits };
            if visits < PIECE {
                break;
            }
        }
        true
    }
}
