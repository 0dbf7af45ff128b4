//! Cleanups: what to do when an object is gone, without the object.
//!
//! `cargo run -p lacuna --example cleanups`

use std::cell::RefCell;
use std::rc::Rc;

use lacuna::{AutoDrain, Budget, Config, Gc, Heap, Opaque, RegisterFailure, ShutdownOptions};

/// What happened, for the assertions.
type Log = Opaque<Rc<RefCell<Vec<&'static str>>>>;

/// A heap whose callbacks run when `drain` is called, and at no other time.
fn heap() -> Heap {
    Heap::with_config(Config::default().auto_drain(AutoDrain::Off))
}

fn main() {
    other_threads();
    // A callback below panics on purpose; its message need not be seen.
    std::panic::set_hook(Box::new(|_| ()));
    order();
    payload();
    self_retention();
    handles();
    external_bytes();
    failures();
    budget();
    shutdown();
    println!("every cleanup ran once, or was cancelled");
}

fn order() {
    // ANCHOR: order
    let mut heap = heap();
    let log = Log::default();
    let object = heap.alloc(17);
    let other = heap.alloc(18);
    for (target, name) in [(&object, "first"), (&other, "second"), (&object, "third")] {
        heap.cleanup(target, (log.clone(), name), |_, (log, name)| log.borrow_mut().push(name)).unwrap();
    }
    drop((object, other));
    heap.collect(); // queues, runs nothing
    assert!(log.borrow().is_empty());
    assert_eq!(heap.stats().queued_cleanups, 3);

    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked, report.left), (3, 0, 0));
    assert_eq!(*log.borrow(), ["third", "second", "first"]); // newest registration first, across objects
    // ANCHOR_END: order
}

fn payload() {
    // ANCHOR: payload
    let mut heap = heap();
    let log = Log::default();
    let connection = heap.alloc(17_u32);
    let name = heap.alloc_str("socket 17");
    let weak_name = heap.downgrade(&name);

    // The payload holds a root, so what the callback needs is still there when it runs.
    heap.cleanup(&connection, (name, log.clone()), |heap, (name, log)| {
        assert_eq!(heap.get(&name), "socket 17");
        log.borrow_mut().push("closed");
        heap.alloc("a callback may allocate".to_owned());
        heap.collect(); // and collect
        assert!(heap.drain(Budget::unlimited()).is_err()); // but not drain: callbacks never nest
    })
    .unwrap();

    drop(connection);
    heap.collect();
    assert!(!heap.is_dead(weak_name)); // held by the queued cleanup
    heap.drain(Budget::unlimited()).unwrap();
    heap.collect();
    assert!(heap.is_dead(weak_name));
    assert_eq!(*log.borrow(), ["closed"]);
    // ANCHOR_END: payload
}

fn self_retention() {
    // ANCHOR: self_retention
    let mut heap = heap();
    let object = heap.alloc(17);

    // A payload with a root of the target would keep the target alive for ever. That is refused ...
    let error = heap.cleanup(&object, object.clone(), |_, _| ()).unwrap_err();
    assert_eq!(error.reason(), RegisterFailure::SelfRetention);
    drop(error); // it carries the payload back, and the payload is a root

    // ... a detour is accepted, and found by looking: payload -> holder -> object ...
    let holder = heap.alloc_with::<Option<Gc<'_, i32>>>(|cx| Some(object.get(cx)));
    let cleanup = heap.cleanup(&object, holder, |_, _| ()).unwrap();
    heap.set_label(cleanup, "detour");
    let found = heap.check_registrations();
    assert_eq!((found.len(), found[0].label), (1, Some("detour")));
    println!("a cleanup that never runs: {}", found[0].path);
    heap.cancel(cleanup);

    // ... and what a closure captures is never looked into. This object lives until the cleanup is cancelled.
    let captured = object.clone();
    let weak = heap.downgrade(&object);
    let cleanup = heap.cleanup_with(&object, (), move |_, ()| drop(captured)).unwrap();
    drop(object);
    heap.collect();
    assert!(!heap.is_dead(weak));
    heap.cancel(cleanup);
    heap.collect();
    assert!(heap.is_dead(weak));
    // ANCHOR_END: self_retention
}

