//! Python's module `weakref`, name by name: what each is in lacuna. The page of the guide with that title shows the parts.
//!
//! `cargo run -p lacuna-collections --example python_weakref`

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use lacuna::{
    AutoDrain, Budget, Config, Gc, GcCell, Heap, Notification, Opaque, RegisterFailure, Root, ShutdownOptions, Trace,
    Weak,
};
use lacuna_collections::{InternSet, Listeners, Plain, WeakKeyMap, WeakSet, WeakValueMap};

/// What happened, for the assertions.
type Log = Opaque<Rc<RefCell<Vec<&'static str>>>>;

/// A heap whose callbacks run when `drain` is called, and at no other time.
fn quiet() -> Heap {
    Heap::with_config(Config::default().auto_drain(AutoDrain::Off))
}

fn main() {
    // Callbacks below panic on purpose; their messages need not be seen.
    std::panic::set_hook(Box::new(|_| ()));
    reference();
    equality();
    objects();
    callbacks();
    owners();
    proxies();
    counts();
    methods();
    methods_of_objects();
    value_map();
    replaced();
    key_map();
    keys_by_value();
    set();
    iterating();
    finalize();
    exit();
    leak();
    del();
    cycle_of_finalizers();
    once();
    cache();
    ids();
    parent_and_child();
    observers();
    println!("every name of Python's weakref has its place");
    let _ = std::panic::take_hook();
}

fn reference() {
    // ANCHOR: reference
    let mut heap = Heap::new();
    let obj = heap.alloc(String::from("referent")); // obj = MyClass()
    let r = heap.downgrade(&obj); //                   r = weakref.ref(obj)
    assert_eq!(r, heap.downgrade(&obj)); //            weakref.ref(obj) is r

    let strong = heap.upgrade(r).expect("a root keeps it alive"); // r()
    assert!(Root::ptr_eq(&strong, &obj) && heap.refers_to(r, &obj));

    drop((obj, strong)); // del obj
    assert!(!heap.is_dead(r)); // nobody counts references, so nothing has happened yet
    heap.collect();
    assert!(heap.upgrade(r).is_none()); // r() is None
    // ANCHOR_END: reference
}

fn equality() {
    // ANCHOR: equality
    let mut heap = Heap::new();
    let [one, other] = [7, 7].map(|number| heap.alloc(number));
    let (a, b) = (heap.downgrade(&one), heap.downgrade(&other));
    let same = heap.downgrade(&one);
    assert!(a == same && a != b); // one object; equal values, but two objects

    let seen = HashSet::from([a]); // the hash is there before and after death
    drop(one);
    heap.collect();
    assert!(a == same && a != b && seen.contains(&a) && !seen.contains(&b));

    // Python's rule, where an embedded Python needs it: by value while both live, by identity afterwards.
    fn python_eq<T: Plain + PartialEq>(heap: &Heap, a: Weak<T>, b: Weak<T>) -> bool {
        match (heap.upgrade(a), heap.upgrade(b)) {
            (Some(a), Some(b)) => heap.get(&a) == heap.get(&b),
            _ => a == b,
        }
    }
    let third = heap.alloc(7);
    let c = heap.downgrade(&third);
    assert!(python_eq(&heap, b, c) && !python_eq(&heap, a, b));
    // ANCHOR_END: equality
}

fn objects() {
    // ANCHOR: objects
    let mut heap = Heap::new();
    let number = heap.alloc(7_i32); // TypeError in Python, as are the next three
    let text = heap.alloc_str("text");
    let tuple = heap.alloc((1_u8, 'x'));
    let nothing = heap.alloc(());
    let weak = (heap.downgrade(&number), heap.downgrade(&text), heap.downgrade(&tuple), heap.downgrade(&nothing));
    assert_eq!(heap.stats().weak_slots, 4);

    drop((number, text, tuple, nothing));
    heap.collect();
    assert!(heap.is_dead(weak.0) && heap.is_dead(weak.1) && heap.is_dead(weak.2) && heap.is_dead(weak.3));
    // ANCHOR_END: objects
}

