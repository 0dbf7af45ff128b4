//! Listeners that are not kept alive by what they listen to.
//!
//! `cargo run -p lacuna-collections --example observers`

// ANCHOR: observers
use lacuna::{Gc, GcCell, GcRefCell, Heap, Mutator, Trace};
use lacuna_collections::{Listener, Listeners};

/// A thermometer in the heap, with whom to tell about a change.
#[derive(Trace)]
struct Thermometer {
    degrees: GcCell<i32>,
    changed: Listeners<Display<'static>, i32>,
}

#[derive(Trace)]
struct Display<'gc> {
    shows: GcRefCell<Vec<i32>>,
    /// A strong edge back: a cycle, if the list were strong.
    source: Gc<'gc, Thermometer>,
    listener: GcCell<Option<Listener>>,
}

/// A plain function: it cannot capture the display and so keep it alive.
fn show<'gc>(cx: &'gc Mutator<'gc>, display: Gc<'gc, Display<'gc>>, degrees: &i32) {
    display.borrow_mut(cx, |display| &display.shows).push(*degrees);
    if *degrees > 100
        && let Some(listener) = display.listener.get()
    {
        display.source.changed.remove(listener); // while it is called
    }
}

impl Thermometer {
    fn set<'gc>(this: Gc<'gc, Self>, cx: &'gc Mutator<'gc>, degrees: i32) -> usize {
        this.set(cx, |this| &this.degrees, degrees);
        this.changed.notify_in(cx, &degrees)
    }
}

fn main() {
    let mut heap = Heap::new();
    let (thermometer, kitchen, hall) = heap.enter(|cx| {
        let source = cx.alloc(Thermometer { degrees: GcCell::new(0), changed: Listeners::new() });
        let [kitchen, hall] = [(), ()].map(|()| {
            let shows = GcRefCell::default();
            let display = cx.alloc(Display { shows, source, listener: GcCell::new(None) });
            let listener = source.changed.add_in(cx, display, show);
            display.set(cx, |display| &display.listener, Some(listener));
            display.root(cx)
        });
        (source.root(cx), kitchen, hall)
    });
    let told = heap.enter(|cx| Thermometer::set(thermometer.get(cx), cx, 20));
    assert_eq!(told, 2);

    drop(hall); // nobody tells the thermometer
    heap.collect();
    let told = heap.enter(|cx| Thermometer::set(thermometer.get(cx), cx, 120));
    assert_eq!(told, 1);
    let told = heap.enter(|cx| Thermometer::set(thermometer.get(cx), cx, 20));
    assert_eq!(told, 0); // the kitchen's display has removed itself

    let shown = heap.with(&kitchen, |display| display.shows.borrow().to_vec());
    assert_eq!(shown, [20, 120]);
    println!("the kitchen showed {shown:?}; the hall was collected while it listened");
}
// ANCHOR_END: observers
