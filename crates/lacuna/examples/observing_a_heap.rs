//! Looking into a heap: statistics, why an object is alive, a snapshot for Chrome DevTools, a second opinion.
//!
//! `cargo run -p lacuna --example observing_a_heap`

use std::io;

use lacuna::{Cause, Config, Gc, GcCell, Heap, Trace};

// ANCHOR: types
#[derive(Trace)]
struct Session<'gc> {
    user: Gc<'gc, User<'gc>>,
}

#[derive(Trace)]
struct User<'gc> {
    name: Gc<'gc, str>,
    avatar: GcCell<Option<Gc<'gc, [u8]>>>,
}
// ANCHOR_END: types

fn main() -> io::Result<()> {
    statistics();
    retaining_path();
    snapshot()?;
    second_opinion();
    zeal();
    Ok(())
}

fn session(heap: &mut Heap) -> lacuna::Root<Session<'static>> {
    heap.enter(|cx| {
        let name = cx.alloc_str("ada");
        let avatar = cx.alloc_slice([0_u8; 1000]);
        let user = cx.alloc(User { name, avatar: GcCell::new(Some(avatar)) });
        cx.alloc(Session { user }).root(cx)
    })
}

fn statistics() {
    // ANCHOR: stats
    let mut heap = Heap::with_config(Config::default().measure_times(true));
    let session = session(&mut heap);
    let garbage = heap.alloc_str("garbage");
    let weak = heap.downgrade(&garbage);
    drop(garbage);
    heap.collect();

    let stats = heap.stats();
    assert_eq!(stats.live_objects, 4);
    assert_eq!((stats.roots, stats.weak_slots), (1, 0));
    assert_eq!(stats.last.cause, Cause::Explicit);
    assert_eq!(stats.last.long_cleared, 1); // one observed object died
    println!(
        "{} objects in {} bytes of cells; marked in {:?}, weak pass {:?}, swept in {:?}",
        stats.live_objects, stats.live_bytes, stats.last.mark_time, stats.last.weak_time, stats.last.sweep_time
    );
    // ANCHOR_END: stats
    assert!(heap.is_dead(weak) && stats.last.mark_time.is_some());
    drop(session);
}

fn retaining_path() {
    // ANCHOR: retaining
    let mut heap = Heap::new();
    let session = session(&mut heap);
    let avatar = heap.enter(|cx| session.get(cx).user.avatar.get().unwrap().downgrade(cx));

    let path = heap.retaining_path(avatar).expect("it is alive");
    println!("{path}"); // root -> Session -> User -> [u8]
    assert_eq!(path.types().len(), 3);

    heap.enter(|cx| session.get(cx).user.set(cx, |user| &user.avatar, None));
    assert!(heap.retaining_path(avatar).is_none()); // unreachable, though not collected yet
    // ANCHOR_END: retaining
}

fn snapshot() -> io::Result<()> {
    // ANCHOR: snapshot
    let mut heap = Heap::new();
    let session = session(&mut heap);
    let mut file = Vec::new(); // or a BufWriter of a File whose name ends in .heapsnapshot
    heap.snapshot(&mut file)?;
    assert!(file.starts_with(br#"{"snapshot""#));
    drop(session);
    // ANCHOR_END: snapshot
    Ok(())
}

fn second_opinion() {
    // ANCHOR: verify
    let mut heap = Heap::new();
    let session = session(&mut heap);
    let report = heap.verify().expect("lacuna is right about its heap");
    assert_eq!((report.objects, report.edges), (4, 3));
    drop(session);
    // ANCHOR_END: verify
}

fn zeal() {
    // ANCHOR: zeal
    // In the tests of a program: every scope ends with a collection, freed cells are filled with a pattern, and the
    // heap is verified after each step.
    let mut heap = Heap::with_config(Config::default().zeal(true));
    let session = session(&mut heap);
    assert_eq!(heap.stats().last.cause, Cause::Zeal);
    heap.enter(|cx| assert_eq!(&*session.get(cx).user.name, "ada"));
    assert_eq!(heap.stats().collections, 2);
    // ANCHOR_END: zeal
}