fn callbacks() {
    // ANCHOR: callbacks
    let mut heap = quiet();
    let (log, failed) = (Log::default(), Rc::new(Cell::new(0)));
    let count = failed.clone();
    heap.on_error(move |_| count.set(count.get() + 1)); // sys.unraisablehook

    let obj = heap.alloc(17);
    let r = heap.downgrade(&obj);
    // Three references with a callback: weakref.ref(obj, callback). What the callback gets is its id and its payload.
    for name in ["first", "second", "third"] {
        heap.notify(r, (r, log.clone(), name), |heap, _, (r, log, name)| {
            assert!(heap.upgrade(r).is_none()); // all references were dead before any callback ran
            assert_ne!(name, "second", "a callback that fails");
            log.borrow_mut().push(name);
        })
        .unwrap();
    }
    drop(obj);
    heap.collect(); // the callbacks are queued, and none has run
    assert!(log.borrow().is_empty());

    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked, failed.get()), (3, 1, 1));
    assert_eq!(*log.borrow(), ["third", "first"]); // newest first, and a failure stops no other
    // ANCHOR_END: callbacks
}

// ANCHOR: owners
/// Has a reference with a callback, as an attribute in Python. When it dies, the callback dies with it.
#[derive(Trace)]
struct Watcher {
    watched: Weak<String>,
    told: GcCell<bool>,
}

fn owners() {
    let mut heap = quiet();
    let target = heap.alloc(String::from("target"));
    let watched = heap.downgrade(&target);
    let [kept, dropped] = [(), ()].map(|()| heap.alloc(Watcher { watched, told: GcCell::new(false) }));
    for watcher in [&kept, &dropped] {
        let this = heap.downgrade(watcher); // weak: the callback must not keep its owner alive
        heap.notify_owned(watched, watcher, this, |heap, _, this| {
            heap.enter(|cx| cx.upgrade(this).unwrap().set(cx, |watcher| &watcher.told, true));
        })
        .unwrap();
    }
    // Owner and target become garbage together: the callback of the one that is left runs, the other does not.
    drop((dropped, target));
    heap.collect();
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 1);
    assert!(heap.get(&kept).told.get() && heap.is_dead(heap.get(&kept).watched));
    assert_eq!(heap.stats().notifications_silenced, 1);
}
// ANCHOR_END: owners

// ANCHOR: proxies
#[derive(Debug, PartialEq)]
struct ReferenceError;

/// What a proxy does for each operation: it holds the referent for as long as that takes.
fn through<T: ?Sized + Plain, R>(
    heap: &Heap,
    proxy: Weak<T>,
    operation: impl FnOnce(&T) -> R,
) -> Result<R, ReferenceError> {
    let referent = heap.upgrade(proxy).ok_or(ReferenceError)?;
    Ok(operation(heap.get(&referent)))
}

fn proxies() {
    let mut heap = Heap::new();
    let list = heap.alloc(vec![1, 2, 3]);
    let proxy = heap.downgrade(&list);
    assert_eq!(through(&heap, proxy, |list| list.iter().sum()), Ok(6)); // sum(proxy)
    // In a scope a pointer is enough, since nothing dies there.
    assert_eq!(heap.enter(|cx| cx.upgrade(proxy).map(|list| list.len())), Some(3));

    drop(list);
    heap.collect();
    assert_eq!(through(&heap, proxy, Vec::len), Err(ReferenceError));
}
// ANCHOR_END: proxies

fn counts() {
    // ANCHOR: counts
    let mut heap = quiet();
    let obj = heap.alloc(17);
    let references = [(); 10].map(|()| heap.downgrade(&obj));
    let told = heap.notify(references[0], (), |_, _, ()| ()).unwrap();
    // One slot for the object, whatever the number of references, which are plain values that nobody counts.
    assert_eq!((heap.stats().weak_slots, heap.stats().armed), (1, 1));
    assert!(heap.is_pending(told));
    // ANCHOR_END: counts
}

