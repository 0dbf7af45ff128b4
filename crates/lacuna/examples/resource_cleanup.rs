//! A resource that somebody else holds for an object: closed explicitly, or by a cleanup if that was forgotten.
//!
//! `cargo run -p lacuna --example resource_cleanup`

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use lacuna::{Budget, Cleanup, GcCell, Heap, Opaque, Root, ShutdownOptions, Trace};

fn main() {
    closed_or_forgotten();
    pressure();
    exit();
    println!("every connection was released, once");
}

// ANCHOR: resource
/// What is outside of the heap: descriptors, each with a buffer of a megabyte.
#[derive(Default)]
struct Network {
    open: BTreeSet<u32>,
    opened: u32,
    peak: usize,
    forgotten: Vec<u32>,
}

const BUFFER: usize = 1 << 20;

/// What the cleanup needs: where to release, and which. Not the connection.
type Release = (Opaque<Rc<RefCell<Network>>>, u32);

#[derive(Trace)]
struct Connection {
    descriptor: u32,
    release: GcCell<Option<Opaque<Cleanup<Release>>>>,
}

fn connect(heap: &mut Heap, network: &Opaque<Rc<RefCell<Network>>>) -> Root<Connection> {
    let descriptor = {
        let mut network = network.borrow_mut();
        network.opened += 1;
        let descriptor = network.opened;
        network.open.insert(descriptor);
        network.peak = network.peak.max(network.open.len());
        descriptor
    };
    let connection = heap.alloc(Connection { descriptor, release: GcCell::new(None) });
    let forgotten = |_: &mut Heap, (network, descriptor): Release| {
        let mut network = network.borrow_mut();
        network.open.remove(&descriptor);
        network.forgotten.push(descriptor);
    };
    let release = heap.cleanup(&connection, (network.clone(), descriptor), forgotten).expect("the heap is open");
    heap.set_external(release, BUFFER); // so that a dead connection is worth a collection
    heap.enter(|cx| connection.get(cx).set(cx, |connection| &connection.release, Some(Opaque(release))));
    connection
}

/// Releases now, and at most once. The object may live on, closed.
fn close(heap: &mut Heap, connection: &Root<Connection>) -> bool {
    let Some(Opaque(release)) = heap.get(connection).release.get() else { return false };
    let Some((network, descriptor)) = heap.cancel(release) else { return false };
    network.borrow_mut().open.remove(&descriptor)
}

fn closed_or_forgotten() {
    let (mut heap, network) = (Heap::new(), Opaque::default());
    let [closed, forgotten, used] = [(); 3].map(|()| connect(&mut heap, &network));
    assert!(close(&mut heap, &closed) && !close(&mut heap, &closed));
    assert_eq!(heap.stats().external_bytes, 2 * BUFFER);

    drop(forgotten);
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(network.borrow().forgotten, [2]); // and not 1, which was closed
    assert_eq!(network.borrow().open, BTreeSet::from([heap.get(&used).descriptor]));
}
// ANCHOR_END: resource

fn pressure() {
    // ANCHOR: pressure
    // A thousand connections of a few bytes each, nobody closes any, and nobody calls the collector.
    let (mut heap, network) = (Heap::new(), Opaque::default());
    for _ in 0..1000 {
        connect(&mut heap, &network);
    }
    assert!(heap.stats().collections > 0);
    assert!(network.borrow().peak < 100, "the buffers count, so collections came in time");
    // ANCHOR_END: pressure
    println!("{} connections open at most, of 1000", network.borrow().peak);
}

fn exit() {
    // ANCHOR: exit
    // What has to happen even if the program ends first.
    let (mut heap, network) = (Heap::new(), Opaque::default());
    let last = connect(&mut heap, &network);
    let release = heap.get(&last).release.get().unwrap().0;
    heap.set_at_shutdown(release, true);
    let report = heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!((report.at_shutdown, network.borrow().open.len()), (1, 0));
    // ANCHOR_END: exit
}
