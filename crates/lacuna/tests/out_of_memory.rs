//! The global allocator has nothing to give: at the n-th request, for every n, and from the n-th on.
//!
//! What can fail says so and gives everything back; a collection needs no memory; and the heap is sound afterwards. A
//! request that aborts the process would end this test binary, so each scenario runs in a process of its own, and the
//! one that ends it is named.
#![allow(unsafe_code, reason = "a global allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::process::Command;
use std::rc::Rc;

use lacuna::{
    AutoDrain, Budget, Config, Ephemerons, Exhausted, Gc, GcCell, Heap, Opaque, Phase, RegisterFailure, Root,
    StepBudget, Trace, Weak, WeakLong,
};

thread_local! {
    /// Requests of this thread that are granted before one is refused.
    static GRANTED: Cell<Option<usize>> = const { Cell::new(None) };
    /// Whether all that follow are refused as well.
    static FOR_EVER: Cell<bool> = const { Cell::new(false) };
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

struct Failing;

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Whether the next request of this thread is refused.
fn refuses() -> bool {
    let refuses = match GRANTED.get() {
        None => false,
        Some(0) => {
            if !FOR_EVER.get() {
                GRANTED.set(None);
            }
            true
        }
        Some(granted) => {
            GRANTED.set(Some(granted - 1));
            false
        }
    };
    REFUSED.set(REFUSED.get() + usize::from(refuses));
    refuses
}

// SAFETY: passes everything on to the system's allocator, or returns null, which is allowed at any time.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refuses() {
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

/// Runs a step with an allocator that refuses the request after so many. Returns how many were refused.
fn refusing(granted: usize, for_ever: bool, step: impl FnOnce()) -> usize {
    REFUSED.set(0);
    FOR_EVER.set(for_ever);
    GRANTED.set(Some(granted));
    step();
    GRANTED.set(None);
    REFUSED.get()
}

/// Names the scenario that a child process runs.
const SCENARIO: &str = "LACUNA_OUT_OF_MEMORY";

/// Runs `scenario` with refusals at each request until it makes none that is refused; in a process of its own, which is
/// this test in this binary.
fn at_each_request(test: &str, scenario: impl Fn(usize, bool) -> usize) {
    if std::env::var(SCENARIO).as_deref() == Ok(test) {
        for for_ever in [false, true] {
            let mut granted = 0;
            loop {
                eprintln!("request {granted} is refused, and all after it: {for_ever}");
                if scenario(granted, for_ever) == 0 {
                    break;
                }
                granted += 1;
                assert!(granted < 5000, "the scenario does not end");
            }
            println!("the scenario makes {granted} requests");
        }
        return;
    }
    assert!(std::env::var(SCENARIO).is_err(), "the child runs one test");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(SCENARIO, test)
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&child.stderr).into_owned();
    let last: Vec<_> = lines.lines().rev().take(12).collect();
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the child ran no test");
    assert!(child.status.success(), "{}: {}", child.status, last.into_iter().rev().collect::<Vec<_>>().join("\n"));
}

#[derive(Trace)]
struct Node<'gc> {
    id: usize,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

/// Counts its drop.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn allocations_that_can_fail_give_the_value_back() {
    at_each_request("allocations_that_can_fail_give_the_value_back", |granted, for_ever| {
        let drops = Rc::new(Cell::new(0));
        let mut values: Vec<_> = (0..8).map(|_| Opaque(Counted(Rc::clone(&drops)))).collect();
        let (mut rooted, mut back) = (Vec::with_capacity(8), Vec::with_capacity(8));
        let mut others = (Vec::with_capacity(8), Vec::with_capacity(8));
        let bytes = vec![7_u8; 10_000];
        let mut heap = Heap::new();
        let refused = refusing(granted, for_ever, || {
            while let Some(value) = values.pop() {
                match heap.try_alloc(value) {
                    Ok(root) => rooted.push(root),
                    Err(error) => {
                        assert_eq!(error.reason(), Exhausted::System);
                        back.push(error.into_value());
                    }
                }
                if let Ok(root) = heap.try_alloc([1_u8; 9000]) {
                    others.0.push(root);
                }
                if let Ok(root) = heap.try_alloc(values.len()) {
                    others.1.push(root);
                }
            }
            heap.enter(|cx| {
                let _ = cx.try_alloc_str("text").map(|text| assert_eq!(&*text, "text"));
                let _ = cx
                    .try_alloc_slice(bytes.iter().map(|&byte| u16::from(byte)))
                    .map(|slice| assert_eq!(slice[9999], 7));
                let _ = cx.try_alloc((1_u64, 2_u64)).map(|pair| assert_eq!(pair.1, 2));
            });
        });
        assert_eq!(rooted.len() + back.len(), 8);
        assert_eq!(drops.get(), 0, "no value is lost");
        heap.verify().unwrap();
        heap.collect();
        assert_eq!(heap.stats().live_objects, rooted.len() + others.0.len() + others.1.len());
        heap.verify().unwrap();
        drop((rooted, others));
        heap.collect();
        assert_eq!(drops.get(), 8 - back.len());
        assert_eq!(heap.stats().live_objects, 0);
        refused
    });
}

