//! Attacks on what old objects lose and get back when they are written, on the lists that cursors go through, and on tables
//! of weak references: safe programs that try to lose an object, keep a dead one, or drop one twice.
//!
//! docs/design/soundness.md says why each of them fails.
#![allow(unsafe_code, reason = "a Trace that panics has to be written by hand")]

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lacuna::{
    AutoDrain, Config, Ephemerons, Gc, GcCell, Heap, Mutator, Opaque, Phase, Root, StepBudget, Trace, Visitor, Weak,
};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

/// Counts its drops, and says when there is one too many.
struct Token(Rc<RefCell<Vec<u32>>>, usize);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.borrow_mut()[self.1] += 1;
    }
}

type Drops = Rc<RefCell<Vec<u32>>>;

#[derive(Trace)]
struct Leaf {
    id: usize,
    _token: Opaque<Option<Token>>,
}

fn leaf<'gc>(cx: &Mutator<'gc>, drops: &Drops, id: usize, counted: bool) -> Gc<'gc, Leaf> {
    let token = counted.then(|| {
        let mut counts = drops.borrow_mut();
        if counts.len() <= id {
            counts.resize(id + 1, 0);
        }
        Token(Rc::clone(drops), id)
    });
    cx.alloc(Leaf { id, _token: Opaque(token) })
}

/// An object of `WORDS` words and one with an edge, so that cells of all sizes lie side by side.
#[derive(Trace)]
struct Sized<'gc, const WORDS: usize> {
    edge: GcCell<Option<Gc<'gc, Leaf>>>,
    _filler: [u64; WORDS],
}

/// The same, with a value that is dropped.
#[derive(Trace)]
struct Dropped<'gc, const WORDS: usize> {
    edge: GcCell<Option<Gc<'gc, Leaf>>>,
    _filler: [u64; WORDS],
    _token: Opaque<Option<Token>>,
}

/// Writes some of many old neighbours between stages and collections of all kinds, and compares each edge each time.
macro_rules! neighbours {
    ($heap:expr, $seed:expr, $steps:expr, $type:ident<$words:literal> $(, $token:ident)?) => {{
        type Object<'gc> = $type<'gc, $words>;
        let (mut heap, mut random): (Heap, Random) = ($heap, Random($seed));
        let drops = Drops::default();
        let count = 700;
        let roots: Root<[Gc<'static, Object<'static>>]> = heap.enter(|cx| {
            let mut all = Vec::new();
            for _ in 0..count {
                // Some neighbours are garbage from the beginning.
                for _ in 0..random.below(2) {
                    cx.alloc(Object { edge: GcCell::new(None), _filler: [0; $words], $($token: Opaque(None),)? });
                }
                all.push(cx.alloc(Object { edge: GcCell::new(None), _filler: [7; $words], $($token: Opaque(None),)? }));
            }
            cx.alloc_slice(all).root(cx)
        });
        let mut believed: Vec<Option<usize>> = vec![None; count];
        let mut next = 0;
        let mut weak: Vec<Weak<Object<'static>>> = Vec::new();
        for step in 0..$steps {
            match random.below(10) {
                0 => heap.collect(),
                1..4 => heap.collect_minor(),
                4 => heap.begin_major(),
                5..8 => _ = heap.step(StepBudget::units(1 + random.below(400))),
                _ => {}
            }
            heap.verify().unwrap_or_else(|error| panic!("step {step}: {error}"));
            let dense = random.below(2) == 0;
            heap.enter(|cx| {
                let all = roots.get(cx);
                let first = random.below(count);
                for i in 0..random.below(60) {
                    let at = if dense { (first + i) % count } else { random.below(count) };
                    let to = (random.below(4) > 0).then(|| leaf(cx, &drops, next, next % 2 == 0));
                    believed[at] = to.map(|to| to.id);
                    next += usize::from(to.is_some());
                    all[at].set(cx, |object| &object.edge, to);
                    if i % 7 == 0 {
                        weak.push(all[(at + 1) % count].downgrade(cx));
                    }
                }
            });
            heap.verify().unwrap_or_else(|error| panic!("after the writes of step {step}: {error}"));
            heap.enter(|cx| {
                for (at, object) in roots.get(cx).iter().enumerate() {
                    assert_eq!(object.edge.get().map(|leaf| leaf.id), believed[at], "object {at} in step {step}");
                    assert!(object._filler.iter().all(|&word| word == 7));
                }
                weak.truncate(100);
                assert!(weak.iter().all(|&weak| cx.upgrade(weak).is_some()), "all are alive");
            });
            let alive: Vec<usize> = believed.iter().flatten().copied().collect();
            let drops = drops.borrow();
            assert!(drops.iter().all(|&drops| drops <= 1) && alive.iter().all(|&id| drops.get(id) != Some(&1)));
        }
        drop(roots);
        heap.collect();
        assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
        drop(heap);
        let drops = drops.borrow();
        assert!(drops.iter().enumerate().all(|(id, &drops)| drops == u32::from(id % 2 == 0)), "each is dropped once");
    }};
}

