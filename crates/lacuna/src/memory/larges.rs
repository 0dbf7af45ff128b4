//! Large objects: each has a run of blocks of its own.

use alloc::vec::Vec;

use super::block::Block;
use super::chunk::is_marked;
use super::shrink::shrink;
use crate::error::Exhausted;

/// The runs of one heap.
///
/// ```text
/// | counted | not counted yet | new |
/// 0       next              old
/// ```
#[derive(Default)]
pub(crate) struct Larges {
    runs: Vec<Block>,
    /// How many, at the start, a collection has seen and left alive.
    old: usize,
    /// How many of those were looked at since the last major collection ended marking.
    next: usize,
    /// How many there are of which that collection decides; equal to `next` when it has looked at all.
    end: usize,
    /// Bytes of the runs that were counted.
    pub(crate) live_bytes: usize,
    /// Bytes of all runs.
    pub(crate) bytes: usize,
}

/// What came of looking at a large object.
pub(crate) enum Counted {
    Live,
    /// It is to be freed. It is in no list any more.
    Dead(Block),
}

impl Larges {
    /// Makes room for one more, so that the next [`push`](Self::push) needs no memory.
    pub(crate) fn reserve(&mut self) -> Result<(), Exhausted> {
        self.runs.try_reserve(1).map_err(|_| Exhausted::System)
    }

    pub(crate) fn push(&mut self, run: Block) {
        self.bytes += run.info().cell_size.get();
        self.runs.push(run);
    }

    pub(crate) fn pop(&mut self) -> Option<Block> {
        (self.old, self.next, self.end) = (0, 0, 0);
        self.runs.pop()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Block> {
        self.runs.iter().copied()
    }

    /// Live ones that were counted.
    pub(crate) fn live(&self) -> usize {
        self.old - (self.end - self.next)
    }

    /// Whether all are counted that were there when marking ended.
    pub(crate) fn is_counted(&self) -> bool {
        self.next == self.end
    }

    /// Begins to count all of them.
    pub(crate) fn begin_count(&mut self) {
        debug_assert!(self.is_counted());
        (self.old, self.next, self.end, self.live_bytes) = (self.runs.len(), 0, self.runs.len(), 0);
    }

    /// Counts the next; `None` if all are counted.
    pub(crate) fn count_next(&mut self) -> Option<Counted> {
        if self.is_counted() {
            return None;
        }
        let run = self.runs[self.next];
        if is_marked(run.base()) {
            self.next += 1;
            self.live_bytes += run.info().cell_size.get();
            return Some(Counted::Live);
        }
        // The last that is not counted takes its place, the last old one that one's, and the last one that one's.
        self.end -= 1;
        self.old -= 1;
        self.runs.swap(self.next, self.end);
        self.runs.swap(self.end, self.old);
        self.runs.swap_remove(self.old);
        self.bytes -= run.info().cell_size.get();
        Some(Counted::Dead(run))
    }

    /// Counts the next of those that no collection has seen; `None` if there are no more.
    pub(crate) fn count_new(&mut self) -> Option<Counted> {
        let &run = self.runs.get(self.old)?;
        if is_marked(run.base()) {
            self.old += 1;
            self.live_bytes += run.info().cell_size.get();
            return Some(Counted::Live);
        }
        self.runs.swap_remove(self.old);
        self.bytes -= run.info().cell_size.get();
        Some(Counted::Dead(run))
    }

    /// Gives back what only more of them needed.
    pub(crate) fn shrink(&mut self) {
        shrink(&mut self.runs, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::chunk::mark;
    use crate::memory::pool::Pool;

    #[test]
    fn those_that_are_new_wait_while_the_others_are_counted() {
        let mut pool = Pool::default();
        let mut larges = Larges::default();
        let mut add = |larges: &mut Larges, live| {
            let run = pool.take_run(20_000).unwrap();
            run.begin_run(core::ptr::dangling(), 20_000, false, false);
            larges.reserve().unwrap();
            larges.push(run);
            if live {
                mark(run.base());
            }
            run
        };
        let old: Vec<Block> = (0..10).map(|number| add(&mut larges, number % 3 == 0)).collect();
        larges.begin_count();
        let mut dead = Vec::new();
        let mut new = Vec::new();
        while let Some(counted) = larges.count_next() {
            if let Counted::Dead(run) = counted {
                dead.push(run);
            }
            new.push(add(&mut larges, false));
        }
        assert_eq!(dead.len(), 6);
        assert!(dead.iter().all(|run| old.contains(run)));
        assert_eq!((larges.live(), larges.live_bytes), (4, 80_000));
        mark(new[3].base());
        let mut freed = 0;
        while let Some(counted) = larges.count_new() {
            freed += usize::from(matches!(counted, Counted::Dead(_)));
        }
        assert_eq!((freed, larges.live(), larges.iter().count()), (9, 5, 5));
    }
}