fn handles() {
    // ANCHOR: handles
    let mut heap = heap();
    let log = Log::default();
    let file = heap.alloc(3);
    let close = |_: &mut Heap, log: Log| log.borrow_mut().push("closed");

    // An explicit close before death: the callback runs now, and never again.
    let cleanup = heap.cleanup(&file, log.clone(), close).unwrap();
    assert!(heap.is_pending(cleanup) && heap.peek(cleanup).is_some());
    assert!(heap.run_now(cleanup));
    assert!(!heap.run_now(cleanup) && !heap.is_pending(cleanup));
    assert_eq!(*log.borrow(), ["closed"]);

    // Cancelled: the callback never runs, and the payload comes back.
    let cleanup = heap.cleanup(&file, log.clone(), close).unwrap();
    assert!(heap.cancel(cleanup).is_some());
    assert!(heap.cancel(cleanup).is_none());
    drop(file);
    heap.collect();
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 0);
    // ANCHOR_END: handles
}

fn external_bytes() {
    // ANCHOR: external
    let mut heap = heap();
    let texture = heap.alloc(1_u32); // a name for 64 MiB that another library holds
    let cleanup = heap.cleanup(&texture, 1_u32, |_, _name| { /* the library frees it */ }).unwrap();
    heap.set_external(cleanup, 64 << 20); // so that the heap knows what a dead texture is worth
    assert_eq!(heap.stats().external_bytes, 64 << 20);

    drop(texture);
    heap.alloc(2_u32); // 64 MiB are over the goal, so this collects first
    assert_eq!(heap.stats().collections, 1);
    assert_eq!(heap.stats().external_bytes, 0);
    // ANCHOR_END: external
}

fn failures() {
    // ANCHOR: failures
    let mut heap = heap();
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    heap.on_error(move |failure| {
        sink.borrow_mut().push((failure.label, failure.message.clone().unwrap_or_default()));
    });

    let object = heap.alloc(17);
    let log = Log::default();
    heap.cleanup(&object, log.clone(), |_, log| log.borrow_mut().push("the other one")).unwrap();
    let bad = heap.cleanup(&object, (), |_, ()| panic!("disk full")).unwrap();
    heap.set_label(bad, "flush");
    drop(object);
    heap.collect();

    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked), (2, 1));
    assert_eq!(*reports.borrow(), [(Some("flush"), "disk full".to_owned())]);
    assert_eq!(*log.borrow(), ["the other one"]); // a panic stops no other callback
    // ANCHOR_END: failures
}

fn budget() {
    // ANCHOR: budget
    let mut heap = heap();
    for number in 0..100 {
        let object = heap.alloc(number);
        heap.cleanup(&object, (), |_, ()| ()).unwrap();
    }
    heap.collect();
    let report = heap.drain(Budget::unlimited().callbacks(30)).unwrap();
    assert_eq!((report.ran, report.left), (30, 70));
    heap.collect();
    let report = heap.drain(Budget::unlimited().callbacks(0)).unwrap();
    assert_eq!(report.oldest_age_in_cycles, 1); // those that wait were queued one collection ago
    // ANCHOR_END: budget
}

fn other_threads() {
    let mut heap = heap();
    // ANCHOR: send
    let upload = heap.alloc(17);
    heap.cleanup_send(&upload, String::from("upload-17.part"), |path| println!("removing {path}")).unwrap();
    drop(upload);
    heap.collect();
    let batch = heap.drain_send(100);
    let report = std::thread::spawn(|| batch.run()).join().unwrap();
    assert_eq!((report.ran, report.failures.len()), (1, 0));
    // ANCHOR_END: send
}

fn shutdown() {
    // ANCHOR: shutdown
    let mut heap = heap();
    let log = Log::default();
    let journal = heap.alloc("journal".to_owned());
    let flush = heap.cleanup(&journal, (log.clone(), "flush"), |_, (log, what)| log.borrow_mut().push(what)).unwrap();
    heap.cleanup(&journal, (log.clone(), "not at shutdown"), |_, (log, what)| log.borrow_mut().push(what)).unwrap();
    heap.set_at_shutdown(flush, true);

    let report = heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!(report.at_shutdown, 1);
    assert_eq!(*log.borrow(), ["flush"]); // though the journal was still rooted
    assert_eq!(
        heap.guard(&journal, 0).unwrap_err().reason(),
        RegisterFailure::Closed // nothing can be registered any more
    );
    // ANCHOR_END: shutdown
}
