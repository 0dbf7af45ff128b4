//! How threads that mark together share what there is to do, and how they find out that there is nothing left.
//!
//! Each thread works on a queue of its own. One whose queue is empty *takes* a batch from the pool, or waits for one; one
//! that sees another wait *gives* a part of its queue to the pool.
//!
//! ```text
//!              take: none there                 take: a batch
//!   working ---------------------> waiting ---------------------> working
//!      ^                              |
//!      +-- take: a batch              +-- the last one to wait, or abandoned --> over, for all
//! ```
//!
//! What is to be done is in the queue of a working thread or in the pool. A thread waits only when its queue is empty, and
//! only while the pool is; so when all of them would wait there is nothing left, and nobody can bring more. All of this is
//! counted under one lock, which no code of the program runs under.
//!
//! Threads *enlist* before they are started. One that was never started is *dismissed*, so that nobody waits for it.

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};
use std::vec::Vec;

/// The pool of batches, and who waits for one.
pub(crate) struct HandOver<B> {
    pool: Mutex<Pool<B>>,
    changed: Condvar,
    /// Threads that wait and for which there is no batch. Read without the lock: a hint.
    wanted: AtomicUsize,
    /// A copy of the pool's, read without the lock.
    over: AtomicBool,
}

struct Pool<B> {
    /// Has room for one batch for each thread, and never more in it.
    batches: Vec<B>,
    enlisted: usize,
    waiting: usize,
    over: bool,
}

impl<B> HandOver<B> {
    /// For so many threads at most, of which the calling one is enlisted. `None` if there is no memory.
    pub(crate) fn new(threads: usize) -> Option<Self> {
        let mut batches = Vec::new();
        batches.try_reserve_exact(threads).ok()?;
        let pool = Mutex::new(Pool { batches, enlisted: 1, waiting: 0, over: false });
        Some(Self { pool, changed: Condvar::new(), wanted: AtomicUsize::new(0), over: AtomicBool::new(false) })
    }

    /// Counts one more thread in. To be called by one that is enlisted and does not wait, so that it is not over yet.
    pub(crate) fn enlist(&self) {
        self.lock().enlisted += 1;
    }

    /// Counts a thread out that was enlisted and never started. To be called by one that does not wait, which will find out
    /// if it is the last.
    pub(crate) fn dismiss(&self) {
        self.lock().enlisted -= 1;
    }

    /// Whether a thread waits for which there is no batch. Late, but not for ever.
    pub(crate) fn wants(&self) -> bool {
        self.wanted.load(Relaxed) > 0
    }

    /// Whether it is over. Late, but not for ever.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Puts a batch into the pool, or gives it back if others were faster.
    pub(crate) fn give(&self, batch: B) -> Result<(), B> {
        let mut pool = self.lock();
        if pool.over || pool.batches.len() >= pool.waiting {
            return Err(batch);
        }
        pool.batches.push(batch);
        self.count_wanted(&pool);
        drop(pool);
        self.changed.notify_one();
        Ok(())
    }