#[test]
fn registrations_that_fail_give_the_payload_back() {
    at_each_request("registrations_that_fail_give_the_payload_back", |granted, for_ever| {
        let ran: Opaque<Rc<Cell<usize>>> = Opaque::default();
        let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
        let objects: Vec<_> = (0..40).map(|id| heap.alloc(id)).collect();
        let held = heap.alloc(String::from("held"));
        let mut payloads: Vec<_> = (0..40).map(|id| ([id; 20], held.clone(), ran.clone())).collect();
        let (mut armed, mut back, mut guarded) = (0, Vec::with_capacity(40), 0);
        type Payload = ([i32; 20], Root<String>, Opaque<Rc<Cell<usize>>>);
        fn callback(heap: &mut Heap, (id, held, ran): Payload) {
            assert_eq!((heap.get(&held).as_str(), id[19]), ("held", id[0]));
            ran.set(ran.get() + 1);
        }
        let refused = refusing(granted, for_ever, || {
            for (index, object) in objects.iter().enumerate() {
                match heap.cleanup(object, payloads.pop().unwrap(), callback) {
                    Ok(_) => armed += 1,
                    Err(error) => {
                        assert_eq!(error.reason(), RegisterFailure::OutOfMemory);
                        back.push(error.into_payload());
                    }
                }
                if index % 2 == 0 {
                    match heap.guard(object, 0) {
                        Ok(_) => guarded += 1,
                        Err(error) => assert_eq!(error.reason(), RegisterFailure::OutOfMemory),
                    }
                }
            }
        });
        heap.verify().unwrap();
        assert_eq!(heap.stats().armed, armed + guarded);
        drop(objects);
        heap.collect();
        assert_eq!(heap.stats().queued_guardians, guarded);
        while heap.next_guarded().is_some() {}
        heap.collect();
        assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, armed);
        assert_eq!((ran.get(), armed + back.len()), (armed, 40));
        heap.verify().unwrap();
        refused
    });
}

#[test]
fn notifications_that_fail_give_the_payload_back_and_leave_no_ownership() {
    at_each_request("notifications_that_fail_give_the_payload_back_and_leave_no_ownership", |granted, for_ever| {
        let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
        let owners: Vec<_> = (0..70).map(|id| heap.alloc(id)).collect();
        let objects: Vec<_> = (0..70).map(|id| heap.alloc(id)).collect();
        let weak: Vec<_> = objects.iter().map(|object| heap.downgrade(object)).collect();
        let mut payloads: Vec<_> = (0..70).map(|id| [id; 20]).collect();
        let (mut armed, mut back) = (0, Vec::with_capacity(70));
        let refused = refusing(granted, for_ever, || {
            for (&weak, owner) in weak.iter().zip(&owners) {
                let result = heap.notify_owned(weak, owner, payloads.pop().unwrap(), |_, _, payload: [i32; 20]| {
                    assert_eq!(payload[0], payload[19]);
                });
                match result {
                    Ok(_) => armed += 1,
                    Err(error) => {
                        assert_eq!(error.reason(), RegisterFailure::OutOfMemory);
                        back.push(error.into_payload());
                    }
                }
            }
        });
        heap.verify().unwrap();
        assert_eq!((heap.stats().armed, armed + back.len()), (armed, 70));
        drop(objects);
        heap.collect();
        assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, armed);
        assert_eq!(heap.stats().panics, 0);
        drop(owners);
        heap.collect();
        let stats = heap.stats();
        assert_eq!((stats.notifications_silenced, stats.weak_slots, stats.finalizer_bytes), (0, 0, 0));
        refused
    });
}