// ANCHOR: methods
/// WeakMethod where methods are functions of the program: only the receiver can die.
struct WeakMethod<T: Plain> {
    receiver: Weak<T>,
    method: fn(&T, u32) -> u32,
}

impl<T: Plain> WeakMethod<T> {
    fn call(&self, heap: &Heap, argument: u32) -> Option<u32> {
        let receiver = heap.upgrade(self.receiver)?;
        Some((self.method)(heap.get(&receiver), argument))
    }
}

fn methods() {
    let mut heap = Heap::new();
    let base = heap.alloc(40_u32);
    let add = WeakMethod { receiver: heap.downgrade(&base), method: |base, more| base + more };
    assert_eq!(add.call(&heap, 2), Some(42));
    drop(base);
    heap.collect();
    assert_eq!(add.call(&heap, 2), None);
}
// ANCHOR_END: methods

fn methods_of_objects() {
    // ANCHOR: methods_of_objects
    // Where functions are objects, as in an interpreter, either may die first. The callback is for whichever does.
    let mut heap = quiet();
    let (receiver, function) = (heap.alloc(String::from("self")), heap.alloc(String::from("code")));
    let method = (heap.downgrade(&receiver), heap.downgrade(&function));
    let told = Opaque(Rc::new(Cell::new(0)));
    let gone = |_: &mut Heap, _: Notification<_>, told: Opaque<Rc<Cell<u32>>>| told.set(told.get() + 1);
    let first = heap.notify(method.0, told.clone(), gone).unwrap();
    let second = heap.notify(method.1, told.clone(), gone).unwrap();

    drop(function);
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(told.get(), 1);
    assert!(heap.upgrade(method.0).and(heap.upgrade(method.1)).is_none()); // dead when either is
    // Told once: what is still pending is cancelled.
    assert!(!heap.is_pending(second) && heap.cancel(first).is_some());
    // ANCHOR_END: methods_of_objects
    drop(receiver);
}

fn value_map() {
    // ANCHOR: value_map
    let mut heap = Heap::new();
    let [red, green] = ["red", "green"].map(|name| heap.alloc(String::from(name)));
    let mut map = WeakValueMap::new(); //                           d = WeakValueDictionary()
    map.insert(&mut heap, 1, &red); //                              d[1] = red
    map.insert(&mut heap, 2, &green);
    assert!(map.contains_key(&heap, &1)); //                        1 in d
    assert!(map.get(&heap, &3).is_none()); //                       d.get(3)
    let found = map.entry(&heap, 1).or_insert(&mut heap, &green); // d.setdefault(1, green)
    assert!(Root::ptr_eq(&found, &red));
    assert_eq!(map.iter(&heap).count(), 2); //                      d.items(); d.keys() and d.values() as well
    assert_eq!(map.iter_weak().count(), 2); //                      d.valuerefs(), may be dead

    let copy = map.clone(); //                                      d.copy()
    let mut union = WeakValueMap::<i32, String>::new(); //          d | other
    union.extend(copy.iter_weak().map(|(&key, value)| (key + 10, value)));
    union.extend(map.iter_weak().map(|(&key, value)| (key, value))); // d.update(other)
    assert_eq!(union.live_count(&heap), 4);

    drop((red, found)); // del red, found
    heap.collect();
    assert!(!map.contains_key(&heap, &1) && map.remove(&heap, &1).is_none()); // d.pop(1, None)
    assert_eq!((copy.live_count(&heap), union.live_count(&heap)), (1, 2)); //    len(copy), len(union)
    assert!(Root::ptr_eq(&map.pop(&heap).unwrap().1, &green)); //                 d.popitem()
    assert!(map.pop(&heap).is_none()); //                                         KeyError in Python
    // ANCHOR_END: value_map
}