fn configs() -> [Config; 3] {
    let manual = Config::default().collect_automatically(false).auto_drain(AutoDrain::Off);
    [manual, manual.zeal(true), Config::low_latency().min_heap(128 << 10).minor_step(Some(8 << 10))]
}

#[test]
fn written_neighbours_of_all_sizes_keep_what_they_lead_to_at_every_stage() {
    let steps = if cfg!(miri) { 4 } else { 60 };
    for (seed, config) in (1..).zip(configs()) {
        neighbours!(Heap::with_config(config), seed, steps, Sized<1>);
        neighbours!(Heap::with_config(config), seed, steps, Sized<2>);
        neighbours!(Heap::with_config(config), seed, steps, Sized<4>);
        neighbours!(Heap::with_config(config), seed, steps, Sized<6>);
        neighbours!(Heap::with_config(config), seed, steps, Sized<32>);
        neighbours!(Heap::with_config(config), seed, steps, Dropped<0>, _token);
        neighbours!(Heap::with_config(config), seed, steps, Dropped<1>, _token);
        neighbours!(Heap::with_config(config), seed, steps, Dropped<3>, _token);
    }
}

type Keys<'gc> = Ephemerons<Gc<'gc, Leaf>, Gc<'gc, Leaf>>;

/// Has a table, and an edge.
#[derive(Trace)]
struct Class<'gc> {
    edge: GcCell<Option<Gc<'gc, Leaf>>>,
    table: Keys<'gc>,
}

/// Classes side by side whose tables have an old key that lives, an old one that dies, and new ones of both kinds; only the
/// edges of their neighbours are written.
fn tables_of_neighbours(config: Config) {
    let mut heap = Heap::with_config(config);
    let drops = Drops::default();
    let (classes, keys, dying) = heap.enter(|cx| {
        let classes: Vec<_> =
            (0..64).map(|_| cx.alloc(Class { edge: GcCell::new(None), table: Keys::new() })).collect();
        let keys: Vec<_> = (0..64).map(|i| leaf(cx, &drops, i, true)).collect();
        let dying: Vec<_> = (64..128).map(|i| leaf(cx, &drops, i, true)).collect();
        for ((class, &key), &dying) in classes.iter().zip(&keys).zip(&dying) {
            class.edit_ephemerons(cx, |class| &class.table).insert(key, leaf(cx, &drops, 1000, false));
            class.edit_ephemerons(cx, |class| &class.table).insert(dying, leaf(cx, &drops, 1001, false));
        }
        (cx.alloc_slice(classes).root(cx), cx.alloc_slice(keys).root(cx), cx.alloc_slice(dying).root(cx))
    });
    heap.collect();
    drop(dying);
    for round in 0..20 {
        heap.enter(|cx| {
            let (classes, keys) = (classes.get(cx), keys.get(cx));
            for i in (round % 4..64).step_by(4) {
                classes[i].set(cx, |class| &class.edge, Some(leaf(cx, &drops, 2000, false)));
            }
            // The next is in a group whose marks are gone already.
            let written = classes[(round * 4 + 1) % 64];
            written.edit_ephemerons(cx, |class| &class.table).insert(keys[round], leaf(cx, &drops, 3000 + round, true));
            written.edit_ephemerons(cx, |class| &class.table).insert(leaf(cx, &drops, 4000 + round, true), keys[round]);
        });
        match round % 5 {
            0..3 => heap.collect_minor(),
            3 => {
                heap.begin_major();
                (0..round).for_each(|_| _ = heap.step(StepBudget::units(100)));
            }
            _ => heap.collect(),
        }
        heap.verify().unwrap();
        heap.enter(|cx| {
            let (classes, keys) = (classes.get(cx), keys.get(cx));
            assert!((0..64).all(|i| classes[i].table.get(keys[i]).is_some()));
            let written = classes[(round * 4 + 1) % 64];
            assert_eq!(written.table.get(keys[round]).map(|value| value.id), Some(3000 + round));
        });
    }
    heap.collect();
    heap.enter(|cx| {
        assert!((0..64).all(|i| classes.get(cx)[i].table.keys().iter().all(|key| key.id < 64)), "new keys are dead");
    });
    drop((classes, keys));
    heap.collect();
    assert!(drops.borrow().iter().all(|&drops| drops <= 1) && drops.borrow()[..128].iter().all(|&drops| drops == 1));
}