    /// A batch, for a thread whose queue is empty. Waits until there is one; `None` when it is over.
    pub(crate) fn take(&self) -> Option<B> {
        let mut pool = self.lock();
        pool.waiting += 1;
        loop {
            if pool.over {
                return None;
            }
            if let Some(batch) = pool.batches.pop() {
                pool.waiting -= 1;
                self.count_wanted(&pool);
                return Some(batch);
            }
            if pool.waiting == pool.enlisted {
                self.end(pool);
                return None;
            }
            self.count_wanted(&pool);
            pool = self.changed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends it for all threads, whatever is left to do.
    pub(crate) fn abandon(&self) {
        self.end(self.lock());
    }

    fn end(&self, mut pool: MutexGuard<'_, Pool<B>>) {
        pool.over = true;
        self.over.store(true, Relaxed);
        drop(pool);
        self.changed.notify_all();
    }

    fn count_wanted(&self, pool: &Pool<B>) {
        self.wanted.store(pool.waiting.saturating_sub(pool.batches.len()), Relaxed);
    }

    /// Nothing panics under the lock, so it is in order even if it is said to be poisoned.
    fn lock(&self) -> MutexGuard<'_, Pool<B>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All interleavings of the hand-over's steps, tried by loom: `RUSTFLAGS="--cfg loom"`.
#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;
    use std::vec;

    /// What threads do together: a job of a weight brings two that are lighter by one, down to 0.
    struct Jobs {
        hand_over: HandOver<Vec<u32>>,
        done: AtomicUsize,
    }

    impl Jobs {
        fn new(threads: usize) -> Arc<Self> {
            Arc::new(Self { hand_over: HandOver::new(threads).unwrap(), done: AtomicUsize::new(0) })
        }

        /// Works on a queue, and on what others give, to the end; returns how many jobs were given away.
        fn work(&self, mut queue: Vec<u32>) -> usize {
            let mut given = 0;
            loop {
                while let Some(weight) = queue.pop() {
                    if self.hand_over.is_over() {
                        return given;
                    }
                    self.done.fetch_add(1, Relaxed);
                    queue.extend((weight > 0).then(|| [weight - 1; 2]).into_iter().flatten());
                    if queue.len() > 1 && self.hand_over.wants() {
                        match self.hand_over.give(vec![queue.remove(0)]) {
                            Ok(()) => given += 1,
                            Err(batch) => queue.splice(0..0, batch).for_each(drop),
                        }
                    }
                }
                match self.hand_over.take() {
                    Some(batch) => queue = batch,
                    None => return given,
                }
            }
        }

        fn start(this: &Arc<Self>) -> thread::JoinHandle<usize> {
            this.hand_over.enlist();
            let jobs = Arc::clone(this);
            thread::spawn(move || jobs.work(Vec::new()))
        }

        /// That it is over, for every thread, with everything done once.
        fn check(&self, done: usize) {
            assert_eq!(self.done.load(Relaxed), done);
            assert!(self.hand_over.is_over());
            assert!(self.hand_over.lock().batches.is_empty(), "a batch was left over");
        }
    }

    #[test]
    fn two_threads_do_everything_once_and_end() {
        loom::model(|| {
            let jobs = Jobs::new(2);
            let other = Jobs::start(&jobs);
            jobs.work(vec![2]);
            other.join().unwrap();
            jobs.check(7);
        });
    }

    #[test]
    fn three_threads_do_everything_once_and_end() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let jobs = Jobs::new(3);
            let others = [Jobs::start(&jobs), Jobs::start(&jobs)];
            jobs.work(vec![1, 1]);
            for other in others {
                other.join().unwrap();
            }
            jobs.check(6);
        });
    }

    #[test]
    fn a_batch_is_given_in_some_interleaving() {
        // The maximum over all interleavings, outside of loom's world.
        let given = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let most = std::sync::Arc::clone(&given);
        loom::model(move || {
            let jobs = Jobs::new(2);
            let other = Jobs::start(&jobs);
            most.fetch_max(jobs.work(vec![2]), std::sync::atomic::Ordering::SeqCst);
            other.join().unwrap();
        });
        assert!(given.load(std::sync::atomic::Ordering::SeqCst) >= 1);
    }

    #[test]
    fn a_thread_that_abandons_it_ends_it_for_those_that_wait() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let jobs = Jobs::new(3);
            let other = Jobs::start(&jobs);
            jobs.hand_over.enlist();
            let panicking = {
                let jobs = Arc::clone(&jobs);
                thread::spawn(move || jobs.hand_over.abandon())
            };
            jobs.work(vec![1]);
            other.join().unwrap();
            panicking.join().unwrap();
            assert!(jobs.hand_over.is_over());
        });
    }

    #[test]
    fn nobody_waits_for_a_thread_that_was_dismissed() {
        loom::model(|| {
            let jobs = Jobs::new(3);
            let other = Jobs::start(&jobs);
            jobs.hand_over.enlist();
            jobs.hand_over.dismiss();
            jobs.work(vec![1]);
            other.join().unwrap();
            jobs.check(3);
        });
    }
}