fn replaced() {
    // ANCHOR: replaced
    let mut heap = Heap::new();
    let (old, new) = (heap.alloc(1), heap.alloc(2));
    let mut map = WeakValueMap::new();
    map.insert(&mut heap, "key", &old);
    map.insert(&mut heap, "key", &new);
    drop(old);
    heap.collect(); // the death of the old value does not concern the entry
    assert_eq!(heap.get(&map.get(&heap, "key").unwrap()), &2);
    // ANCHOR_END: replaced
}

// ANCHOR: key_map
#[derive(Trace)]
struct Widget {
    name: &'static str,
}

#[derive(Trace)]
struct Style<'gc> {
    of: Gc<'gc, Widget>, // leads back to its key: a leak in Python
}

fn key_map() {
    let mut heap = Heap::new();
    let styles = WeakKeyMap::<Widget, Style<'static>>::new(&mut heap); // d = WeakKeyDictionary()
    let button = heap.alloc(Widget { name: "button" });
    let style = heap.alloc_with::<Style<'_>>(|cx| Style { of: button.get(cx) });
    styles.insert(&mut heap, &button, &style); //                         d[button] = style
    drop(style);
    heap.collect();
    let style = styles.get(&heap, &button).expect("the key keeps it"); // d[button]
    assert_eq!(heap.with(&style, |style| style.of.name), "button");
    assert_eq!(styles.keys(&heap).len(), 1); //                           list(d.keys())

    drop((style, button));
    heap.collect();
    assert_eq!(styles.live_count(&heap), 0); //                           len(d)
}
// ANCHOR_END: key_map

fn keys_by_value() {
    // ANCHOR: keys_by_value
    // Keys that are found by their value: one object for each value first, then identity.
    let mut heap = Heap::new();
    let mut names: InternSet<str> = InternSet::new();
    let ages = WeakKeyMap::<str, u32>::new(&mut heap);
    let key = names.intern_str(&mut heap, "Ada");
    let age = heap.alloc(36);
    ages.insert(&mut heap, &key, &age);

    let equal = names.intern_str(&mut heap, "Ada");
    assert_eq!(ages.get(&heap, &equal).map(|age| *heap.get(&age)), Some(36));
    drop((key, equal));
    heap.collect();
    assert_eq!((ages.live_count(&heap), names.live_count(&heap)), (0, 0));
    // ANCHOR_END: keys_by_value
}

fn set() {
    // ANCHOR: set
    let mut heap = Heap::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| heap.alloc(String::from(name)));
    let mut set = WeakSet::new(); //                                s = WeakSet()
    let mut other = WeakSet::new();
    for object in [&a, &b] {
        assert!(set.insert(&mut heap, object)); //                  s.add(object)
    }
    for object in [&b, &c] {
        other.insert(&mut heap, object);
    }
    assert!(set.contains(&heap, &a) && !set.contains(&heap, &c)); // a in s
    assert_eq!(set.union(&heap, &other).count(), 3); //             s | other
    assert_eq!(set.intersection(&heap, &other).count(), 1); //      s & other; s - other and s ^ other as well
    let copy = set.clone();
    assert!(copy.is_equal(&heap, &set) && copy.is_subset(&heap, &set)); // s.copy() == s, <=

    drop(b);
    heap.collect();
    assert!(set.is_disjoint(&heap, &other)); //                     what they shared is gone
    assert!(set.remove(&heap, &a) && !set.remove(&heap, &a)); //    s.discard(a); s.remove(a) is a KeyError
    assert!(set.pop(&heap).is_none()); //                           s.pop() is a KeyError
    // ANCHOR_END: set
}