#[test]
fn tables_in_neighbours_of_what_is_written_keep_what_they_should() {
    configs().into_iter().for_each(tables_of_neighbours);
    #[cfg(feature = "parallel")]
    configs().into_iter().for_each(|config| tables_of_neighbours(config.mark_threads(4)));
}

#[test]
fn neighbours_observed_while_they_have_no_mark_are_not_taken_for_dead() {
    for config in configs() {
        let mut heap = Heap::with_config(config);
        let drops = Drops::default();
        let all: Root<[Gc<'static, Sized<'static, 1>>]> = heap.enter(|cx| {
            let object = |_| cx.alloc(Sized { edge: GcCell::new(None), _filler: [0] });
            cx.alloc_slice((0..64).map(object)).root(cx)
        });
        heap.collect();
        let ran = Rc::new(Cell::new(0));
        for round in 0..12 {
            let (weak, guards) = heap.enter(|cx| {
                let all = all.get(cx);
                all[round].set(cx, |object| &object.edge, Some(leaf(cx, &drops, 0, false)));
                let (mut weak, mut guards) = (Vec::new(), Vec::new());
                for i in [round, round + 1, round + 3, 63 - round] {
                    weak.push((all[i].downgrade(cx), all[i].downgrade_long(cx)));
                    guards.push(cx.guard(all[i], i as u64).unwrap());
                    let count = |_: &mut Heap, _, ran: Opaque<Rc<Cell<u32>>>| ran.0.set(ran.0.get() + 1);
                    cx.notify(all[i].downgrade(cx), Opaque(Rc::clone(&ran)), count).unwrap();
                }
                (weak, guards)
            });
            if round % 3 == 2 {
                heap.begin_major();
                while heap.step(StepBudget::units(1 + round)) == Phase::Marking {}
            }
            heap.collect_minor();
            heap.verify().unwrap();
            assert!(weak.iter().all(|&(weak, long)| !heap.is_dead(weak) && !heap.is_dead_long(long)));
            assert!(heap.next_guarded().is_none() && ran.get() == 0);
            assert!(guards.into_iter().all(|guard| heap.unguard(guard)));
        }
        drop(all);
        heap.collect();
        heap.drain(lacuna::Budget::unlimited()).unwrap();
        assert_eq!(ran.get(), 48);
    }
}

/// Panics when it is looked into so many times.
struct Bomb<'gc> {
    edge: GcCell<Option<Gc<'gc, Leaf>>>,
    fuse: Rc<Cell<u32>>,
}

// SAFETY: the edge is visited unless this panics, and the type differs in its brand only.
unsafe impl Trace for Bomb<'_> {
    type At<'a> = Bomb<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if self.fuse.get() > 0 {
            self.fuse.set(self.fuse.get() - 1);
            assert!(self.fuse.get() > 0, "traced");
        }
        self.edge.trace(visitor);
    }
}

