//! Marking by several threads when there is no memory for starting them, for their queues, or for handing over: slower,
//! and otherwise as ever.
#![cfg(feature = "parallel")]
#![allow(unsafe_code, reason = "a global allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lacuna::{Config, Gc, GcCell, Heap, Trace};

/// Requests of at least so many bytes are refused, in every thread,
static LEAST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// except those of at least so many.
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

struct Failing;

#[global_allocator]
static ALLOCATOR: Failing = Failing;

fn refuses(bytes: usize) -> bool {
    let refuses = (LEAST.load(SeqCst)..MOST.load(SeqCst)).contains(&bytes);
    REFUSED.fetch_add(usize::from(refuses), SeqCst);
    refuses
}

// SAFETY: passes everything on to the system's allocator, or returns null, which is allowed at any time.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refuses(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) };
    }
}

#[derive(Trace)]
struct Node<'gc> {
    edges: GcCell<[Option<Gc<'gc, Node<'gc>>>; 4]>,
    _id: usize,
}

const NODES: usize = 200_000;

/// Collects a scattered graph, half of which is alive, while requests between two sizes are refused. Returns how many were.
fn collect(least: usize, most: usize) -> usize {
    // The limits are those of the whole process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock();
    let mut heap = Heap::with_config(Config::default().mark_threads(2).collect_automatically(false));
    // The first collection reserves what none can do without.
    heap.collect();
    let mut random = 1_u64;
    let mut below = |end: usize| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) as usize % end
    };
    let root = heap.enter(|cx| {
        let node = |id| cx.alloc(Node { edges: GcCell::new([None; 4]), _id: id });
        let all: Vec<_> = (0..2 * NODES).map(node).collect();
        for (id, node) in all.iter().enumerate() {
            let half = id / NODES * NODES;
            // Edge 0 leads through the whole half.
            let next = half + (id + 1) % NODES;
            let to = [next, half + below(NODES), half + below(NODES), half + below(NODES)];
            node.set(cx, |node| &node.edges, to.map(|to| Some(all[to])));
        }
        all[0].root(cx)
    });
    REFUSED.store(0, SeqCst);
    MOST.store(most, SeqCst);
    LEAST.store(least, SeqCst);
    heap.collect();
    LEAST.store(usize::MAX, SeqCst);
    let refused = REFUSED.load(SeqCst);
    assert_eq!(heap.stats().live_objects, NODES);
    heap.verify().unwrap();
    drop(root);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
    refused
}

#[test]
fn trap_18_without_room_for_a_thread_one_marks_alone() {
    // From the first request on: the queue cannot grow either.
    assert!(collect(0, usize::MAX) > 0);
    // Only the room that is looked for before a thread is started is not there.
    assert!(collect(64 << 10, (64 << 10) + 1) > 0);
}

#[test]
fn trap_18_without_room_for_queues_and_batches_threads_leave_work_over() {
    // A thread can be started, but no queue can be longer than some thousand objects, and no full batch can be made.
    assert!(collect(8 << 10, 64 << 10) > 0);
    // Short batches can.
    assert!(collect(32 << 10, 64 << 10) > 0);
}