fn iterating() {
    // ANCHOR: iterating
    let mut heap = Heap::new();
    let mut objects: Vec<Root<u32>> = (0..10).map(|number| heap.alloc(number)).collect();
    let mut map = WeakValueMap::new();
    for object in &objects {
        let key = *heap.get(object);
        map.insert(&mut heap, key, object);
    }
    // Everything dies in the middle of the walk. It goes on, and gives out what is alive: what it gave out last.
    let (mut cursor, mut seen) = (map.cursor(), 0);
    while let Some((_, _current)) = cursor.next(&heap) {
        objects.clear();
        heap.collect();
        seen += 1;
        assert_eq!(map.live_count(&heap), 1);
    }
    assert_eq!(seen, 1);
    heap.collect();
    assert_eq!((map.len_upper_bound(), map.live_count(&heap)), (10, 0)); // len(d), cheap and exact
    map.prune(&heap);
    assert_eq!(map.len_upper_bound(), 0);
    // ANCHOR_END: iterating
}

fn finalize() {
    // ANCHOR: finalize
    let mut heap = quiet();
    let log = Log::default();
    let obj = heap.alloc(17);
    let push = |_: &mut Heap, (log, name): (Log, &'static str)| log.borrow_mut().push(name);
    let [f0, f1, f2, f3] = ["0", "1", "2", "3"] // f = weakref.finalize(obj, push, log, name)
        .map(|name| heap.cleanup(&obj, (log.clone(), name), push).unwrap());

    assert!(heap.is_pending(f0)); //                       f.alive
    assert_eq!(heap.peek(f0).map(|(_, name)| *name), Some("0")); // f.peek()
    assert!(heap.run_now(f0) && !heap.run_now(f0)); //     f(), and f() is None the second time
    assert!(heap.cancel(f1).is_some()); //                 f.detach()
    assert!(heap.cancel(f1).is_none() && !heap.is_pending(f1));

    drop(obj);
    heap.collect();
    assert!(heap.is_pending(f2) && heap.peek(f3).is_some()); // queued, and may still be cancelled
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(*log.borrow(), ["0", "3", "2"]); // the rest, newest first
    assert!(!heap.is_pending(f2));
    // ANCHOR_END: finalize
}

fn exit() {
    // ANCHOR: exit
    let mut heap = quiet();
    let log = Log::default();
    let obj = heap.alloc(17); // alive to the end
    let at_exit = |heap: &mut Heap, name: &'static str, function: fn(&mut Heap, (Log, Root<i32>))| {
        let other = heap.alloc(18);
        let f = heap.cleanup(&obj, (log.clone(), other), function).unwrap();
        heap.set_label(f, name);
        heap.set_at_shutdown(f, true); // f.atexit = True: here the default is False
        f
    };
    at_exit(&mut heap, "f1", |_, (log, _)| log.borrow_mut().push("f1"));
    let f2 = at_exit(&mut heap, "f2", |_, (log, _)| log.borrow_mut().push("f2"));
    heap.set_at_shutdown(f2, false);
    at_exit(&mut heap, "f3", |heap, (log, other)| {
        // Registered during exit: the newest, so the next to run.
        let g1 = heap.cleanup(&other, log.clone(), |_, log| log.borrow_mut().push("g1")).unwrap();
        heap.set_at_shutdown(g1, true);
        log.borrow_mut().push("f3 fails");
        panic!("as it should");
    });
    at_exit(&mut heap, "f4", |_, (log, _)| log.borrow_mut().push("f4"));

    let report = heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!(*log.borrow(), ["f4", "f3 fails", "g1", "f1"]);
    assert_eq!((report.at_shutdown, report.truncated), (4, false));
    let late = heap.cleanup(&obj, (), |_, ()| ()).unwrap_err();
    assert_eq!(late.reason(), RegisterFailure::Closed); // nothing can be registered any more
    // ANCHOR_END: exit
}