#[test]
fn a_registration_that_fails_does_not_bring_an_old_id_back() {
    at_each_request("a_registration_that_fails_does_not_bring_an_old_id_back", |granted, for_ever| {
        let mut heap = Heap::new();
        let object = heap.alloc(0_u8);
        let old: Vec<_> = (0..3)
            .map(|round| {
                let id = heap.cleanup(&object, round, |_, _: u64| ()).unwrap();
                heap.cancel(id);
                id
            })
            .collect();
        heap.collect(); // gives the table back
        let refused = refusing(granted, for_ever, || {
            let _ = heap.cleanup(&object, (), |_, ()| ()).map(|id| heap.cancel(id));
            let _ = heap.guard(&object, 0).map(|guard| heap.unguard(guard));
        });
        heap.collect();
        let new: Vec<_> = (0..3).map(|_| heap.cleanup(&object, String::from("new"), |_, _| ()).unwrap()).collect();
        assert!(old.iter().all(|&old| !heap.is_pending(old) && heap.cancel(old).is_none()));
        assert!(new.iter().all(|&new| heap.cancel(new).as_deref() == Some("new")));
        refused
    });
}

/// A heap with some of everything; a third of the observed objects is alive, a third dead, a third guarded.
struct Populated {
    heap: Heap,
    roots: Vec<Root<Node<'static>>>,
    _kept: Option<Root<[Link<'static>]>>,
    weak: Vec<(Weak<Node<'static>>, WeakLong<Node<'static>>)>,
    drops: Rc<Cell<usize>>,
    ran: Opaque<Rc<RefCell<Vec<usize>>>>,
    told: Opaque<Rc<RefCell<Vec<usize>>>>,
}

const OBSERVED: usize = 300;
/// Rows, each of which leads to the next from the end of its first piece, so that when the last is reached, the rest of
/// all the others waits: more than any reserve has room for.
const ROWS: usize = 400;
const ROW: usize = 140;
/// Where the first piece of a row ends.
const PIECE: usize = 128;

#[derive(Trace)]
struct Link<'gc> {
    node: Gc<'gc, Node<'gc>>,
    row: Option<Gc<'gc, [Link<'gc>]>>,
}

impl Populated {
    fn new() -> Self {
        let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
        // The first collection reserves what later ones need.
        heap.collect();
        let drops = Rc::new(Cell::new(0));
        let ran: Opaque<Rc<RefCell<Vec<usize>>>> = Opaque(Rc::new(RefCell::new(Vec::with_capacity(OBSERVED))));
        let told: Opaque<Rc<RefCell<Vec<usize>>>> = Opaque(Rc::new(RefCell::new(Vec::with_capacity(2 * OBSERVED))));
        let mut roots: Vec<Root<Node<'static>>> = Vec::new();
        let (weak, kept) = heap.enter(|cx| {
            let leaf = cx.alloc(Node { id: 7, next: GcCell::new(None) });
            let lost = cx.alloc(Node { id: 8, next: GcCell::new(None) });
            let mut row: Option<Gc<'_, [Link<'_>]>> = None;
            for _ in 0..ROWS {
                row = Some(cx.alloc_slice((0..ROW).map(|id| Link {
                    node: cx.alloc(Node { id, next: GcCell::new(Some(leaf)) }),
                    row: row.filter(|_| id == PIECE - 1),
                })));
            }
            let kept = row.map(|row| row.root(cx));
            let mut weak = Vec::new();
            for id in 0..OBSERVED {
                let node = cx.alloc(Node { id, next: GcCell::new(Some(leaf)) });
                weak.push((node.downgrade(cx), node.downgrade_long(cx)));
                cx.cleanup(node, (ran.clone(), id), |_, (ran, id)| ran.borrow_mut().push(id)).unwrap();
                let (short, _) = weak[id];
                cx.notify(short, (told.clone(), id), |_, _, (told, id)| told.borrow_mut().push(id)).unwrap();
                // The owner of every second one dies.
                let owner = if id % 2 == 0 { leaf } else { lost };
                cx.notify_owned(short, owner, (told.clone(), id), |_, _, (told, id)| told.borrow_mut().push(id))
                    .unwrap();
                match id % 3 {
                    0 => roots.push(node.root(cx)),
                    1 => drop(cx.alloc(Opaque(Counted(Rc::clone(&drops))))),
                    _ => drop(cx.guard(node, id as u64).unwrap()),
                }
            }
            (weak, kept)
        });
        Self { heap, roots, _kept: kept, weak, drops, ran, told }
    }

    /// Checks that everything is as after one collection.
    fn check_collected(&mut self) {
        let Self { heap, roots, weak, drops, ran, told, .. } = self;
        heap.verify().unwrap();
        let live = 1 + ROWS + ROWS * ROW;
        assert_eq!(heap.stats().live_objects, live + OBSERVED / 3 * 2);
        assert_eq!(drops.get(), OBSERVED / 3);
        for (id, &(short, long)) in weak.iter().enumerate() {
            assert_eq!((heap.is_dead(short), heap.is_dead_long(long)), (id % 3 != 0, id % 3 == 1), "object {id}");
        }
        assert_eq!(heap.stats().notifications_silenced as usize, OBSERVED / 2);
        // Each unreachable object is told of once, and once more where the owner lives.
        let unreachable = (0..OBSERVED).rev().filter(|id| id % 3 != 0);
        let expected: Vec<_> = unreachable.flat_map(|id| [id].repeat(2 - id % 2)).collect();
        assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, OBSERVED / 3 + expected.len());
        assert!(ran.borrow().iter().eq((0..OBSERVED).rev().filter(|id| id % 3 == 1).collect::<Vec<_>>().iter()));
        assert_eq!(*told.borrow(), expected);
        for id in (0..OBSERVED).rev().filter(|id| id % 3 == 2) {
            assert_eq!(heap.next_guarded().unwrap().tag, id as u64);
        }
        for (index, root) in roots.iter().enumerate() {
            assert_eq!(heap.with(root, |node| (node.id, node.next.get().unwrap().id)), (index * 3, 7));
        }
        heap.collect();
        assert_eq!(heap.stats().live_objects, live + OBSERVED / 3);
        heap.verify().unwrap();
    }
}

