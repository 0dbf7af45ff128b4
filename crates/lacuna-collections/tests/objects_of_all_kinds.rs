//! Every kind of object can be in every collection: trait objects, slices, strings, objects without size; and a heap that
//! was shut down reads as if everything had died.

mod heaps;

use heaps::on_each;
use lacuna::{Gc, GcCell, Heap, Mutator, Root, ShutdownOptions, Trace};
use lacuna_collections::{InternSet, Listeners, SoftCache, WeakKeyMap, WeakSet, WeakValueMap};

trait Shape<'gc> {
    fn area(&self) -> u32;
    fn grow(&self, cx: &Mutator<'gc>, me: Gc<'gc, dyn Shape<'gc>>);
    fn twin(&self) -> Option<Gc<'gc, dyn Shape<'gc>>>;
}
lacuna::trace_dyn!(Shape<'gc>);

type AnyShape = dyn Shape<'static>;

#[derive(Trace)]
struct Square<'gc> {
    side: Gc<'gc, Side>,
    twin: GcCell<Option<Gc<'gc, dyn Shape<'gc>>>>,
}

#[derive(Trace)]
struct Side {
    length: GcCell<u32>,
}

impl<'gc> Shape<'gc> for Square<'gc> {
    fn area(&self) -> u32 {
        self.side.length.get().pow(2)
    }
    fn grow(&self, cx: &Mutator<'gc>, _: Gc<'gc, dyn Shape<'gc>>) {
        self.side.set(cx, |side| &side.length, self.side.length.get() + 1);
    }
    fn twin(&self) -> Option<Gc<'gc, dyn Shape<'gc>>> {
        self.twin.get()
    }
}

fn square<'gc>(cx: &Mutator<'gc>, length: u32) -> Gc<'gc, dyn Shape<'gc>> {
    let side = cx.alloc(Side { length: GcCell::new(length) });
    let square = cx.alloc(Square { side, twin: GcCell::new(None) });
    square.set(cx, |square| &square.twin, Some(square.cast(|square| square as _)));
    square.cast(|square| square as _)
}

#[test]
fn trait_objects() {
    on_each(|heap| {
        let roots: Vec<Root<AnyShape>> = heap.enter(|cx| (1..=5).map(|side| square(cx, side).root(cx)).collect());
        let mut map: WeakValueMap<u32, AnyShape> = WeakValueMap::new();
        let mut set: WeakSet<AnyShape> = WeakSet::new();
        let keyed: WeakKeyMap<AnyShape, AnyShape> = WeakKeyMap::new(heap);
        let grown: Listeners<AnyShape, u32> = Listeners::new();
        for (key, root) in (0..).zip(&roots) {
            map.insert(heap, key, root);
            set.insert(heap, root);
            keyed.insert(heap, root, root); // the value is its own key
            grown.add(heap, root, |cx, shape, times| {
                for _ in 0..*times {
                    shape.grow(cx, shape);
                }
            });
        }
        heap.enter(|cx| {
            set.insert_in(cx, roots[0].get(cx));
            map.insert_in(cx, 9, roots[0].get(cx));
        });
        assert_eq!(grown.notify(heap, &2), 5);
        let areas = |heap: &Heap| {
            let mut areas: Vec<u32> = set.iter(heap).map(|shape| heap.with(&shape, |shape| shape.area())).collect();
            areas.sort();
            areas
        };
        assert_eq!(areas(heap), [9, 16, 25, 36, 49]);
        let one = roots[3].clone();
        assert_eq!(heap.with(&keyed.get(heap, &one).unwrap(), |shape| shape.area()), 36);
        drop(roots);
        heap.collect();
        assert_eq!(areas(heap), [36]);
        assert_eq!((map.live_count(heap), keyed.live_count(heap), grown.live_count(heap)), (1, 1, 1));
        heap.enter(|cx| {
            let shape = map.get(cx, &3).unwrap();
            assert!(Gc::ptr_eq(shape, shape.twin().unwrap()));
        });
        drop(one);
        heap.collect();
        assert!(map.is_empty(heap) && set.is_empty(heap) && keyed.is_empty(heap));
        assert_eq!(heap.stats().live_objects, 1);
    });
}

#[test]
fn slices_and_objects_without_size() {
    on_each(|heap| {
        let slice: Root<[u32]> = heap.enter(|cx| cx.alloc_slice([1_u32, 2, 3]).root(cx));
        let (one, two) = (heap.alloc(()), heap.alloc(()));
        let mut units = WeakSet::new();
        assert!(units.insert(heap, &one) && units.insert(heap, &two) && !units.insert(heap, &two));
        let lengths: WeakKeyMap<[u32], ()> = WeakKeyMap::new(heap);
        lengths.insert(heap, &slice, &one);
        drop(one);
        heap.collect();
        assert_eq!(units.live_count(heap), 2); // one of them by way of the slice
        drop(slice);
        heap.collect();
        assert_eq!(units.live_count(heap), 1);
    });
}

#[test]
fn rule_20_after_a_shutdown_everything_is_absent() {
    let mut heap = Heap::new();
    let root = heap.alloc(String::from("object"));
    let (mut map, mut set, mut interned) = (WeakValueMap::new(), WeakSet::new(), InternSet::new());
    let mut cache = SoftCache::new(5);
    let listeners: Listeners<String> = Listeners::new();
    map.insert(&mut heap, 1, &root);
    set.insert(&mut heap, &root);
    interned.intern_root(&mut heap, &root);
    cache.insert(&mut heap, 1, &root);
    listeners.add(&mut heap, &root, |_, _, ()| panic!("it is dead"));
    heap.shutdown(ShutdownOptions::default()).unwrap();
    assert!(map.is_empty(&heap) && map.get(&heap, &1).is_none());
    assert!(set.is_empty(&heap) && interned.is_empty(&heap) && interned.get(&heap, "object").is_none());
    assert!(cache.get(&heap, &1).is_none());
    assert_eq!(listeners.notify(&mut heap, &()), 0);
    assert_eq!((map.prune(&heap), set.prune(&heap), interned.prune(&heap)), (1, 1, 1));
}
