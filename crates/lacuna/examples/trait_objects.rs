//! Trait objects: edges to objects of different types behind one trait.
//!
//! `cargo run -p lacuna --example trait_objects`

use lacuna::{Gc, GcRefCell, Heap, Mutator, Trace};

// ANCHOR: declare
/// The lifetime parameter is the brand. A trait without edges in its methods needs none.
trait Shape<'gc> {
    fn area(&self) -> f64;
    fn name(&self) -> Gc<'gc, str>;
}
lacuna::trace_dyn!(Shape<'gc>);

#[derive(Trace)]
struct Square<'gc> {
    side: f64,
    name: Gc<'gc, str>,
}

#[derive(Trace)]
struct Circle<'gc> {
    radius: f64,
    name: Gc<'gc, str>,
}
// ANCHOR_END: declare

impl<'gc> Shape<'gc> for Square<'gc> {
    fn area(&self) -> f64 {
        self.side * self.side
    }
    fn name(&self) -> Gc<'gc, str> {
        self.name
    }
}

impl<'gc> Shape<'gc> for Circle<'gc> {
    fn area(&self) -> f64 {
        3.0 * self.radius * self.radius // for round numbers
    }
    fn name(&self) -> Gc<'gc, str> {
        self.name
    }
}

// ANCHOR: scene
#[derive(Trace)]
struct Scene<'gc> {
    shapes: GcRefCell<Vec<Gc<'gc, dyn Shape<'gc>>>>,
}

fn draw<'gc>(cx: &Mutator<'gc>, scene: Gc<'gc, Scene<'gc>>) {
    let square = cx.alloc(Square { side: 2.0, name: cx.alloc_str("square") });
    let circle = cx.alloc(Circle { radius: 1.0, name: cx.alloc_str("circle") });
    let mut shapes = scene.borrow_mut(cx, |scene| &scene.shapes);
    shapes.push(square.cast(|square| square as _));
    shapes.push(circle.cast(|circle| circle as _));
}
// ANCHOR_END: scene

fn main() {
    // ANCHOR: use
    let mut heap = Heap::new();
    let scene = heap.alloc_with::<Scene<'_>>(|_| Scene { shapes: GcRefCell::default() });
    heap.enter(|cx| draw(cx, scene.get(cx)));
    heap.collect();
    heap.with(&scene, |scene| {
        let shapes = scene.shapes.borrow();
        assert_eq!(shapes.iter().map(|shape| shape.area()).sum::<f64>(), 7.0);
        assert_eq!(&*shapes[1].name(), "circle");
    });

    // Roots and weak references of trait objects work as well.
    let circle = heap.enter(|cx| scene.get(cx).shapes.borrow()[1].root(cx));
    let weak = heap.downgrade(&circle);
    drop((scene, circle));
    heap.collect();
    assert!(heap.is_dead(weak));
    // ANCHOR_END: use

    // Three words, since the object's address and the trait object's are kept apart; one for a sized type.
    assert_eq!(size_of::<Gc<'_, dyn Shape<'_>>>(), 24);
    assert_eq!(size_of::<Gc<'_, Square<'_>>>(), 8);
    println!("two shapes, one trait");
}