#[test]
fn a_collection_without_any_memory_is_complete_all_the_same() {
    at_each_request("a_collection_without_any_memory_is_complete_all_the_same", |granted, for_ever| {
        let mut populated = Populated::new();
        let before = populated.heap.stats().collections;
        let refused = refusing(granted, for_ever, || populated.heap.collect());
        assert_eq!(populated.heap.stats().collections, before + 1, "the reserve is enough to mark with");
        populated.check_collected();
        refused
    });
}

#[test]
fn a_collection_in_increments_without_any_memory_is_complete_all_the_same() {
    at_each_request("a_collection_in_increments_without_any_memory_is_complete_all_the_same", |granted, for_ever| {
        let mut populated = Populated::new();
        let before = populated.heap.stats().collections;
        let refused = refusing(granted, for_ever, || {
            populated.heap.begin_major();
            while populated.heap.step(StepBudget::units(10_000)) != Phase::Idle {}
        });
        assert_eq!(populated.heap.stats().collections, before + 1, "the reserve is enough to mark with");
        // What is left of the dead is dropped by the next collection.
        populated.check_collected();
        refused
    });
}

#[test]
fn a_write_that_cannot_be_remembered_while_a_collection_marks_loses_nothing() {
    at_each_request("a_write_that_cannot_be_remembered_while_a_collection_marks_loses_nothing", |granted, for_ever| {
        const NODES: usize = 200;
        const ROW_OF_CELLS: usize = 20 * NODES;
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        heap.collect();
        let roots: Vec<Root<Node<'static>>> =
            heap.enter(|cx| (0..NODES).map(|id| cx.alloc(Node { id, next: GcCell::new(None) }).root(cx)).collect());
        heap.begin_major();
        // Large, so that its parts are remembered.
        let row: Root<[GcCell<Option<Gc<'static, Node<'static>>>>]> =
            heap.enter(|cx| cx.alloc_slice((0..ROW_OF_CELLS).map(|_| GcCell::new(None::<Gc<'_, Node<'_>>>))).root(cx));
        let mut refused = 0;
        while heap.phase() == Phase::Marking {
            refused += heap.enter(|cx| {
                refusing(granted, for_ever, || {
                    for (id, root) in roots.iter().enumerate() {
                        if let Ok(new) = cx.try_alloc(Node { id: NODES + id, next: GcCell::new(None) }) {
                            let field = ROW_OF_CELLS / NODES * id;
                            match id % 2 {
                                0 => root.get(cx).set(cx, |node| &node.next, Some(new)),
                                _ => row.get(cx).set(cx, |row| &row[field], Some(new)),
                            }
                        }
                    }
                })
            });
            heap.verify().unwrap();
            heap.step(StepBudget::units(30));
        }
        heap.verify().unwrap();
        while heap.step(StepBudget::units(1000)) != Phase::Idle {}
        for _ in 0..2 {
            for (id, root) in roots.iter().enumerate() {
                assert!(heap.with(root, |node| node.next.get().is_none_or(|next| next.id == NODES + id)));
            }
            heap.with(&row, |row| {
                for (field, cell) in row.iter().enumerate() {
                    let id = field / (ROW_OF_CELLS / NODES);
                    assert!(cell.get().is_none_or(|node| node.id == NODES + id));
                }
            });
            heap.collect();
            heap.verify().unwrap();
        }
        refused
    });
}

