//! How much an increment does.

#[cfg(feature = "std")]
use core::time::Duration;

/// How much a [`step`](crate::Heap::step) of a major collection may do.
///
/// ```
/// use lacuna::StepBudget;
///
/// let some_thousand_objects = StepBudget::units(10_000);
/// # let _ = some_thousand_objects;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepBudget {
    units: usize,
    #[cfg(feature = "std")]
    time: Option<Duration>,
}

impl StepBudget {
    /// So many work units: one is about what it takes to visit one small object while marking, some ten nanoseconds where
    /// objects are scattered over more memory than the caches hold. The same program then does the same steps each time.
    pub fn units(units: usize) -> Self {
        Self {
            units,
            #[cfg(feature = "std")]
            time: None,
        }
    }

    /// As much as can be done in a time. The clock is read every few microseconds; what cannot be divided (the pause, the
    /// `Drop` implementations of a block's objects, an object of many edges that is not a slice) may take longer.
    #[cfg(feature = "std")]
    pub fn time(time: Duration) -> Self {
        Self { units: usize::MAX, time: Some(time) }
    }
}

/// What is left to do of an increment.
///
/// A *work unit* is about what it takes to visit one small object while marking: some ten nanoseconds where objects are not
/// in the cache. What else is done is put in relation to that.
pub(crate) struct Work {
    left: usize,
    #[cfg(feature = "std")]
    deadline: Option<std::time::Instant>,
}

impl Work {
    /// So many work units.
    pub(crate) fn units(units: usize) -> Self {
        Self {
            left: units,
            #[cfg(feature = "std")]
            deadline: None,
        }
    }

    /// The same, but at least so many work units.
    pub(crate) fn at_least(mut self, units: usize) -> Self {
        self.left = self.left.max(units);
        self
    }

    /// Whatever is to be done.
    pub(crate) fn unlimited() -> Self {
        Self::units(usize::MAX)
    }

    /// As much as a budget allows, beginning now. A time that ends when no clock can tell any more is no bound.
    pub(crate) fn of(budget: StepBudget) -> Self {
        Self {
            left: budget.units,
            #[cfg(feature = "std")]
            deadline: budget.time.and_then(|time| std::time::Instant::now().checked_add(time)),
        }
    }

    /// Work units that may be done before asking again whether it [is spent](Self::is_spent).
    pub(crate) fn left(&self) -> usize {
        #[cfg(feature = "std")]
        if self.deadline.is_some() {
            return self.left.min(BETWEEN_LOOKS);
        }
        self.left
    }

    pub(crate) fn spend(&mut self, units: usize) {
        self.left = self.left.saturating_sub(units);
    }

    /// Whether nothing is left.
    pub(crate) fn is_spent(&mut self) -> bool {
        // Something is done whatever the time, so that a loop of steps ends.
        #[cfg(feature = "std")]
        if self.left < usize::MAX && self.deadline.is_some_and(|deadline| std::time::Instant::now() >= deadline) {
            self.left = 0;
        }
        self.left == 0
    }
}

/// Work units between two looks at the clock: some microseconds.
#[cfg(feature = "std")]
const BETWEEN_LOOKS: usize = 256;
