//! Ephemerons: data attached to objects from outside, a memo, and a proxy for a pair.
//!
//! `cargo run -p lacuna --example ephemeron_metadata`

use lacuna::{Ephemerons, Gc, GcCell, Heap, Root, Trace};

fn main() {
    metadata();
    memo();
    pairs();
    fields();
    println!("data lives as long as what it is attached to, and no longer");
}

// ANCHOR: types
/// A node of a syntax tree, which knows nothing of what analyses find out about it.
#[derive(Trace)]
struct Expression {
    text: &'static str,
}

/// What one analysis found out. It leads back to the expression that it is attached to.
#[derive(Trace)]
struct Type<'gc> {
    name: &'static str,
    inferred_from: Gc<'gc, Expression>,
}

type Types<'gc> = Ephemerons<Gc<'gc, Expression>, Gc<'gc, Type<'gc>>>;
// ANCHOR_END: types

fn metadata() {
    // ANCHOR: metadata
    let mut heap = Heap::new();
    let (types, kept): (Root<Types<'static>>, Root<Expression>) = heap.enter(|cx| {
        let types = cx.alloc(Types::new());
        let [kept, dropped] = ["1 + x", "\"a\""].map(|text| cx.alloc(Expression { text }));
        for (expression, name) in [(kept, "int"), (dropped, "string")] {
            types.edit(cx).insert(expression, cx.alloc(Type { name, inferred_from: expression }));
        }
        (types.root(cx), kept.root(cx))
    });
    heap.collect();
    heap.enter(|cx| {
        let (types, kept) = (types.get(cx), kept.get(cx));
        let found = types.get(kept).unwrap();
        assert_eq!((found.name, found.inferred_from.text), ("int", "1 + x"));
        assert_eq!(types.live_count(), 1); // the value led back to its key, and both are gone
    });
    drop(kept);
    heap.collect();
    assert!(heap.with(&types, |types| types.is_empty()));
    // ANCHOR_END: metadata
}

fn memo() {
    // ANCHOR: memo
    /// The length of a text, computed once for each object.
    fn length<'gc>(
        cx: &lacuna::Mutator<'gc>,
        memo: Gc<'gc, Ephemerons<Gc<'gc, str>, usize>>,
        text: Gc<'gc, str>,
    ) -> usize {
        memo.get(text).unwrap_or_else(|| {
            let length = text.chars().count();
            memo.edit(cx).insert(text, length);
            length
        })
    }

    let mut heap = Heap::new();
    let (memo, text) = heap.enter(|cx| {
        let (memo, text) = (cx.alloc(Ephemerons::new()), cx.alloc_str("Überraschung"));
        assert_eq!((length(cx, memo, text), length(cx, memo, text)), (12, 12));
        length(cx, memo, cx.alloc_str("gone soon"));
        (memo.root(cx), text.root(cx))
    });
    heap.collect();
    assert_eq!(heap.with(&memo, |memo| memo.live_count()), 1);
    drop(text);
    // ANCHOR_END: memo
}

fn pairs() {
    // ANCHOR: pairs
    // Which of two regions a wall lies between: of no use to anybody when one of them is gone.
    type Region<'gc> = Gc<'gc, str>;
    let mut heap = Heap::new();
    let (walls, north, south) = heap.enter(|cx| {
        let walls = cx.alloc(Ephemerons::<(Region<'_>, Region<'_>), u32>::new());
        let [north, south] = ["north", "south"].map(|name| cx.alloc_str(name));
        walls.edit(cx).insert((north, south), 3);
        assert_eq!(walls.get((south, north)), None); // another pair
        (walls.root(cx), north.root(cx), south.root(cx))
    });
    drop(south);
    heap.collect();
    assert!(heap.with(&walls, |walls| walls.is_empty()));
    drop(north);
    // ANCHOR_END: pairs
}

fn fields() {
    // ANCHOR: fields
    /// An inspector has its notes in a field, and is changed through the object that it is a part of.
    #[derive(Trace)]
    struct Inspector<'gc> {
        current: GcCell<Option<Gc<'gc, Expression>>>,
        notes: Ephemerons<Gc<'gc, Expression>, String>,
    }

    let mut heap = Heap::new();
    heap.enter(|cx| {
        let inspector = cx.alloc(Inspector { current: GcCell::new(None), notes: Ephemerons::new() });
        let expression = cx.alloc(Expression { text: "f(x)" });
        inspector.set(cx, |inspector| &inspector.current, Some(expression));
        inspector.edit_ephemerons(cx, |inspector| &inspector.notes).insert(expression, "called twice".to_owned());
        let note = inspector.notes.with(inspector.current.get().unwrap(), |note| note.len());
        assert_eq!(note, Some(12));
    });
    // ANCHOR_END: fields
}