#[test]
fn a_trace_that_panics_in_a_minor_collection_costs_no_neighbour_its_mark_or_its_object() {
    for config in configs() {
        for fuse in 1..40 {
            let mut heap = Heap::with_config(config);
            let (drops, left) = (Drops::default(), Rc::new(Cell::new(0)));
            let all: Root<[Gc<'static, Bomb<'static>>]> = heap.enter(|cx| {
                let bomb = |_| cx.alloc(Bomb { edge: GcCell::new(None), fuse: Rc::clone(&left) });
                cx.alloc_slice((0..40).map(bomb)).root(cx)
            });
            heap.collect();
            heap.enter(|cx| {
                for i in (0..40).step_by(3) {
                    all.get(cx)[i].set(cx, |bomb| &bomb.edge, Some(leaf(cx, &drops, i, true)));
                }
            });
            left.set(fuse);
            let panicked = catch_unwind(AssertUnwindSafe(|| heap.collect_minor())).is_err();
            assert!(panicked || left.get() > 0);
            left.set(0);
            heap.verify().unwrap();
            // Written again, whatever is marked now.
            heap.enter(|cx| {
                for i in (1..40).step_by(3) {
                    all.get(cx)[i].set(cx, |bomb| &bomb.edge, Some(leaf(cx, &drops, i, true)));
                }
            });
            heap.collect_minor();
            heap.verify().unwrap();
            heap.enter(|cx| {
                let all = all.get(cx);
                assert!((0..40).all(|i| all[i].edge.get().map(|leaf| leaf.id) == (i % 3 < 2).then_some(i)));
            });
            assert!(drops.borrow().iter().all(|&drops| drops == 0));
        }
    }
}

#[test]
fn a_heap_that_ends_while_objects_are_remembered_drops_each_once() {
    for ending in 0..6 {
        let mut heap = Heap::with_config(configs()[0]);
        let drops = Drops::default();
        let all: Root<[Gc<'static, Dropped<'static, 1>>]> = heap.enter(|cx| {
            let object = |i| {
                drops.borrow_mut().resize(1000, 0);
                let _token = Opaque(Some(Token(Rc::clone(&drops), i)));
                cx.alloc(Dropped { edge: GcCell::new(None), _filler: [0], _token })
            };
            cx.alloc_slice((0..500).map(object)).root(cx)
        });
        heap.collect();
        let write = |heap: &mut Heap, from: usize| {
            heap.enter(|cx| {
                for i in (from..500).step_by(5) {
                    all.get(cx)[i].set(cx, |object| &object.edge, Some(leaf(cx, &drops, 500 + i, true)));
                }
            });
        };
        write(&mut heap, 0);
        if ending % 3 > 0 {
            heap.begin_major();
            while heap.step(StepBudget::units(300)) == Phase::Marking {
                write(&mut heap, 1);
            }
            write(&mut heap, 2);
        }
        if ending % 3 == 2 {
            while heap.step(StepBudget::units(1)) != Phase::Idle {}
            // Single marks beside pairs that were made dirty before their blocks were counted.
            write(&mut heap, 3);
        }
        heap.verify().unwrap();
        if ending < 3 {
            drop(heap);
        } else {
            heap.shutdown(lacuna::ShutdownOptions::default()).unwrap();
            heap.verify().unwrap();
            heap.collect_minor();
            heap.collect();
        }
        assert!(drops.borrow()[..500].iter().all(|&drops| drops == 1));
    }
}

/// Allocates objects of its own type when it is dropped, where the scope can be reached, and panics at times.
struct Restless {
    drops: Drops,
    id: usize,
}