fn leak() {
    // ANCHOR: leak
    let mut heap = quiet();
    let obj = heap.alloc(17);
    // finalize(obj, function, obj): never runs in Python. Here the plain case is an error ...
    let refused = heap.cleanup(&obj, obj.clone(), |_, _| ()).unwrap_err();
    assert_eq!(refused.reason(), RegisterFailure::SelfRetention);
    drop(refused); // ... that gives the payload back, and that is a root.

    // A detour through another object, as by a bound method, is accepted, and found when one looks for it.
    let holder = heap.alloc_with::<Option<Gc<'_, i32>>>(|cx| Some(obj.get(cx)));
    let f = heap.cleanup(&obj, holder, |_, _| ()).unwrap();
    heap.set_label(f, "detour");
    assert_eq!(heap.check_registrations()[0].label, Some("detour"));
    // ANCHOR_END: leak
}

fn del() {
    // ANCHOR: del
    const DEL: u64 = 1;
    let mut heap = quiet();
    let log = Log::default();
    let obj = heap.alloc(String::from("flush me"));
    let r = heap.downgrade(&obj);
    heap.guard(&obj, DEL).unwrap(); // its class has a __del__
    heap.notify(r, log.clone(), |_, _, log| log.borrow_mut().push("callback")).unwrap();
    heap.cleanup(&obj, log.clone(), |_, log| log.borrow_mut().push("finalize")).unwrap();
    drop(obj);
    heap.collect();

    let guarded = heap.next_guarded().unwrap();
    let obj = guarded.object.downcast::<String>().unwrap();
    log.borrow_mut().push("__del__"); // with the object itself, intact
    assert_eq!((guarded.tag, heap.get(&obj).as_str()), (DEL, "flush me"));
    assert!(heap.upgrade(r).is_none()); // dead inside __del__, and for ever
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(*log.borrow(), ["__del__", "callback"]); // finalize waits for the real end

    let resurrected = obj; // somebody keeps it
    let new = heap.downgrade(&resurrected);
    assert!(new != r && !heap.is_dead(new)); // new references can be made
    drop(resurrected);
    heap.collect(); // dies for the second time, and no __del__ runs again
    assert!(heap.next_guarded().is_none() && heap.is_dead(new));
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(*log.borrow(), ["__del__", "callback", "finalize"]);
    // ANCHOR_END: del
}

// ANCHOR: cycle_of_finalizers
#[derive(Trace)]
struct Ring<'gc> {
    number: u32,
    next: GcCell<Option<Gc<'gc, Ring<'gc>>>>,
}

fn cycle_of_finalizers() {
    let mut heap = Heap::new();
    let ring: Vec<Root<Ring<'static>>> = heap.enter(|cx| {
        let ring: Vec<_> = (0..3).map(|number| cx.alloc(Ring { number, next: GcCell::new(None) })).collect();
        for (index, member) in ring.iter().enumerate() {
            member.set(cx, |member| &member.next, Some(ring[(index + 1) % 3]));
        }
        ring.into_iter().map(|member| member.root(cx)).collect()
    });
    for member in &ring {
        heap.guard(member, 0).unwrap();
    }
    drop(ring);
    heap.collect();
    // All finalizers of a cycle run, and each sees intact neighbours: PEP 442.
    let mut finalized = 0;
    while let Some(guarded) = heap.next_guarded() {
        let member = guarded.object.downcast::<Ring<'_>>().unwrap();
        heap.with(&member, |member| assert_eq!(member.next.get().unwrap().number, (member.number + 1) % 3));
        finalized += 1;
    }
    assert_eq!(finalized, 3);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}
// ANCHOR_END: cycle_of_finalizers

fn once() {
    // ANCHOR: once
    let mut heap = Heap::new();
    let obj = heap.alloc(17);
    heap.guard(&obj, 0).unwrap();
    drop(obj);
    for _ in 0..3 {
        heap.collect();
        let obj = heap.next_guarded().expect("guarded again").object.downcast::<i32>().unwrap();
        heap.guard(&obj, 0).unwrap(); // a finalizer that runs each time the object dies: Python's cannot
    }
    // ANCHOR_END: once
}

// ANCHOR: cache
#[derive(Trace)]
struct Image {
    name: &'static str,
}

