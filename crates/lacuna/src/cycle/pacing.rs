//! When a collection is due.

use crate::config::Config;

/// Bytes between two collections at the least: blocks are accounted for as a whole when their cells begin to be handed
/// out.
const LEAST_STEP: usize = 4 * crate::memory::chunk::BLOCK_SIZE;

/// The heap goal, and what counts towards it.
pub(crate) struct Pacing {
    /// Bytes of cells that the last collection left alive.
    pub(crate) live: usize,
    /// Bytes of cells handed out since.
    pub(crate) allocated: usize,
    /// Bytes outside the heap that its objects hold.
    pub(crate) external: usize,
    /// The size at which a major collection is due.
    pub(crate) goal: usize,
    /// Bytes of cells after which a minor collection is due; more than there are if none is.
    step: usize,
}

impl Pacing {
    pub(crate) fn new(config: &Config) -> Self {
        let mut pacing =
            Self { live: 0, allocated: 0, external: 0, goal: 0, step: config.minor_step.unwrap_or(usize::MAX) };
        pacing.collected(config, 0);
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

    /// Whether a collection of either kind is due.
    #[inline]
    pub(crate) fn wants_collection(&self) -> bool {
        self.allocated >= self.step || self.is_due()
    }

    /// After a minor collection that so many more bytes have survived: the next one is due later, the less came of this
    /// one.
    pub(crate) fn minor_collected(&mut self, config: &Config, survived: usize) {
        let Some(least) = config.minor_step else { return };
        let useless = survived > self.allocated / 4 * 3;
        self.step = if useless { self.step.saturating_mul(2) } else { (self.step / 2).max(least) };
        self.live += survived;
        self.allocated = 0;
    }

    /// Sets the goal for the next collection: the growth factor times what is alive, at least the smallest heap.
    pub(crate) fn collected(&mut self, config: &Config, live: usize) {
        self.live = live;
        self.allocated = 0;
        self.step = config.minor_step.unwrap_or(usize::MAX);
        // A float holds every size that occurs exactly enough, and the cast saturates.
        let size = self.size();
        self.goal = ((size as f64 * config.growth_factor) as usize).max(config.min_heap);
        if let Some(limit) = config.heap_limit {
            // Scopes do not collect, so the goal leaves them a quarter of the room that there is below the limit. Where
            // there is little room, collecting after each few bytes would not make more.
            let room = limit.saturating_sub(size);
            self.goal = self.goal.min(size.saturating_add((room / 4 * 3).max(limit / 16).max(LEAST_STEP)));
        }
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
        pacing.collected(&config, 100);
        assert_eq!(pacing.goal, 1000);
        pacing.external = 500;
        pacing.collected(&config, 1000);
        assert_eq!(pacing.goal, 3000);
        pacing.allocated = 1499;
        assert!(!pacing.is_due());
        pacing.external += 1;
        assert!(pacing.is_due());
        let limited = config.heap_limit(Some(1_600_000));
        pacing.external = 0;
        pacing.collected(&limited, 0);
        assert_eq!(pacing.goal, 1000);
        pacing.collected(&limited, 1_200_000);
        assert_eq!(pacing.goal, 1_500_000);
        pacing.collected(&limited, 1_590_000);
        assert_eq!(pacing.goal, 1_690_000);
        pacing.collected(&config, usize::MAX);
        assert_eq!(pacing.goal, usize::MAX);
    }
}