#[test]
fn a_first_collection_happens_or_does_not_and_nothing_in_between() {
    at_each_request("a_first_collection_happens_or_does_not_and_nothing_in_between", |granted, for_ever| {
        let mut heap = Heap::new();
        let (kept, dead) = (heap.alloc(String::from("kept")), heap.alloc(String::from("dead")));
        let weak = [heap.downgrade(&kept), heap.downgrade(&dead)];
        heap.cleanup(&dead, (), |_, ()| ()).unwrap();
        drop(dead);
        let refused = refusing(granted, for_ever, || heap.collect());
        let happened = heap.stats().collections == 1;
        assert_eq!(weak.map(|weak| heap.is_dead(weak)), [false, happened]);
        assert_eq!(heap.stats().queued_cleanups, usize::from(happened));
        heap.verify().unwrap();
        heap.collect();
        assert_eq!(heap.stats().live_objects, 1);
        assert_eq!(heap.get(&kept), "kept");
        refused
    });
}

#[test]
fn rule_22_ephemerons_converge_without_any_memory() {
    const ENTRIES: usize = 400;
    /// The keys from here on are a list: they are marked at once, and more than there is room to note.
    const LIST: usize = 50;
    type Table<'gc> = Ephemerons<Gc<'gc, Node<'gc>>, (Gc<'gc, Node<'gc>>, Opaque<Counted>)>;
    at_each_request("rule_22_ephemerons_converge_without_any_memory", |granted, for_ever| {
        let drops = Rc::new(Cell::new(0));
        let mut heap = Heap::new();
        // The first collection reserves what later ones need.
        heap.collect();
        let node = |cx: &lacuna::Mutator<'_>, id| cx.alloc(Node { id, next: GcCell::new(None) }).root(cx);
        let nodes: Vec<Root<Node<'static>>> = heap.enter(|cx| (0..=ENTRIES).map(|id| node(cx, id)).collect());
        let table: Root<Table<'static>> = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            for pair in nodes[LIST..].windows(2) {
                pair[0].get(cx).set(cx, |node| &node.next, Some(pair[1].get(cx)));
            }
            // From the end, so that all entries but one wait; and as many that wait for ever.
            for (index, pair) in nodes.windows(2).enumerate().rev() {
                let (key, value) = (pair[0].get(cx), if index < LIST { &pair[1] } else { &nodes[LIST] }.get(cx));
                table.edit(cx).insert(key, (value, Opaque(Counted(Rc::clone(&drops)))));
                let dead = cx.alloc(Node { id: 0, next: GcCell::new(Some(key)) });
                table.edit(cx).insert(dead, (value, Opaque(Counted(Rc::clone(&drops)))));
            }
            table.root(cx)
        });
        let head = nodes[0].clone();
        drop(nodes);
        let refused = refusing(granted, for_ever, || heap.collect());
        heap.verify().unwrap();
        let last = heap.stats().last;
        assert_eq!((last.ephemeron_entries, last.ephemerons_cleared), (2 * ENTRIES, ENTRIES));
        assert_eq!(last.ephemerons_resolved, ENTRIES);
        // Whether or not there was room to note the keys that were marked: all entries are looked at once, and those that
        // are resolved once more.
        assert!(last.ephemerons_examined <= 3 * ENTRIES, "{last:?}");
        assert_eq!((heap.with(&table, |table| table.live_count()), drops.get()), (ENTRIES, ENTRIES));
        assert_eq!(heap.stats().live_objects, ENTRIES + 2);
        drop(head);
        let refused_again = refusing(granted, for_ever, || heap.collect());
        assert_eq!((heap.with(&table, |table| table.live_count()), drops.get()), (0, 2 * ENTRIES));
        assert_eq!(heap.stats().live_objects, 1);
        refused + refused_again
    });
}

