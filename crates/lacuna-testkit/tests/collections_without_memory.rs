//! Collections whose requests for memory are refused: the n-th one, for every n, and from the n-th on. Whatever a
//! collection cannot get, it is one as the model knows it, or none; and its pause makes no request at all.
//!
//! A request that cannot be refused without ending the process would end this test binary, so the programs run in a
//! process of their own, whose last words are shown.
#![allow(unsafe_code, reason = "a global allocator, and a Trace that is watched, are unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;

use lacuna::{AutoDrain, Config, Ephemerons, Gc, GcCell, Heap, Opaque, Root, Trace, Visitor};
use lacuna_testkit::Operation::*;
use lacuna_testkit::{Behaviour, Kind, Operation, Program, Setup, run_starved};

thread_local! {
    /// Requests of this thread so far.
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
    /// Requests that are granted before one is refused.
    static GRANTED: Cell<Option<usize>> = const { Cell::new(None) };
    /// Whether all that follow are refused as well.
    static FOR_EVER: Cell<bool> = const { Cell::new(false) };
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

/// Whether the next request of this thread is refused.
fn refuses() -> bool {
    REQUESTS.set(REQUESTS.get() + 1);
    let Some(granted) = GRANTED.get() else { return false };
    if granted > 0 {
        GRANTED.set(Some(granted - 1));
        return false;
    }
    if !FOR_EVER.get() {
        GRANTED.set(None);
    }
    REFUSED.set(REFUSED.get() + 1);
    true
}

struct Starving;

#[global_allocator]
static ALLOCATOR: Starving = Starving;

// SAFETY: passes everything on to the system's allocator, or returns null, which is allowed at any time.
unsafe impl GlobalAlloc for Starving {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        if refuses() { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        if refuses() { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        if refuses() { std::ptr::null_mut() } else { unsafe { System.realloc(at, layout, size) } }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) };
    }
}

/// Collects with an allocator that refuses the request after so many.
fn starve(heap: &mut Heap, granted: usize, for_ever: bool) {
    FOR_EVER.set(for_ever);
    GRANTED.set(Some(granted));
    heap.collect();
    GRANTED.set(None);
}

/// Plays a program with refusals at each request of its collections, until none makes one that is refused. Returns how many
/// requests that were.
fn at_each_request(program: &Program) -> usize {
    let mut requests = 0;
    for for_ever in [false, true] {
        for granted in 0.. {
            REFUSED.set(0);
            eprintln!("request {granted} is refused, and all after it: {for_ever}");
            let outcome = run_starved(program, Setup::QUIET, |heap| starve(heap, granted, for_ever));
            outcome.unwrap_or_else(|difference| panic!("{difference}"));
            if REFUSED.get() == 0 {
                break;
            }
            requests += 1;
            assert!(granted < 1000, "the program does not end");
        }
    }
    requests
}

/// An observed, registered, guarded, keyed third of a heap each, with more objects and arrays than the queue has room
/// for from the start.
fn wide() -> Program {
    const OBJECTS: usize = 420;
    let mut operations = vec![Collect, Enter, Allocate(Kind::Row, 5, [0, 0])];
    for object in 1..=OBJECTS {
        operations.extend([
            Allocate(Kind::Pair, 0, [0, 0]),
            Unlink(object, 0),
            Unlink(object, 1),
            Link(0, object, object, object % 2 == 0),
        ]);
    }
    operations.extend([Allocate(Kind::Table, 0, [0, 0]), Allocate(Kind::Pairs, 0, [0, 0])]);
    for object in (1..60).rev() {
        operations.push(Insert(0, [object, object], object + 1));
        operations.push(Insert(1, [object, object + 1], object));
    }
    for object in 1..60 {
        operations.push(Downgrade(object * 3, object % 2 == 0));
        match object % 3 {
            0 => operations.push(Cleanup(object * 5, Behaviour::Nothing, None)),
            1 => operations.push(Guard(object * 5)),
            _ => {}
        }
        // Half of the keys die with the edges of the row.
        operations.push(Unlink(0, object * 2));
    }
    operations.extend([Root(0), Root(OBJECTS + 1), Root(OBJECTS + 2), Root(3), Root(7), Exit]);
    operations.extend((0..30).map(|weak| Notify(weak * 2, Behaviour::Nothing, (weak % 2 == 0).then_some(weak), None)));
    operations.extend([Collect, NextGuarded, DropRoot(3), Collect, Drain(9, 9), DropRoot(0), Collect, NextGuarded]);
    operations.extend([Collect, Drain(usize::MAX, usize::MAX)]);
    Program(operations)
}

