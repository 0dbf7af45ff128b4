//! Notifications: being told that a weak reference has died.

use std::cell::RefCell;
use std::rc::Rc;

use lacuna::{AutoDrain, Budget, Config, Gc, GcCell, Heap, Notification, Opaque, RegisterFailure, Root, Trace};

fn heap() -> Heap {
    Heap::with_config(Config::default().auto_drain(AutoDrain::Off))
}

fn cache() {
    let mut heap = heap();
    // ANCHOR: cache
    let page = heap.alloc(String::from("<html>"));
    let cached = heap.downgrade(&page);
    let gone: Opaque<Rc<RefCell<Vec<&str>>>> = Opaque::default();
    heap.notify(cached, (gone.clone(), Opaque("index.html")), |_, _, (gone, name)| {
        gone.borrow_mut().push(name.0); // the name, not the page: that is gone
    })
    .unwrap();

    drop(page);
    heap.collect();
    assert!(heap.is_dead(cached) && gone.borrow().is_empty());
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(*gone.borrow(), ["index.html"]);
    // ANCHOR_END: cache
}

// ANCHOR: owner
#[derive(Trace)]
struct View<'gc> {
    shown: GcCell<u32>,
    parent: Option<Gc<'gc, View<'gc>>>,
}

fn owner() {
    let mut heap = heap();
    let new_view = |heap: &mut Heap| -> Root<View<'static>> {
        heap.alloc_with::<View<'_>>(|_| View { shown: GcCell::new(1), parent: None })
    };
    let (open, closed) = (new_view(&mut heap), new_view(&mut heap));
    let model = heap.alloc(String::from("model"));
    let observed = heap.downgrade(&model);

    for view in [&open, &closed] {
        // The payload leads to the view by a weak reference: a root would keep it alive.
        let this = heap.downgrade(view);
        heap.notify_owned(observed, view, this, |heap, _, this| {
            heap.enter(|cx| {
                let view = cx.upgrade(this).unwrap();
                view.set(cx, |view| &view.shown, view.shown.get() - 1);
            });
        })
        .unwrap();
    }
    drop(closed); // before the model: nobody wants to be told any more
    heap.collect();
    assert_eq!(heap.stats().notifications_silenced, 1);

    drop(model);
    heap.collect();
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 1);
    assert_eq!(heap.with(&open, |view| (view.shown.get(), view.parent.is_none())), (0, true));
}
// ANCHOR_END: owner

fn handles() {
    let mut heap = heap();
    // ANCHOR: handles
    let object = heap.alloc(1);
    let weak = heap.downgrade(&object);
    let told = |_: &mut Heap, _: Notification<u32>, number: u32| println!("{number} is gone");
    let [first, second] = [1, 2].map(|number| heap.notify(weak, number, told).unwrap());
    assert_eq!(heap.peek(first), Some(&1));
    assert_eq!(heap.cancel(first), Some(1)); // also possible while it is queued
    assert!(heap.run_now(second) && !heap.is_pending(second)); // and never again

    drop(object);
    heap.collect();
    let refused = heap.notify(weak, 3, told).unwrap_err();
    assert_eq!((refused.reason(), refused.into_payload()), (RegisterFailure::Dead, 3));
    // ANCHOR_END: handles
}

fn resurrection() {
    let mut heap = heap();
    // ANCHOR: resurrection
    let buffer = heap.alloc(vec![0_u8; 64]);
    let weak = heap.downgrade(&buffer);
    heap.guard(&buffer, 0).unwrap();
    heap.notify(weak, (), |heap, _, ()| assert_eq!(heap.stats().queued_guardians, 1)).unwrap();
    heap.cleanup(&buffer, (), |_, ()| unreachable!("it is not dead")).unwrap();
    drop(buffer);
    heap.collect();
    // Short references died, so this is told; the object did not, so its cleanup waits.
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 1);
    // ANCHOR_END: resurrection
}

fn main() {
    cache();
    owner();
    handles();
    resurrection();
}