#[test]
fn rule_22_an_insertion_that_fails_gives_the_value_back() {
    at_each_request("rule_22_an_insertion_that_fails_gives_the_value_back", |granted, for_ever| {
        let drops = Rc::new(Cell::new(0));
        let mut heap = Heap::new();
        let node = |cx: &lacuna::Mutator<'_>, id| cx.alloc(Node { id, next: GcCell::new(None) }).root(cx);
        let nodes: Vec<Root<Node<'static>>> = heap.enter(|cx| (0..40).map(|id| node(cx, id)).collect());
        type Pairs<'gc> = Ephemerons<[Gc<'gc, Node<'gc>>; 2], (Gc<'gc, Node<'gc>>, Opaque<Counted>)>;
        let table: Root<Pairs<'static>> = heap.enter(|cx| cx.alloc(Pairs::new()).root(cx));
        let (mut present, mut back) = (0, 0);
        let refused = refusing(granted, for_ever, || {
            heap.enter(|cx| {
                let table = table.get(cx);
                for pair in nodes.windows(2) {
                    let keys = [pair[0].get(cx), pair[1].get(cx)];
                    match table.edit(cx).try_insert(keys, (keys[0], Opaque(Counted(Rc::clone(&drops))))) {
                        Ok(before) => {
                            assert!(before.is_none());
                            present += 1;
                        }
                        Err(error) => {
                            assert_eq!(error.reason(), Exhausted::System);
                            assert!(!table.contains_key(keys));
                            back += 1;
                            drop(error.into_value());
                        }
                    }
                    // What is given back when there is no memory is less, and that is all.
                    table.edit(cx).prune();
                }
                assert_eq!(table.live_count(), present);
            });
        });
        assert_eq!((present + back, drops.get()), (39, back));
        heap.verify().unwrap();
        heap.collect();
        heap.verify().unwrap();
        assert_eq!(heap.with(&table, |table| table.live_count()), present);
        drop(nodes);
        heap.collect();
        assert_eq!((heap.stats().live_objects, drops.get()), (1, 39));
        refused
    });
}

#[test]
fn a_drain_needs_no_memory_of_its_own() {
    at_each_request("a_drain_needs_no_memory_of_its_own", |granted, for_ever| {
        let mut populated = Populated::new();
        populated.heap.collect();
        let stats = populated.heap.stats();
        let queued = stats.queued_cleanups + stats.queued_notifications;
        let mut ran = 0;
        let refused = refusing(granted, for_ever, || {
            ran = populated.heap.drain(Budget::unlimited()).unwrap().ran;
        });
        assert_eq!(ran, queued);
        assert!(ran > OBSERVED);
        refused
    });
}

#[test]
fn dropping_roots_and_the_heap_needs_no_memory() {
    at_each_request("dropping_roots_and_the_heap_needs_no_memory", |granted, for_ever| {
        let populated = Populated::new();
        let drops = Rc::clone(&populated.drops);
        let refused = refusing(granted, for_ever, || {
            let Populated { heap, roots, .. } = populated;
            drop(roots);
            drop(heap);
        });
        assert_eq!(drops.get(), OBSERVED / 3);
        refused
    });
}

#[test]
fn what_cannot_fail_panics_without_harm() {
    at_each_request("what_cannot_fail_panics_without_harm", |granted, for_ever| {
        let mut heap = Heap::new();
        let kept = heap.alloc(String::from("kept"));
        let bytes = vec![0_u8; 100_000];
        let asked: Rc<Cell<usize>> = Rc::default();
        let seen = Rc::clone(&asked);
        // The hook gives the memory back that the program has put aside.
        heap.on_out_of_memory(move |_| {
            GRANTED.set(None);
            seen.set(seen.get() + 1);
        });
        let mut panicked = false;
        let refused = refusing(granted, for_ever, || {
            let step = std::panic::AssertUnwindSafe(|| {
                heap.enter(|cx| {
                    cx.alloc_slice(bytes.iter().copied());
                    cx.alloc([1_u64; 30]);
                    cx.alloc_str("text").downgrade(cx);
                    kept.get(cx).downgrade(cx);
                });
            });
            panicked = std::panic::catch_unwind(step).is_err();
        });
        assert_eq!(usize::from(panicked), asked.get());
        assert_eq!(panicked, refused > 0);
        heap.verify().unwrap();
        heap.collect();
        assert_eq!(heap.get(&kept), "kept");
        assert_eq!(heap.stats().live_objects, 1);
        refused
    });
}

