//! When a collection is due.

use crate::config::Config;

/// Bytes between two collections at the least: blocks are accounted for as a whole when their cells begin to be handed
/// out.
const LEAST_STEP: usize = 4 * crate::memory::chunk::BLOCK_SIZE;

/// What it is worth to use memory again while it is in the second-level cache, in bytes marked for each byte allocated:
/// about what was measured with trees that die young, of which minor collections had nothing to mark.
const REUSE: f64 = 0.125;

/// When minor collections are due. Each says whether such collections pay; the interval between them follows that, and
/// they are left out for a while where they do not.
struct Minors {
    /// The least interval, as configured; `None` for no minor collections.
    least: Option<usize>,
    /// Bytes of cells after which one is due; more than there are while they are left out.
    step: usize,
    /// Major collections before they are tried again.
    left_out: u32,
    /// For how many they are left out next time.
    doubt: u32,
}

/// Major collections for which minor ones are left out at the most.
const LARGEST_DOUBT: u32 = 32;

impl Minors {
    fn new(config: &Config) -> Self {
        let step = config.minor_step.unwrap_or(usize::MAX);
        Self { least: config.minor_step, step, left_out: 0, doubt: 1 }
    }

    /// After a minor collection that did or did not pay, where so many bytes lie between two major ones.
    fn learn(&mut self, paid: bool, room: usize) {
        let Some(least) = self.least else { return };
        if paid {
            (self.step, self.doubt) = ((self.step / 2).max(least), 1);
            return;
        }
        self.step = self.step.saturating_mul(2);
        if self.step > room / 4 && least <= room {
            self.step = usize::MAX;
            self.left_out = self.doubt;
            self.doubt = (self.doubt * 2).min(LARGEST_DOUBT);
        }
    }

    fn major_collected(&mut self) {
        match (self.least, self.left_out) {
            (Some(least), 0) if self.step == usize::MAX => self.step = least,
            (_, left_out) => self.left_out = left_out.saturating_sub(1),
        }
    }
}

/// The heap goal, and what counts towards it.
pub(crate) struct Pacing {
    /// Bytes of cells that the last collection left alive.
    pub(crate) live: usize,
    /// Bytes of cells that the last major collection left alive.
    at_major: usize,
    /// Bytes of cells handed out since the last collection.
    pub(crate) allocated: usize,
    /// Bytes outside the heap that its objects hold.
    pub(crate) external: usize,
    /// The size at which a major collection is due.
    pub(crate) goal: usize,
    /// Bytes of blocks in use above which a major collection is due. Minor collections give no blocks back, so those of a
    /// type that is no longer allocated would be held without need. No bound until a minor collection has run.
    most_used: usize,
    /// The bound from the next minor collection on.
    next_most_used: usize,
    /// When minor collections are due.
    minors: Minors,
}

impl Pacing {
    pub(crate) fn new(config: &Config) -> Self {
        let mut pacing = Self {
            live: 0,
            at_major: 0,
            allocated: 0,
            external: 0,
            goal: 0,
            most_used: usize::MAX,
            next_most_used: usize::MAX,
            minors: Minors::new(config),
        };
        pacing.collected(config, 0, 0);
        pacing
    }

    /// Bytes that count towards the goal.
    fn size(&self) -> usize {
        self.live.saturating_add(self.allocated).saturating_add(self.external)
    }

    /// Whether the heap has reached its goal.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.size() >= self.goal
    }

    /// Whether blocks of so many bytes are more than what is alive can have use for.
    #[inline]
    pub(crate) fn is_crowded(&self, used: usize) -> bool {
        used > self.most_used
    }

    /// Whether a minor collection is due, if no major one is.
    #[inline]
    pub(crate) fn is_minor_due(&self) -> bool {
        self.allocated >= self.minors.step
    }

    /// Whether minor collections are not left out: they are due before the next major one, or run when the program says so.
    pub(crate) fn wants_minors(&self) -> bool {
        self.minors.step < usize::MAX || self.minors.least == Some(usize::MAX)
    }

    /// After a minor collection that was due, which so many more bytes have survived, and which has looked at so many again:
    /// whether it has paid.
    pub(crate) fn learn(&mut self, survived: usize, looked_at: usize) {
        // What collecting costs for each byte allocated, in bytes marked: by this minor collection, and without them.
        let room = self.goal.saturating_sub(self.at_major).max(1);
        let minor = (survived + looked_at) as f64 / self.allocated.max(1) as f64;
        let major = self.at_major as f64 / room as f64;
        self.minors.learn(minor <= major + REUSE, room);
    }

    /// After a minor collection that so many more bytes have survived.
    pub(crate) fn minor_collected(&mut self, survived: usize) {
        self.live += survived;
        self.allocated = 0;
        self.most_used = self.next_most_used;
    }

    /// Sets the goal for the next major collection, after one that left so much alive, in blocks of so many bytes: the growth
    /// factor times what is alive, at least the smallest heap.
    pub(crate) fn collected(&mut self, config: &Config, live: usize, used: usize) {
        self.live = live;
        self.allocated = 0;
        self.at_major = live;
        self.minors.major_collected();
        // A float holds every size that occurs exactly enough, and the cast saturates.
        let size = self.size();
        self.goal = ((size as f64 * config.growth_factor) as usize).max(config.min_heap);
        if let Some(limit) = config.heap_limit {
            // Scopes do not collect, so the goal leaves them a quarter of the room that there is below the limit. Where
            // there is little room, collecting after each few bytes would not make more.
            let room = limit.saturating_sub(size);
            self.goal = self.goal.min(size.saturating_add((room / 4 * 3).max(limit / 16).max(LEAST_STEP)));
        }
        self.most_used = usize::MAX;
        self.next_most_used = used.saturating_add(self.goal.saturating_sub(size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_follows_what_is_alive() {
        let config = Config::default().min_heap(1000).growth_factor(2.0);
        let mut pacing = Pacing::new(&config);
        assert_eq!(pacing.goal, 1000);
        pacing.collected(&config, 100, 0);
        assert_eq!(pacing.goal, 1000);
        pacing.external = 500;
        pacing.collected(&config, 1000, 0);
        assert_eq!(pacing.goal, 3000);
        pacing.allocated = 1499;
        assert!(!pacing.is_due());
        pacing.external += 1;
        assert!(pacing.is_due());
        let limited = config.heap_limit(Some(1_600_000));
        pacing.external = 0;
        pacing.collected(&limited, 0, 0);
        assert_eq!(pacing.goal, 1000);
        pacing.collected(&limited, 1_200_000, 0);
        assert_eq!(pacing.goal, 1_500_000);
        pacing.collected(&limited, 1_590_000, 0);
        assert_eq!(pacing.goal, 1_690_000);
        pacing.collected(&config, usize::MAX, 0);
        assert_eq!(pacing.goal, usize::MAX);
    }
}
