//! `WeakTable`: a table of weak references of one heap.
#![cfg(feature = "hashbrown-fields")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lacuna::{Config, Gc, GcRefCell, Heap, Root, Trace, Weak, WeakTable, WeakTableEntry};

/// Everything collides, in two places.
fn hash(key: &u64) -> u64 {
    key % 2
}

fn put<V: ?Sized + lacuna::Object>(table: &mut WeakTable<u64, V>, key: u64, weak: Weak<V>) {
    table.entry(hash(&key), |&other| other == key, hash).insert(key, weak);
}

fn find<V: ?Sized + lacuna::Object>(table: &WeakTable<u64, V>, key: u64) -> Option<Weak<V>> {
    table.find(hash(&key), |&other| other == key).map(|(_, weak)| weak)
}

#[test]
fn what_is_found_is_what_was_put_in() {
    let mut heap = Heap::new();
    let roots: Vec<Root<u64>> = (0..50).map(|i| heap.alloc(i)).collect();
    let weak: Vec<Weak<u64>> = roots.iter().map(|root| heap.downgrade(root)).collect();
    let mut table = WeakTable::new();
    (0..50).for_each(|i| put(&mut table, i, weak[i as usize]));
    assert_eq!((table.len(), find(&table, 50)), (50, None));
    assert!((0..50).all(|i| find(&table, i) == Some(weak[i as usize])));
    let copy = table.clone();
    assert!(copy.iter().all(|(&key, found)| found == weak[key as usize]) && copy.iter().len() == 50);

    put(&mut table, 3, weak[7]);
    assert_eq!(find(&table, 3), Some(weak[7]));
    match table.entry(1, |&key| key == 3, hash) {
        WeakTableEntry::Occupied(mut entry) => {
            assert_eq!((*entry.key(), entry.replace(weak[3]), entry.weak()), (3, weak[7], weak[3]));
            let ((key, removed), place) = entry.remove();
            assert_eq!((key, removed), (3, weak[3]));
            place.insert(103, weak[3]);
        }
        WeakTableEntry::Vacant(_) => panic!("3 is in the table"),
    }
    assert_eq!((find(&table, 3), find(&table, 103)), (None, Some(weak[3])));
    assert_eq!(table.remove(1, |&key| key == 103), Some((103, weak[3])));
    assert_eq!(table.pop_if(|&key, _| key == 8), Some((8, weak[8])));
    assert_eq!(table.pop_if(|_, _| false), None);
    table.retain(|key, found| key % 10 == 0 && found == weak[*key as usize]);
    let mut left: Vec<u64> = table.drain().map(|(key, _)| key).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 10, 20, 30, 40]);
    assert!(table.is_empty());
    assert_eq!(format!("{table:?}"), "{}");
}

#[test]
fn references_die_in_the_table_as_elsewhere_also_those_with_metadata() {
    let mut heap = Heap::new();
    let text = heap.enter(|cx| cx.alloc_str("a text").root(cx));
    let short = heap.enter(|cx| cx.alloc_str("").root(cx));
    let mut table: WeakTable<u64, str> = WeakTable::with_capacity(10);
    put(&mut table, 1, heap.downgrade(&text));
    put(&mut table, 2, heap.downgrade(&short));
    drop(short);
    heap.collect();
    assert!(heap.upgrade(find(&table, 2).unwrap()).is_none());
    let found = heap.upgrade(find(&table, 1).unwrap()).unwrap();
    assert_eq!(heap.get(&found), "a text");
}

#[test]
fn a_table_has_references_of_one_heap() {
    let (mut one, mut two) = (Heap::new(), Heap::new());
    // What has the number of the first in the other heap is of another type.
    let (in_one, text, in_two) = (one.alloc(1_u64), two.alloc(String::from("two")), two.alloc(2_u64));
    two.downgrade(&text);
    let (weak_one, weak_two) = (one.downgrade(&in_one), two.downgrade(&in_two));
    let mut table = WeakTable::new();
    put(&mut table, 1, weak_one);
    let refused = |table: &mut WeakTable<u64, u64>, key: u64, weak| {
        let panicked = catch_unwind(AssertUnwindSafe(|| put(table, key, weak))).unwrap_err();
        let told = panicked.downcast_ref::<String>().map(String::as_str);
        told.or(panicked.downcast_ref::<&str>().copied()).unwrap().to_owned()
    };
    assert!(refused(&mut table, 2, weak_two).contains("belongs to another heap"));
    assert!(refused(&mut table, 1, weak_two).contains("belongs to another heap"));
    assert!(refused(&mut table, 2, Weak::null()).contains("without target"));
    assert!(refused(&mut table, 1, Weak::null()).contains("without target"));
    assert_eq!((table.len(), find(&table, 1)), (1, Some(weak_one)));
    // An empty table is nobody's.
    table.clear();
    put(&mut table, 1, weak_two);
    assert_eq!(find(&table, 1), Some(weak_two));
    assert!(two.upgrade(find(&table, 1).unwrap()).is_some());
    assert!(refused(&mut WeakTable::new(), 1, Weak::null()).contains("without target"));
}

#[test]
fn edges_in_keys_are_traced_and_values_are_not() {
    #[derive(Trace)]
    struct Names<'gc> {
        table: GcRefCell<WeakTable<Gc<'gc, str>, u64>>,
    }
    let mut heap = Heap::with_config(Config::default().zeal(true));
    let (names, weak_key, weak_value) = heap.enter(|cx| {
        let names = cx.alloc(Names { table: GcRefCell::new(WeakTable::new()) });
        let (key, value) = (cx.alloc_str("key"), cx.alloc(7_u64));
        let mut table = names.borrow_mut(cx, |names| &names.table);
        table.entry(0, |_| false, |_| 0).insert(key, value.downgrade(cx));
        drop(table);
        (names.root(cx), key.downgrade(cx), value.downgrade(cx))
    });
    heap.collect();
    assert!(!heap.is_dead(weak_key) && heap.is_dead(weak_value));
    heap.enter(|cx| {
        let names = names.get(cx);
        let (key, weak) = names.table.borrow().iter().map(|(key, weak)| (*key, weak)).next().unwrap();
        assert!(&*key == "key" && cx.upgrade(weak).is_none());
    });
}

#[test]
fn a_panic_of_what_is_called_leaves_the_table_whole() {
    struct Counted(u64, Rc<Cell<usize>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
        }
    }
    let mut heap = Heap::new();
    let root = heap.alloc(1_u64);
    let weak = heap.downgrade(&root);
    let dropped = Rc::new(Cell::new(0));
    let mut table = WeakTable::new();
    for key in 0..20 {
        table.entry(0, |_| false, |_: &Counted| 0).insert(Counted(key, Rc::clone(&dropped)), weak);
    }
    let asked = Cell::new(0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        table.retain(|key, _| {
            asked.set(asked.get() + 1);
            assert!(asked.get() < 10, "enough");
            key.0 % 2 == 0
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(table.len() + dropped.get(), 20);
    let hashes = catch_unwind(AssertUnwindSafe(|| table.reserve(1000, |_| panic!("no hash"))));
    assert!(hashes.is_err());
    assert!(table.iter().all(|(_, found)| found == weak));
    drop(table);
    assert_eq!(dropped.get(), 20);
}
