//! When a collection is due.

use super::major::Stage;
use super::work::Work;
use crate::config::Config;
use crate::memory::ledger::Ledger;

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
    /// How many times longer it may be at the most.
    stretch: usize,
    /// Bytes of cells after which one is due; more than there are while they are left out.
    step: usize,
    /// Major collections before they are tried again.
    left_out: u32,
    /// For how many they are left out next time.
    doubt: u32,
    /// What the last one cost for each byte allocated, in bytes marked, if it has not paid.
    cost: f64,
}

/// How many times longer than configured the interval between minor collections may be where major ones are done in
/// increments.
const LONGEST_STRETCH: usize = 4;

/// The part of new objects that live on from which minor collections are not tried again at once.
const NEARLY_ALL: f64 = 0.95;

/// To what a longer interval has to bring their cost down for a still longer one to be tried.
const WORTH_TRYING: f64 = 0.8;

/// Major collections for which minor ones are left out at the most.
const LARGEST_DOUBT: u32 = 32;

impl Minors {
    fn new(config: &Config) -> Self {
        let step = config.minor_step.unwrap_or(usize::MAX);
        // Where stops are to be short, those of minor collections are, too.
        let stretch = if config.increment_step.is_some() { LONGEST_STRETCH } else { usize::MAX };
        Self { least: config.minor_step, stretch, step, left_out: 0, doubt: 0, cost: f64::INFINITY }
    }

    /// After a minor collection that did or did not pay, has cost so much for each byte allocated, and was survived by such a
    /// part of those, where so many bytes lie between two major ones.
    ///
    /// One that did not pay is tried again after twice as much was allocated, unless that is too long, nearly everything
    /// has survived, or trying it again did not help.
    fn learn(&mut self, paid: bool, cost: f64, survived: f64, room: usize) {
        let Some(least) = self.least else { return };
        if paid {
            (self.step, self.doubt, self.cost) = ((self.step / 2).max(least), 0, f64::INFINITY);
            return;
        }
        self.step = self.step.saturating_mul(2);
        let longest = (room / 4).min(least.saturating_mul(self.stretch));
        let hopeless = survived > NEARLY_ALL || cost > self.cost * WORTH_TRYING;
        self.cost = cost;
        if (self.step > longest || hopeless) && least <= room {
            self.cost = f64::INFINITY;
            self.step = usize::MAX;
            self.left_out = self.doubt;
            self.doubt = (self.doubt * 2).clamp(1, LARGEST_DOUBT);
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
    /// Bytes of cells that the last collection left alive, or if that is not known yet, that there were when it ended.
    pub(crate) live: usize,
    /// Bytes of cells that the last major collection left alive.
    at_major: usize,
    /// Bytes of cells handed out since the last collection.
    pub(crate) allocated: usize,
    /// Bytes outside the heap that its objects hold.
    pub(crate) external: usize,
    /// Where the memory of ephemeron tables is counted.
    pub(crate) tables: Ledger,
    /// Bytes of the tables that the last major collection has reached. What is dead of the rest counts until a sweep drops it.
    reached_tables: usize,
    /// The size at which a major collection is to have ended marking.
    pub(crate) goal: usize,
    /// The size at which it begins, and while it is under way, at which its next increment is due.
    due: usize,
    /// The size at which it has begun.
    began: usize,
    /// The size after its last increment.
    settled: usize,
    /// Bytes of blocks in use above which a major collection is due. Minor collections give no blocks back, so those of a
    /// type that is no longer allocated would be held without need. No bound until a minor collection has run, and none
    /// while a major one is under way.
    most_used: usize,
    /// The bound from the next minor collection on.
    next_most_used: usize,
    /// Work units that marking what the last major collection left alive is expected to take.
    expected: usize,
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
            tables: Ledger::default(),
            reached_tables: 0,
            goal: 0,
            due: 0,
            began: 0,
            settled: 0,
            expected: 0,
            most_used: usize::MAX,
            next_most_used: usize::MAX,
            minors: Minors::new(config),
        };
        pacing.collected(config, Live::default(), 0);
        pacing
    }

    /// Bytes that count towards the goal.
    pub(crate) fn size(&self) -> usize {
        self.size_with(self.tables.bytes())
    }

    fn size_with(&self, tables: usize) -> usize {
        self.live.saturating_add(self.allocated).saturating_add(self.external).saturating_add(tables)
    }

    /// Bytes of the tables that were alive at the end of the last major collection.
    fn live_tables(&self) -> usize {
        self.reached_tables.min(self.tables.bytes())
    }

    /// A major collection has reached tables of so many bytes, and no others.
    pub(crate) fn tables_reached(&mut self, bytes: usize) {
        self.reached_tables = bytes;
    }