/// Names the test that a child process runs.
const CHILD: &str = "LACUNA_WITHOUT_MEMORY";

#[test]
fn model_check_4_a_collection_whose_requests_fail_is_whole_or_none() {
    const TEST: &str = "model_check_4_a_collection_whose_requests_fail_is_whole_or_none";
    if std::env::var_os(CHILD).is_some() {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        let mut requests = at_each_request(&wide());
        for _ in 0..60 {
            let bytes: Vec<u8> = (0..600).map(|_| byte()).collect();
            let mut program = Program::decode(&bytes);
            // Whatever collects but is not refused anything is left out; what is left collects often.
            program.0.retain(|operation| !matches!(operation, Operation::Limit(_) | Operation::Shutdown(_)));
            let places = (0..program.0.len()).step_by(25);
            places.for_each(|place| program.0.splice(place..place, [Exit, Collect]).for_each(drop));
            requests += at_each_request(&program);
        }
        println!("{requests} requests were refused");
        assert!(requests > 100, "nothing is refused");
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(CHILD, TEST)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&child.stderr);
    let last: Vec<_> = words.lines().rev().take(12).collect();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{}: {}", child.status, last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    assert!(said.contains("1 passed"), "the child ran no test");
    println!("{said}");
}

/// The requests made before the first value of an ephemeron was traced, which is where the pause begins, and before the
/// first was dropped, which is where it has ended.
#[derive(Default)]
struct Pause {
    begin: Cell<Option<usize>>,
    end: Cell<Option<usize>>,
    /// Whether requests are refused from begin to end.
    starves: Cell<bool>,
}

/// A value that notes both.
struct Watch<'gc> {
    pause: Rc<Pause>,
    next: Option<Key<'gc>>,
    /// Declared last, so dropped last.
    _dropped: Opaque<Dropped>,
}

struct Dropped(Rc<Pause>);

// SAFETY: the edge is all there is that could have a brand.
unsafe impl Trace for Watch<'_> {
    type At<'a> = Watch<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if self.pause.begin.get().is_none() {
            self.pause.begin.set(Some(REQUESTS.get()));
            if self.pause.starves.get() {
                FOR_EVER.set(true);
                GRANTED.set(Some(0));
            }
        }
        self.next.trace(visitor);
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        GRANTED.set(None);
        if self.0.end.get().is_none() {
            self.0.end.set(Some(REQUESTS.get()));
        }
    }
}

#[derive(Trace)]
struct Node<'gc> {
    id: usize,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

type Key<'gc> = Gc<'gc, Node<'gc>>;
type Table<'gc> = Ephemerons<Key<'gc>, Watch<'gc>>;

/// A heap in which the pause has everything to do: chains of ephemerons to resolve, some only by what guardians bring
/// back, entries to clear, weak references to kill, callbacks to queue and to silence. Every fourth node lives.
fn busy(nodes: usize, pause: &Rc<Pause>) -> (Heap, Root<Table<'static>>) {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    // The first collection reserves what later ones need.
    heap.collect();
    let table = heap.enter(|cx| {
        let table = cx.alloc(Table::new());
        let node = |id| cx.alloc(Node { id, next: GcCell::new(None) });
        let all: Vec<Key<'_>> = (0..nodes).map(node).collect();
        let watch = |next| Watch { pause: Rc::clone(pause), next, _dropped: Opaque(Dropped(Rc::clone(pause))) };
        let (first, owner) = (node(nodes), node(nodes));
        // A chain through every fourth node, from its end: all but one entry wait.
        for id in (4..nodes).step_by(4).rev() {
            table.edit(cx).insert(all[id - 4], watch(Some(all[id])));
        }
        table.edit(cx).insert(first, watch(all.first().copied()));
        for (id, &node) in all.iter().enumerate() {
            if id % 4 != 0 {
                // These wait for ever, or until a guardian brings the key back.
                table.edit(cx).insert(node, watch(Some(node)));
            }
            if id % 4 == 1 {
                cx.guard(node, id as u64).unwrap();
            }
            let weak = node.downgrade(cx);
            node.downgrade_long(cx);
            cx.cleanup(node, id, |_, _| ()).unwrap();
            cx.notify(weak, id, |_, _, _| ()).unwrap();
            cx.notify_owned(weak, if id % 2 == 0 { first } else { owner }, id, |_, _, _| ()).unwrap();
        }
        first.set(cx, |node| &node.next, Some(first));
        std::mem::forget(first.root(cx));
        table.root(cx)
    });
    (heap, table)
}

