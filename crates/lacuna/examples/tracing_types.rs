//! What can be stored in a heap, and how it is written to.
//!
//! `cargo run -p lacuna --example tracing_types`

use std::collections::HashMap;
use std::sync::Arc;

use lacuna::{Gc, GcCell, GcRefCell, Heap, Mutator, Opaque, Root, Trace, WithTail};

// ANCHOR: derive
#[derive(Trace)]
struct Account<'gc> {
    owner: Gc<'gc, str>,                           // an edge that never changes
    balance: GcCell<i64>,                          // a value that is replaced as a whole
    parent: GcCell<Option<Gc<'gc, Account<'gc>>>>, // an edge that is replaced
    history: GcRefCell<Vec<Entry<'gc>>>,           // something that is changed in place
}

#[derive(Trace)]
enum Entry<'gc> {
    Opened,
    Paid { amount: i64, to: Gc<'gc, Account<'gc>> },
}
// ANCHOR_END: derive

// ANCHOR: write
fn pay<'gc>(cx: &Mutator<'gc>, from: Gc<'gc, Account<'gc>>, to: Gc<'gc, Account<'gc>>, amount: i64) {
    // A cell is written through the object that owns it.
    from.set(cx, |account| &account.balance, from.balance.get() - amount);
    to.set(cx, |account| &account.balance, to.balance.get() + amount);
    from.borrow_mut(cx, |account| &account.history).push(Entry::Paid { amount, to });
}

fn paid(account: Gc<'_, Account<'_>>) -> i64 {
    let history = account.history.borrow();
    history.iter().map(|entry| if let Entry::Paid { amount, .. } = entry { *amount } else { 0 }).sum()
}
// ANCHOR_END: write

fn main() {
    accounts();
    unsized_objects();
    generic_types();
    foreign_types();
    statics();
    println!("everything was found and kept");
}

fn accounts() {
    let mut heap = Heap::new();
    let last = heap.enter(|cx| {
        let open = |owner: &str, parent| {
            cx.alloc(Account {
                owner: cx.alloc_str(owner),
                balance: GcCell::new(100),
                parent: GcCell::new(parent),
                history: GcRefCell::new(vec![Entry::Opened]),
            })
        };
        let one = open("one", None);
        let two = open("two", Some(one));
        pay(cx, two, one, 30);
        two.root(cx)
    });
    heap.collect();
    heap.with(&last, |two| {
        let one = two.parent.get().unwrap();
        assert_eq!((&*two.owner, &*one.owner), ("two", "one"));
        assert_eq!((two.balance.get(), one.balance.get(), paid(two)), (70, 130, 30));
        let history = two.history.borrow();
        let Some(Entry::Paid { to, .. }) = history.last() else { panic!("two has paid") };
        assert!(Gc::ptr_eq(*to, one));
    });
}

// ANCHOR: unsized
/// A record with a name and as many fields as its shape asks for, in one object.
type Record<'gc> = WithTail<Gc<'gc, str>, GcCell<Option<Gc<'gc, str>>>>;

fn unsized_objects() {
    let mut heap = Heap::new();
    let record: Root<Record<'static>> = heap.enter(|cx| {
        let text: Gc<'_, str> = cx.alloc_str("text");
        let numbers: Gc<'_, [u32]> = cx.alloc_slice([1, 2, 3]);
        let squares: Gc<'_, [u64]> = cx.alloc_slice_with(4, |index| (index * index) as u64);
        assert_eq!((numbers.len(), squares[3]), (3, 9));

        let record: Gc<'_, Record<'_>> = cx.alloc_tail(text, (0..5).map(|_| GcCell::new(None)));
        record.set(cx, |record| &record.tail[2], Some(cx.alloc_str("third field")));
        record.root(cx)
    });
    heap.collect();
    heap.with(&record, |record| {
        assert_eq!(&*record.header, "text");
        assert_eq!(record.tail[2].get().as_deref(), Some("third field"));
    });
}
// ANCHOR_END: unsized

// ANCHOR: generic
/// Type parameters get the bound `T: Trace`.
#[derive(Trace)]
struct Versioned<T> {
    version: u32,
    value: GcCell<T>,
}

fn generic_types() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let leaf = cx.alloc(Versioned { version: 1, value: GcCell::new(7_u8) });
        let edge = cx.alloc(Versioned { version: 2, value: GcCell::new(leaf) });
        edge.set(cx, |edge| &edge.value, leaf);
        assert_eq!(edge.version + edge.value.get().version, 3);
        assert_eq!(edge.value.get().value.get(), 7);
    });
}
// ANCHOR_END: generic

// ANCHOR: foreign
/// Types of other crates: skipped where they stand in a field, wrapped where they are an object or an element.
#[derive(Trace)]
struct Module<'gc> {
    #[trace(skip)]
    source: Arc<str>,
    hooks: HashMap<String, fn(i64) -> i64>,
    shared: Vec<Opaque<Arc<str>>>,
    entry: Option<Gc<'gc, str>>,
}

fn foreign_types() {
    let mut heap = Heap::new();
    let source: Arc<str> = "(define x 1)".into();
    let module = heap.alloc_with::<Module<'_>>(|cx| Module {
        source: source.clone(),
        hooks: HashMap::from([("abs".to_owned(), i64::abs as fn(i64) -> i64)]),
        shared: vec![Opaque(source.clone())],
        entry: Some(cx.alloc_str("main")),
    });
    assert_eq!(Arc::strong_count(&source), 3);
    heap.with(&module, |module| {
        assert_eq!(module.hooks["abs"](-1), 1);
        assert_eq!((module.source.len(), module.shared[0].len()), (12, 12));
        assert_eq!(module.entry.as_deref(), Some("main"));
    });
    drop(module);
    heap.collect(); // native `Drop` of dead objects runs while they are swept
    assert_eq!(Arc::strong_count(&source), 1);
}
// ANCHOR_END: foreign

fn statics() {
    // ANCHOR: drop_in_field
    /// A type with edges must not implement `Drop`; what needs it goes into a field of its own type.
    struct Descriptor(Arc<()>);

    impl Drop for Descriptor {
        fn drop(&mut self) {
            // Closes something. It sees no edges: they may be gone already.
        }
    }

    #[derive(Trace)]
    struct Stream<'gc> {
        #[trace(skip)]
        descriptor: Descriptor,
        name: Gc<'gc, str>,
    }

    let mut heap = Heap::new();
    let open = Arc::new(());
    let stream = heap
        .alloc_with::<Stream<'_>>(|cx| Stream { descriptor: Descriptor(open.clone()), name: cx.alloc_str("stdin") });
    assert!(heap.with(&stream, |stream| Arc::ptr_eq(&stream.descriptor.0, &open) && &*stream.name == "stdin"));
    drop(stream);
    heap.collect();
    assert_eq!(Arc::strong_count(&open), 1);
    // ANCHOR_END: drop_in_field
}