    /// Whether the tables that the last major collection has found dead take so much of the room which it has left that the
    /// next one comes nearer, as long as no sweep has dropped them.
    pub(crate) fn is_short_of_dead_tables(&self) -> bool {
        let live = self.live_tables();
        self.tables.bytes() - live > self.goal.saturating_sub(self.size_with(live)) / 8
    }

    /// Whether a major collection is due, or an increment of one.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.size() >= self.due
    }

    /// A major collection begins that is done in increments.
    pub(crate) fn began(&mut self) {
        self.began = self.size();
        self.settled = self.began;
        self.due = self.began;
        self.most_used = usize::MAX;
        self.next_most_used = usize::MAX;
    }

    /// An increment of a major collection was done; it may have been the last.
    pub(crate) fn increment_done(&mut self, config: &Config, stage: Stage) {
        self.settled = self.size();
        if stage == Stage::Idle {
            self.due = self.start(config);
        } else {
            let step = config.increment_step.unwrap_or(LEAST_STEP).max(1);
            self.due = self.settled.saturating_add(step).min(self.goal.max(self.settled.saturating_add(1)));
        }
    }

    /// The work that an increment of marking has to do before it catches up, of which so much is left.
    ///
    /// It is to be ready when three quarters of the room between beginning and goal are used up.
    pub(crate) fn marking_work(&self, left: usize) -> Work {
        let aim = self.began + self.goal.saturating_sub(self.began) / 4 * 3;
        self.work_until(if self.size() < aim { aim } else { self.goal }, left)
    }

    /// The work that an increment has to do that catches up, of which so much is left.
    pub(crate) fn catching_up_work(&self, left: usize) -> Work {
        self.work_until(self.goal, left)
    }

    /// The part of what is left that has to be done now for all of it to be done at a size that is not above the goal.
    fn work_until(&self, aim: usize, left: usize) -> Work {
        let size = self.size();
        if size >= self.goal {
            return Work::unlimited();
        }
        Work::units(share(left, size.saturating_sub(self.settled), aim - size))
    }

    /// The work of an increment after the pause, of which there are so many blocks in all.
    pub(crate) fn sweeping_work(&self, blocks: usize) -> Work {
        // Where most was dead the goal is far below the size at which the collection began.
        let room = self.goal.saturating_sub(self.began).max(self.goal / 4) / 8;
        Work::units(share(blocks * UNITS_OF_BLOCK, self.size().saturating_sub(self.settled), room))
    }

    /// The size at which the next major collection begins.
    ///
    /// As late as the increments can still be small, so that little dies after it was marked, and the barrier is armed for
    /// a short time; but with a part of the room to spare, since how much there will be to mark is an estimate.
    fn start(&self, config: &Config) -> usize {
        if config.increment_step.is_none() {
            return self.goal;
        }
        let room = self.goal.saturating_sub(self.size_with(self.live_tables()) - self.allocated);
        let marking = self.expected.saturating_add(room / BYTES_OF_SURVIVOR).saturating_mul(BYTES_FOR_UNIT);
        self.goal - (marking / 3).saturating_mul(4).clamp(room / 16, room / 4 * 3)
    }

    /// The work units that marking so many live objects, large ones of so many bytes, and what lives of so many bytes
    /// allocated since is expected to take.
    pub(crate) fn expected_units(&self, objects: usize, large: usize, allocated: usize) -> usize {
        objects + large / BYTES_OF_ARRAY + allocated / BYTES_OF_SURVIVOR
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
        let allocated = self.allocated.max(1) as f64;
        let cost = (survived + looked_at) as f64 / allocated;
        self.minors.learn(self.pays(survived, looked_at), cost, survived as f64 / allocated, self.room());
    }

    /// Whether a minor collection pays that so many bytes survive, and which has to look at so many again.
    pub(crate) fn pays(&self, survived: usize, looked_at: usize) -> bool {
        // What collecting costs for each byte allocated, in bytes marked. Without minor collections: everything alive, each
        // time the room is used up. With them: what they mark and look at, and everything alive all the same, but only each
        // time that what survives them has used the room up.
        let each = |bytes: usize| bytes as f64 / self.allocated.max(1) as f64;
        let major = self.at_major as f64 / self.room() as f64;
        each(survived) * (1.0 + major) + each(looked_at) <= major + REUSE
    }

    /// Bytes between the last major collection and the goal.
    fn room(&self) -> usize {
        self.goal.saturating_sub(self.at_major).max(1)
    }

    /// After a minor collection that so many more bytes have survived. `under_way`: a major collection is.
    pub(crate) fn minor_collected(&mut self, survived: usize, under_way: bool) {
        let before = self.size();
        self.live += survived;
        self.allocated = 0;
        self.most_used = self.next_most_used;
        let freed = before.saturating_sub(self.size());
        self.settled = self.settled.saturating_sub(freed);
        if under_way {
            // The next increment is due when as much is allocated as before: where all that is new dies, the size would never
            // come to where it was.
            self.due = self.due.saturating_sub(freed);
        }
    }

    /// So many bytes outside the heap are held by its objects now. `under_way`: a major collection is.
    pub(crate) fn set_external(&mut self, bytes: usize, under_way: bool) {
        self.external = bytes;
        let size = self.size();
        if under_way && size < self.settled {
            // As above.
            self.due = size.saturating_add(self.due.saturating_sub(self.settled));
            self.settled = size;
        }
    }

    /// Marking of a major collection has ended. How much is alive is not known yet.
    pub(crate) fn marking_ended(&mut self) {
        self.live = self.live.saturating_add(self.allocated);
        self.allocated = 0;
        self.minors.major_collected();
    }

    /// A major collection was given up before marking had ended. It begins again at the goal.
    pub(crate) fn abandoned(&mut self) {
        self.due = self.goal.max(self.size().saturating_add(LEAST_STEP));
    }

    /// Sets the goal for the next major collection, after one that left so much alive, in blocks of so many bytes: the growth
    /// factor times what is alive, at least the smallest heap.
    pub(crate) fn collected(&mut self, config: &Config, live: Live, used: usize) {
        self.expected = self.expected_units(live.objects, live.large_bytes, 0);
        self.live = live.bytes;
        self.at_major = live.bytes;
        // A float holds every size that occurs exactly enough, and the cast saturates.
        let size = self.size_with(self.live_tables());
        let grown = match config.square_root {
            Some(bytes) => size.saturating_add((size as u128 * bytes as u128).isqrt() as usize),
            None => (size as f64 * config.growth_factor) as usize,
        };
        self.goal = grown.max(config.min_heap);
        if let Some(limit) = config.heap_limit {
            // Scopes do not collect, so the goal leaves them a quarter of the room that there is below the limit. Where
            // there is little room, collecting after each few bytes would not make more.
            let room = limit.saturating_sub(size);
            self.goal = self.goal.min(size.saturating_add((room / 4 * 3).max(limit / 16).max(LEAST_STEP)));
        }
        self.due = self.start(config);
        self.most_used = usize::MAX;
        self.next_most_used = used.saturating_add(self.goal.saturating_sub(size));
    }
}