fn cache() {
    let mut heap = Heap::new();
    // The same cache twice: with roots, as a dict has them, and with weak references.
    let (mut strong, mut weak) = (HashMap::new(), WeakValueMap::new());
    for name in ["one", "two", "three"] {
        let image = heap.alloc(Image { name });
        weak.insert(&mut heap, name, &image);
        strong.insert(name, image);
    }
    heap.collect();
    assert_eq!(weak.live_count(&heap), 3); // kept by the other cache

    let shown = strong.remove("two").unwrap();
    strong.clear();
    heap.collect();
    assert_eq!(weak.keys(&heap).collect::<Vec<_>>(), [&"two"]); // somebody shows it
    assert_eq!(heap.get(&shown).name, "two");
}
// ANCHOR_END: cache

fn ids() {
    // ANCHOR: ids
    let mut heap = Heap::new();
    let mut objects = WeakValueMap::new(); // the documentation's id2obj
    let obj = heap.alloc(String::from("window"));
    objects.insert(&mut heap, 1_u64, &obj);
    let id = heap.downgrade(&obj); // a reference is an id already: 12 bytes, never used again for another object
    drop(obj);
    heap.collect();
    let reused = heap.alloc(String::from("may be at the same address"));
    assert!(objects.get(&heap, &1).is_none());
    assert!(heap.upgrade(id).is_none() && heap.downgrade(&reused) != id);
    // ANCHOR_END: ids
}

// ANCHOR: parent_and_child
#[derive(Trace)]
struct Node<'gc> {
    name: &'static str,
    owner: GcCell<Weak<Node<'static>>>,          // does not keep its owner alive
    sibling: GcCell<Option<Gc<'gc, Node<'gc>>>>, // strong both ways: a cycle
    children: GcCell<Option<Gc<'gc, [Gc<'gc, Node<'gc>>]>>>,
}

fn parent_and_child() {
    let mut heap = Heap::new();
    let (parent, child) = heap.enter(|cx| {
        let node = |name| {
            let (owner, sibling, children) = Default::default();
            cx.alloc(Node { name, owner, sibling, children })
        };
        let (parent, one, other) = (node("parent"), node("one"), node("other"));
        parent.set(cx, |node| &node.children, Some(cx.alloc_slice([one, other])));
        for (child, sibling) in [(one, other), (other, one)] {
            child.set(cx, |child| &child.owner, parent.downgrade(cx));
            child.set(cx, |child| &child.sibling, Some(sibling));
        }
        (parent.root(cx), one.root(cx))
    });
    heap.collect();
    heap.enter(|cx| {
        let parent = cx.upgrade(child.get(cx).owner.get()).unwrap();
        assert_eq!((parent.name, parent.children.get().unwrap().len()), ("parent", 2));
    });
    drop(parent);
    heap.collect(); // the child is held, its parent is not
    heap.enter(|cx| assert!(cx.upgrade(child.get(cx).owner.get()).is_none()));
    assert_eq!(heap.stats().live_objects, 2); // both children: they hold each other
    drop(child);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0); // and a cycle is no leak, without any weak reference
}
// ANCHOR_END: parent_and_child

fn observers() {
    // ANCHOR: observers
    #[derive(Trace)]
    struct Display {
        shows: GcCell<i32>,
    }
    let mut heap = Heap::new();
    let changed: Listeners<Display, i32> = Listeners::new();
    let [kitchen, hall] = [(), ()].map(|()| heap.alloc(Display { shows: GcCell::new(0) }));
    for display in [&kitchen, &hall] {
        changed.add(&mut heap, display, |cx, display, degrees| display.set(cx, |display| &display.shows, *degrees));
    }
    assert_eq!(changed.notify(&mut heap, &20), 2);
    drop(hall); // without telling anybody
    heap.collect();
    assert_eq!(changed.notify(&mut heap, &21), 1);
    assert_eq!(heap.get(&kitchen).shows.get(), 21);
    // ANCHOR_END: observers
}