fn check_busy(heap: &Heap, table: &Root<Table<'static>>, nodes: usize) {
    heap.verify().unwrap();
    let last = heap.stats().last;
    let quarter = nodes / 4;
    assert_eq!(last.guardians_queued, quarter);
    assert_eq!(last.cleanups_queued, 2 * quarter);
    assert_eq!(last.notifications_silenced, 2 * quarter);
    assert_eq!(last.notifications_queued, 3 * quarter + quarter);
    assert_eq!((last.ephemerons_resolved, last.ephemerons_cleared), (2 * quarter, 2 * quarter));
    assert_eq!(heap.with(table, |table| table.live_count()), 2 * quarter);
}

#[test]
fn model_check_4_the_pause_requests_no_memory() {
    // As many as the queue has room for from the start, and far more.
    for nodes in [240, 60_000] {
        let pause = Rc::<Pause>::default();
        let (mut heap, table) = busy(nodes, &pause);
        let before = REQUESTS.get();
        heap.collect();
        check_busy(&heap, &table, nodes);
        let (begin, end) = (pause.begin.get().unwrap(), pause.end.get().unwrap());
        assert!(before <= begin);
        assert_eq!(end - begin, 0, "requests in the pause");
    }
}

type Fan<'gc> = Gc<'gc, [Key<'gc>]>;

/// Each value leads to far more than the queue has room for, all of it observed, in arrays and behind them: what there is
/// no room for is deferred, and found again without going through the heap.
#[test]
fn model_check_4_a_wide_pause_requests_no_memory_and_takes_linear_time() {
    const LINKS: usize = 40;
    const WIDTH: usize = 1500;
    let pause = Rc::<Pause>::default();
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let (watched, fans, nodes) = heap.enter(|cx| {
        let (watched, fans) = (cx.alloc(Table::new()), cx.alloc(Ephemerons::<Key<'_>, Fan<'_>>::new()));
        let nodes = cx.alloc(Ephemerons::<Key<'_>, Key<'_>>::new());
        let node = |id, next| cx.alloc(Node { id, next: GcCell::new(next) });
        let watch = |next| Watch { pause: Rc::clone(&pause), next, _dropped: Opaque(Dropped(Rc::clone(&pause))) };
        let mut key = node(LINKS, None);
        for link in (0..LINKS).rev() {
            // The way on lies behind the last of them.
            let mut fan: Vec<Key<'_>> = (1..WIDTH).map(|_| node(link, Some(node(link, None)))).collect();
            fan.push(node(link, Some(key)));
            for &of in &fan {
                nodes.edit(cx).insert(of, node(link, None));
            }
            let before = node(link, None);
            fans.edit(cx).insert(before, cx.alloc_slice(fan));
            key = before;
        }
        let start = node(LINKS, None);
        watched.edit(cx).insert(start, watch(Some(key)));
        watched.edit(cx).insert(node(LINKS, None), watch(None));
        std::mem::forget(start.root(cx));
        (watched.root(cx), fans.root(cx), nodes.root(cx))
    });
    heap.collect();
    let (begin, end) = (pause.begin.get().unwrap(), pause.end.get().unwrap());
    assert_eq!(end - begin, 0, "requests in the pause");
    heap.verify().unwrap();
    assert_eq!(heap.with(&watched, |table| table.live_count()), 1);
    assert_eq!(heap.with(&fans, |table| table.live_count()), LINKS);
    assert_eq!(heap.with(&nodes, |table| table.live_count()), LINKS * WIDTH);
    let (last, entries) = (heap.stats().last, LINKS * (WIDTH + 1) + 2);
    assert!(last.ephemerons_examined <= 2 * entries, "{} looks at {entries} entries", last.ephemerons_examined);
    let objects = LINKS * (3 * WIDTH + 2);
    assert!(last.objects_traced <= 2 * objects, "{} visits of {objects} objects", last.objects_traced);
}

#[test]
fn model_check_4_a_pause_that_is_refused_everything_is_like_any_other() {
    for nodes in [240, 6000, 60_000] {
        let pause = Rc::<Pause>::default();
        pause.starves.set(true);
        let (mut heap, table) = busy(nodes, &pause);
        heap.collect();
        check_busy(&heap, &table, nodes);
    }
}