/// What a major collection left alive.
#[derive(Clone, Copy, Default)]
pub(crate) struct Live {
    pub(crate) objects: usize,
    /// Bytes of their cells.
    pub(crate) bytes: usize,
    /// Those of large objects.
    pub(crate) large_bytes: usize,
}

/// Bytes that are allocated for each object that lives to see the next major collection, to guess how many do.
pub(crate) const BYTES_OF_SURVIVOR: usize = 256;

/// Bytes of a large array for each work unit of marking it: those of a piece, in words.
const BYTES_OF_ARRAY: usize = 64;

/// Bytes that are allocated for each work unit of marking, where there is room for that: so an increment after 16 KiB takes
/// some tenths of a millisecond beside a live heap of a GiB, where each object is a miss in the caches.
const BYTES_FOR_UNIT: usize = 8;

/// Work units of counting a block.
pub(crate) const UNITS_OF_BLOCK: usize = 8;

/// The part of the work that falls to so many bytes of the room, and at least what is worth an increment.
fn share(work: usize, bytes: usize, room: usize) -> usize {
    let share = work as f64 * (bytes as f64 / room.max(1) as f64).min(1.0);
    (share as usize).max(LEAST_UNITS)
}

/// Work units of the smallest increment.
const LEAST_UNITS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn live(bytes: usize) -> Live {
        Live { bytes, ..Live::default() }
    }

    #[test]
    fn the_goal_follows_what_is_alive() {
        let config = Config::default().min_heap(1000).growth_factor(2.0);
        let mut pacing = Pacing::new(&config);
        assert_eq!(pacing.goal, 1000);
        pacing.collected(&config, live(100), 0);
        assert_eq!(pacing.goal, 1000);
        pacing.external = 500;
        pacing.collected(&config, live(1000), 0);
        assert_eq!(pacing.goal, 3000);
        pacing.allocated = 1499;
        assert!(!pacing.is_due());
        pacing.external += 1;
        assert!(pacing.is_due());
        let limited = config.heap_limit(Some(1_600_000));
        pacing.external = 0;
        pacing.marking_ended();
        pacing.collected(&limited, live(0), 0);
        assert_eq!(pacing.goal, 1000);
        pacing.collected(&limited, live(1_200_000), 0);
        assert_eq!(pacing.goal, 1_500_000);
        pacing.collected(&limited, live(1_590_000), 0);
        assert_eq!(pacing.goal, 1_690_000);
        pacing.collected(&config, live(usize::MAX), 0);
        assert_eq!(pacing.goal, usize::MAX);
    }
}
