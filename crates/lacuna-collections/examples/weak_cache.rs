//! A cache that keeps nothing alive, one that keeps what was used last, and data attached to objects from outside.
//!
//! `cargo run -p lacuna-collections --example weak_cache`

use lacuna::{Gc, GcRefCell, Heap, Root, Trace};
use lacuna_collections::{SoftCache, WeakKeyMap, WeakValueMap};

fn main() {
    weak();
    soft();
    attached();
    in_the_heap();
    println!("what nobody uses is not cached, what was used last may be, and nothing leaks");
}

// ANCHOR: weak
/// Pictures by name. A picture that nobody shows any more is not kept for it.
#[derive(Default)]
struct Pictures {
    by_name: WeakValueMap<String, Vec<u8>>,
    loads: usize,
}

impl Pictures {
    fn get(&mut self, heap: &mut Heap, name: &str) -> Root<Vec<u8>> {
        self.by_name.entry(heap, name.to_owned()).or_insert_with(heap, |heap| {
            self.loads += 1;
            heap.alloc(vec![0; 1000])
        })
    }
}

fn weak() {
    let (mut heap, mut pictures) = (Heap::new(), Pictures::default());
    let shown = pictures.get(&mut heap, "cat");
    let also_shown = pictures.get(&mut heap, "cat");
    assert!(Root::ptr_eq(&shown, &also_shown) && pictures.loads == 1);

    drop((shown, also_shown));
    heap.collect();
    assert!(!pictures.by_name.contains_key(&heap, "cat")); // dead is absent
    pictures.get(&mut heap, "cat");
    assert_eq!(pictures.loads, 2);
    println!("weak: {} loads for 3 uses", pictures.loads);
}
// ANCHOR_END: weak

// ANCHOR: soft
fn soft() {
    let mut heap = Heap::new();
    let mut pages =
        SoftCache::<u32, String>::new(100).max_bytes(1 << 20, |heap, page| heap.get(page).len()).pressure(64 << 20); // of the whole heap
    for number in 0..1000 {
        pages.get_or_insert_with(&mut heap, number, |heap| heap.alloc("text ".repeat(10)));
    }
    heap.collect();
    assert_eq!(pages.known().live_count(&heap), 100); // the last hundred
    assert!(pages.get(&heap, &999).is_some() && pages.get(&heap, &0).is_none());

    pages.trim(10); // memory is needed elsewhere
    heap.collect();
    assert_eq!(pages.known().live_count(&heap), 10);
    println!("soft: keeps {} pages of 1000", pages.kept_objects());
}
// ANCHOR_END: soft

// ANCHOR: attached
#[derive(Trace)]
struct Document(&'static str);

#[derive(Trace)]
struct Index<'gc> {
    of: Gc<'gc, Document>, // leads back to what it is attached to
    words: usize,
}

fn attached() {
    let mut heap = Heap::new();
    let indices: WeakKeyMap<Document, Index<'static>> = WeakKeyMap::new(&mut heap);
    let document = heap.alloc(Document("three blind mice"));
    indices.get_or_insert_with(&mut heap, &document, |heap| {
        heap.alloc_with::<Index<'_>>(|cx| {
            let of = document.get(cx);
            Index { of, words: of.0.split(' ').count() }
        })
    });
    heap.collect();
    let index = indices.get(&heap, &document).expect("the document keeps it");
    assert_eq!(heap.with(&index, |index| (index.words, index.of.0.len())), (3, 16));

    drop((index, document));
    heap.collect();
    assert_eq!(indices.live_count(&heap), 0); // the cycle is no leak
    println!("attached: the index went with its document");
}
// ANCHOR_END: attached

// ANCHOR: in_the_heap
/// A weak dictionary of an interpreter: an object itself, with names that it owns.
#[derive(Trace)]
struct Modules {
    loaded: GcRefCell<WeakValueMap<String, Module>>,
}

#[derive(Trace)]
struct Module {
    size: usize,
}

fn in_the_heap() {
    let mut heap = Heap::new();
    let (modules, used) = heap.enter(|cx| {
        let modules = cx.alloc(Modules { loaded: GcRefCell::default() });
        let mut loaded = modules.borrow_mut(cx, |modules| &modules.loaded);
        let used = cx.alloc(Module { size: 3 });
        loaded.insert_in(cx, "used".into(), used);
        loaded.insert_in(cx, "unused".into(), cx.alloc(Module { size: 4 }));
        assert_eq!(loaded.get(cx, "unused").map(|module| module.size), Some(4));
        (modules.root(cx), used.root(cx))
    });
    heap.collect();
    heap.enter(|cx| {
        let modules = modules.get(cx);
        let loaded = modules.loaded.borrow();
        assert_eq!(loaded.get(cx, "used").map(|module| module.size), Some(3));
        assert!(loaded.get(cx, "unused").is_none());
    });
    drop(used);
}
// ANCHOR_END: in_the_heap
