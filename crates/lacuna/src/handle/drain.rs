//! Draining: how much of what is queued is run, and what is said of it.

#[cfg(feature = "std")]
use core::time::Duration;

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