scoped_tls_hkt::scoped_thread_local!(static IN_SCOPE: for<'a> &'a (dyn Fn() + 'a));

impl Drop for Restless {
    fn drop(&mut self) {
        self.drops.borrow_mut()[self.id] += 1;
        if IN_SCOPE.is_set() {
            IN_SCOPE.with(|allocate| allocate());
        }
        if self.id % 5 == 3 {
            std::panic::resume_unwind(Box::new(()));
        }
    }
}

#[test]
fn a_drop_that_allocates_its_type_among_more_types_than_cursors_hands_no_cell_out_twice() {
    macro_rules! types {
        ($($size:literal)*) => { [$(fill::<$size> as for<'gc> fn(&'gc Mutator<'gc>, u64) -> u64),*] };
    }
    /// Two objects of a type of its own; says whether they hold what was put into them.
    fn fill<'gc, const SIZE: usize>(cx: &'gc Mutator<'gc>, value: u64) -> u64 {
        let pair = [cx.alloc([value; SIZE]), cx.alloc([value + 1; SIZE])];
        assert!(pair[0].iter().all(|&word| word == value) && pair[1].iter().all(|&word| word == value + 1));
        2
    }
    // More than there are places for cursors, so that they come and go.
    let types = types!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36
        37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76);
    for config in configs() {
        let drops: Drops = Rc::default();
        let (mut one, mut two) = (Heap::with_config(config), Heap::with_config(config));
        let mut kept: Vec<Root<Opaque<Restless>>> = Vec::new();
        for round in 0..12 {
            one.enter(|cx| {
                let inner: RefCell<Vec<Gc<'_, Opaque<Restless>>>> = RefCell::default();
                let make = || {
                    let id = drops.borrow().len();
                    drops.borrow_mut().push(0);
                    cx.alloc(Opaque(Restless { drops: Rc::clone(&drops), id }))
                };
                let allocate = || {
                    let made = inner.borrow().len();
                    if made < 3000 {
                        let new = make();
                        inner.borrow_mut().push(new);
                    }
                };
                let mut own = Vec::new();
                IN_SCOPE.set(&allocate, || {
                    for i in 0..2500 {
                        own.push(make());
                        types[i % types.len()](cx, i as u64);
                    }
                });
                own.extend(inner.into_inner());
                let ids: std::collections::HashSet<usize> = own.iter().map(|object| object.0.id).collect();
                assert_eq!(ids.len(), own.len(), "a cell was handed out twice");
                assert!(own.iter().all(|object| drops.borrow()[object.0.id] == 0));
                kept.extend(own.iter().step_by(7).map(|object| object.root(cx)));
            });
            // The cursors of both stand in the middle of their lists.
            two.enter(|cx| types.iter().for_each(|fill| assert_eq!(fill(cx, round), 2)));
            std::mem::swap(&mut one, &mut two);
            match round % 4 {
                0 => two.collect_minor(),
                1 => two.collect(),
                2 => {
                    two.begin_major();
                    while two.step(StepBudget::units(50)) == Phase::Marking {}
                }
                _ => {}
            }
            kept.truncate(1000);
            one.verify().unwrap();
            two.verify().unwrap();
            let alive = |root: &Root<Opaque<Restless>>| one.try_get(root).or(two.try_get(root)).is_ok();
            assert!(kept.iter().all(alive));
        }
        drop((kept, one, two));
        assert!(drops.borrow().iter().all(|&drops| drops == 1));
    }
}

thread_local! {
    static VISITS: Cell<usize> = const { Cell::new(0) };
}

/// Counts how often it is looked into.
struct Link<'gc> {
    next: GcCell<Option<Gc<'gc, Link<'gc>>>>,
    _filler: [u64; 3],
}

// SAFETY: the edge is visited, and the type differs in its brand only.
unsafe impl Trace for Link<'_> {
    type At<'a> = Link<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        VISITS.set(VISITS.get() + 1);
        self.next.trace(visitor);
    }
}

fn list<'gc>(cx: &Mutator<'gc>, length: usize) -> Gc<'gc, Link<'gc>> {
    let link = |next| cx.alloc(Link { next: GcCell::new(next), _filler: [0; 3] });
    (1..length).fold(link(None), |next, _| link(Some(next)))
}

/// Where a program puts a reference to what was dead when marking began.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    Never,
    InObject,
    InRoot,
}

