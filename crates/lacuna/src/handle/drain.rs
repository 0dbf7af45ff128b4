//! Draining: how much of what is queued is run, and what is said of it.

#[cfg(feature = "std")]
use core::time::Duration;
#[cfg(feature = "std")]
use std::time::Instant;

use crate::cycle::core::Core;
use crate::cycle::failures::Step;
use crate::heap::Heap;

/// How much a [`drain`](crate::Heap::drain) may run.
///
/// ```
/// use lacuna::Budget;
///
/// let at_most_ten = Budget::unlimited().callbacks(10);
/// # let _ = at_most_ten;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    pub(crate) callbacks: usize,
    pub(crate) batches: usize,
    #[cfg(feature = "std")]
    pub(crate) time: Option<Duration>,
}

impl Budget {
    /// Everything that is queued, and what that queues.
    pub fn unlimited() -> Self {
        Self {
            callbacks: usize::MAX,
            batches: usize::MAX,
            #[cfg(feature = "std")]
            time: None,
        }
    }

    /// At most so many callbacks.
    pub fn callbacks(mut self, callbacks: usize) -> Self {
        self.callbacks = callbacks;
        self
    }

    /// Callbacks of at most so many batches; a batch is what one collection queued.
    pub fn batches(mut self, batches: usize) -> Self {
        self.batches = batches;
        self
    }

    /// No new callback once so much time has passed.
    #[cfg(feature = "std")]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }
}

/// What a [`drain`](crate::Heap::drain) did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DrainReport {
    /// Callbacks that ran, the ones that panicked included.
    pub ran: usize,
    /// Callbacks that panicked.
    pub panicked: usize,
    /// Callbacks that still wait.
    pub left: usize,
    /// How many collections ago the oldest of those was queued.
    pub oldest_age_in_cycles: u64,
}

/// A drain that is under way.
pub(crate) struct Drain {
    pub(crate) report: DrainReport,
    budget: Budget,
    /// Batches begun.
    batches: usize,
    /// The collection that queued the batch begun last.
    batch: Option<u32>,
    #[cfg(feature = "std")]
    start: Option<Instant>,
}

impl Drain {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            report: DrainReport::default(),
            budget,
            batches: 0,
            batch: None,
            #[cfg(feature = "std")]
            start: budget.time.map(|_| Instant::now()),
        }
    }

    /// Runs callbacks until none is left or the budget is spent, in zeal only one. `running` says
    /// which, should one panic.
    pub(crate) fn run_stretch(&mut self, heap: &mut Heap, running: &mut Option<Step>) {
        loop {
            let core = heap.core();
            if self.report.ran >= self.budget.callbacks || !self.has_time() || !self.may_begin(core) {
                return;
            }
            let Some(taken) = core.finalizers.next_callback() else { return };
            self.report.ran += 1;
            *running = Some(core.begin_callback(&taken));
            taken.callback.call(heap, taken.id);
            if heap.core().config.zeal {
                return;
            }
        }
    }

    /// Whether the next callback belongs to a batch that may run.
    #[inline(always)]
    fn may_begin(&mut self, core: &mut Core) -> bool {
        self.budget.batches == usize::MAX || self.begins(core)
    }

    fn begins(&mut self, core: &mut Core) -> bool {
        let queued_in = core.finalizers.next_queued_in();
        if queued_in.is_none() || self.batch == queued_in {
            return queued_in.is_some();
        }
        let may = self.batches < self.budget.batches;
        if may {
            self.batches += 1;
            self.batch = queued_in;
        }
        may
    }

    #[inline(always)]
    fn has_time(&self) -> bool {
        #[cfg(feature = "std")]
        if let (Some(start), Some(time)) = (self.start, self.budget.time) {
            return start.elapsed() < time;
        }
        true
    }
}

/// How a heap is [shut down](crate::Heap::shutdown).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShutdownOptions {
    pub(crate) budget: Budget,
    pub(crate) max_extra: usize,
}

impl Default for ShutdownOptions {
    fn default() -> Self {
        Self { budget: Budget::unlimited().callbacks(100_000), max_extra: 1000 }
    }
}

impl ShutdownOptions {
    /// How many of the callbacks that are queued already may run. Default: 100 000.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// How many cleanups that were registered during the shutdown may run, so that one that registers itself again
    /// does not go on for ever. Default: 1000.
    pub fn max_extra(mut self, cleanups: usize) -> Self {
        self.max_extra = cleanups;
        self
    }
}

/// What a shutdown did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The callbacks that were queued before.
    pub drained: DrainReport,
    /// Cleanups registered to run at shutdown that ran.
    pub at_shutdown: usize,
    /// Whether cleanups were left out because too many were registered during the shutdown.
    pub truncated: bool,
}