#[test]
fn rule_28_a_write_that_cannot_be_remembered_has_the_next_collection_look_at_everything() {
    let test = "rule_28_a_write_that_cannot_be_remembered_has_the_next_collection_look_at_everything";
    at_each_request(test, |granted, for_ever| {
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let old: Root<[Gc<'static, Node<'static>>]> = heap.enter(|cx| {
            let node = |id| cx.alloc(Node { id, next: GcCell::new(None) });
            cx.alloc_slice((0..300).map(node)).root(cx)
        });
        heap.collect();
        let weak: Vec<Weak<Node<'static>>> = heap.enter(|cx| {
            let new: Vec<_> = (0..300).map(|id| cx.alloc(Node { id, next: GcCell::new(None) })).collect();
            let weak = new.iter().map(|new| new.downgrade(cx)).collect();
            REFUSED.set(0);
            FOR_EVER.set(for_ever);
            GRANTED.set(Some(granted));
            for (old, new) in cx.get(&old).iter().zip(new) {
                old.set(cx, |old| &old.next, Some(new));
            }
            weak
        });
        GRANTED.set(None);
        let refused = REFUSED.get();
        // The collection has no memory, either.
        refusing(0, true, || heap.collect_minor());
        assert_eq!(heap.stats().last.minor, refused == 0);
        heap.verify().unwrap();
        heap.collect_minor();
        assert!(heap.stats().last.minor);
        heap.enter(|cx| {
            for (old, (id, &weak)) in cx.get(&old).iter().zip(weak.iter().enumerate()) {
                assert_eq!(old.next.get().map(|next| next.id), Some(id));
                assert!(!cx.is_dead(weak));
            }
        });
        refused
    });
}

#[test]
fn tables_written_between_increments_without_memory_have_what_was_put_into_them() {
    const TABLES: usize = 60;
    let test = "tables_written_between_increments_without_memory_have_what_was_put_into_them";
    type Table<'gc> = Ephemerons<Gc<'gc, Node<'gc>>, Gc<'gc, Node<'gc>>>;
    at_each_request(test, |granted, for_ever| {
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let node = |cx: &lacuna::Mutator<'_>, id| cx.alloc(Node { id, next: GcCell::new(None) }).root(cx);
        let keys: Vec<Root<Node<'static>>> = heap.enter(|cx| (0..TABLES).map(|id| node(cx, id)).collect());
        let tables: Vec<Root<Table<'static>>> =
            heap.enter(|cx| keys.iter().map(|_| cx.alloc(Table::new()).root(cx)).collect());
        let mut inserted = vec![None; TABLES];
        let (mut refused, mut round) = (0, 0);
        heap.collect();
        heap.begin_major();
        while heap.phase() == Phase::Marking {
            round += 1;
            refused += refusing(granted, for_ever, || {
                heap.enter(|cx| {
                    for (place, table) in tables.iter().enumerate().skip(round % 3).step_by(3) {
                        // The value is reached by way of the table only, and its key by way of another.
                        let Ok(value) = cx.try_alloc(Node { id: round, next: GcCell::new(None) }) else { continue };
                        let key = keys[(place + round) % TABLES].get(cx);
                        if table.get(cx).edit(cx).try_insert(key, value).is_ok() {
                            inserted[place] = Some(((place + round) % TABLES, round));
                        }
                    }
                });
                heap.step(StepBudget::units(20));
            });
        }
        refused += refusing(granted, for_ever, || while heap.step(StepBudget::units(100)) != Phase::Idle {});
        heap.verify().unwrap();
        for _ in 0..2 {
            heap.enter(|cx| {
                for (table, inserted) in tables.iter().zip(&inserted) {
                    let Some((key, round)) = *inserted else { continue };
                    let value = table.get(cx).get(keys[key].get(cx));
                    assert_eq!(value.map(|value| value.id), Some(round));
                }
            });
            heap.collect();
        }
        refused
    });
}