/// How many links the longest stop visited while so many objects were marked that could not be reached when marking began.
fn longest_stop(config: Config, length: usize, found: Found) -> usize {
    let mut heap = Heap::with_config(config);
    let (known, holder) = heap.enter(|cx| (list(cx, 2 * length).root(cx), list(cx, 1).root(cx)));
    heap.collect();
    let weak = heap.enter(|cx| list(cx, length).downgrade(cx));
    let (mut longest, mut increments, mut was_marking, mut root) = (0, 0, false, None);
    for _ in 0..1_000_000 {
        VISITS.set(0);
        heap.enter(|cx| (0..64).for_each(|_| _ = cx.alloc([0_u64; 2])));
        let is_marking = heap.phase() == Phase::Marking;
        increments += u32::from(is_marking);
        match found {
            Found::InObject if increments == 20 => {
                heap.enter(|cx| holder.get(cx).set(cx, |link| &link.next, cx.upgrade(weak)));
            }
            Found::InRoot if increments == 20 => root = heap.upgrade(weak),
            _ => {}
        }
        if is_marking || was_marking {
            longest = longest.max(VISITS.get());
        }
        if was_marking && !is_marking {
            break;
        }
        was_marking = is_marking;
    }
    assert!(was_marking, "a major collection began and ended");
    assert_eq!(heap.is_dead(weak), matches!(found, Found::Never));
    drop((known, holder, root));
    longest
}

#[test]
fn what_is_found_while_catching_up_is_marked_in_increments() {
    let length = 150_000;
    let config = Config::default().min_heap(1 << 20).increment_step(Some(16 << 10)).minor_step(None);
    for config in [config, config.heap_limit(Some(64 << 20))] {
        let alone = longest_stop(config, length, Found::Never);
        for found in [Found::InObject, Found::InRoot] {
            let longest = longest_stop(config, length, found);
            assert!(longest < length / 5, "{longest} of {length} links were visited in one stop, {alone} otherwise");
        }
    }
}

#[test]
fn what_was_written_before_and_after_it_was_counted_is_visited_once() {
    const LINKS: usize = 4096;
    let mut heap = Heap::with_config(configs()[0]);
    let links: Root<[Gc<'static, Link<'static>>]> =
        heap.enter(|cx| cx.alloc_slice((0..LINKS).map(|_| list(cx, 1))).root(cx));
    heap.collect();
    let write = |heap: &mut Heap, from: usize| {
        heap.enter(|cx| {
            let links = links.get(cx);
            (from..LINKS).step_by(4).for_each(|i| links[i].set(cx, |link| &link.next, Some(links[0])));
        });
    };
    heap.begin_major();
    while heap.step(StepBudget::units(1)) == Phase::Marking {}
    assert_eq!(heap.phase(), Phase::Sweeping);
    // Marks may not be taken yet, so these get bits of their own.
    write(&mut heap, 0);
    while heap.step(StepBudget::units(100)) != Phase::Idle {}
    write(&mut heap, 1);
    VISITS.set(0);
    heap.collect_minor();
    assert!(heap.stats().last.minor && (LINKS / 2..=LINKS).contains(&VISITS.get()), "{} visits", VISITS.get());
}

// Tables of weak references.

#[cfg(feature = "hashbrown-fields")]
mod tables {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use lacuna::{Heap, Root, Weak, WeakTable, WeakTableEntry};

    /// A key that counts the values of its kind, and panics when it is dropped or cloned so many times.
    struct Key(u64, Rc<Cell<(i64, u32)>>);

    impl Key {
        fn new(key: u64, world: &Rc<Cell<(i64, u32)>>) -> Self {
            let (alive, fuse) = world.get();
            world.set((alive + 1, fuse));
            Self(key, Rc::clone(world))
        }

        fn burn(&self) {
            let (alive, fuse) = self.1.get();
            self.1.set((alive, fuse.saturating_sub(1)));
            if fuse == 1 && !std::thread::panicking() {
                std::panic::resume_unwind(Box::new(()));
            }
        }
    }

    impl Drop for Key {
        fn drop(&mut self) {
            let (alive, fuse) = self.1.get();
            self.1.set((alive - 1, fuse));
            self.burn();
        }
    }

    impl Clone for Key {
        fn clone(&self) -> Self {
            self.burn();
            Self::new(self.0, &self.1)
        }
    }

    #[test]
    fn what_is_forgotten_or_panics_leaves_a_table_of_one_heap_whole() {
        let (mut one, mut two) = (Heap::new(), Heap::new());
        let texts: Vec<Root<str>> = (0..8).map(|i| one.alloc_str(&"x".repeat(i))).collect();
        let other = two.alloc_str("of the other heap");
        let weak: Vec<Weak<str>> = texts.iter().map(|root| one.downgrade(root)).collect();
        let other_weak = two.downgrade(&other);
        let world = Rc::new(Cell::new((0, 0)));
        let mut table: WeakTable<Key, str> = WeakTable::new();
        for fuse in 0..200_u32 {
            let step = |table: &mut WeakTable<Key, str>| {
                let at = u64::from(fuse % 8);
                let weak = weak[at as usize];
                // Keys that are equal by name lie in two places.
                let entry = table.entry(at % 2, |key| key.0 == at, |key| key.0 % 2);
                match (entry, fuse % 7) {
                    (WeakTableEntry::Occupied(entry), 0) => std::mem::forget(entry.remove()),
                    (WeakTableEntry::Occupied(mut entry), 1) => *entry.key_mut() = Key::new(at + 2, &world),
                    (WeakTableEntry::Occupied(entry), 2) => entry.remove().1.insert(Key::new(at, &world), weak),
                    (_, 3) => {}
                    (entry, 4) if fuse % 3 == 0 => entry.insert(Key::new(at, &world), other_weak),
                    (entry, _) => entry.insert(Key::new(at, &world), weak),
                }
                match fuse % 11 {
                    0 => std::mem::forget(table.drain()),
                    1 => drop(table.drain().next()),
                    2 => assert_eq!(table.iter().count(), table.len()),
                    3 => table.retain(|key, _| key.0 % 3 > 0),
                    4 => drop(table.clone()),
                    5 => drop(std::mem::replace(table, table.clone())),
                    6 => table.clear(),
                    7 => table.shrink_to(0, |key| key.0 % 2),
                    _ => drop(table.pop_if(|key, _| key.0 == at)),
                }
            };
            world.set((world.get().0, fuse % 13));
            let refused = catch_unwind(AssertUnwindSafe(|| step(&mut table))).is_err();
            world.set((world.get().0, 0));
            let _ = refused;
            // All are of one heap, and each leads to what it was made of.
            let heap = if table.iter().any(|(_, weak)| weak == other_weak) { &two } else { &one };
            for (_, found) in &table {
                let root = heap.upgrade(found).expect("it is alive");
                assert!(found == other_weak || weak.contains(&found));
                let text = heap.get(&root);
                assert!(text.len() < 8 || text == "of the other heap");
            }
        }
        // What was forgotten is never dropped, and nothing else is dropped twice.
        drop(table);
        assert!(world.get().0 >= 0, "{:?}", world.get());
    }

    #[test]
    fn what_a_table_keeps_of_references_is_dead_when_their_heap_is_and_never_another_heaps() {
        let mut table: WeakTable<u64, u64> = WeakTable::new();
        let mut heap = Heap::new();
        let root = heap.alloc(1_u64);
        table.entry(1, |_| false, |_| 1).insert(1, heap.downgrade(&root));
        heap.shutdown(lacuna::ShutdownOptions::default()).unwrap();
        assert!(heap.is_dead(table.iter().next().unwrap().1));
        drop((heap, root));
        // The new one has an object in the same slot.
        let mut heap = Heap::new();
        let root = heap.alloc(2_u64);
        let weak = heap.downgrade(&root);
        let old = table.find(1, |_| true).unwrap().1;
        assert!(old != weak && heap.try_upgrade(old).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| table.entry(2, |_| false, |_| 1).insert(2, weak))).is_err());
        let copy = table.clone();
        assert_eq!(table.remove(1, |_| true), Some((1, old)));
        table.entry(2, |_| false, |_| 1).insert(2, weak);
        assert!(heap.upgrade(table.find(2, |_| true).unwrap().1).is_some());
        assert!(heap.try_upgrade(copy.find(1, |_| true).unwrap().1).is_err());
    }
}
