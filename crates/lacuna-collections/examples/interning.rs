//! One object for each value: symbols, and terms that share what is equal.
//!
//! `cargo run -p lacuna-collections --example interning`

use std::hash::{Hash, Hasher};

use lacuna::{Gc, Heap, Mutator, Root, Trace};
use lacuna_collections::InternSet;

fn main() {
    symbols();
    terms();
}

fn symbols() {
    // ANCHOR: symbols
    let mut heap = Heap::new();
    let mut symbols: InternSet<str> = InternSet::new();
    let words = "the cat and the dog and the bird".split(' ');
    let program: Vec<Root<str>> = words.map(|word| symbols.intern_str(&mut heap, word)).collect();
    assert_eq!((program.len(), symbols.live_count(&heap)), (8, 5));
    assert!(Root::ptr_eq(&program[0], &program[3])); // comparing symbols is comparing pointers

    drop(program);
    heap.collect();
    assert!(symbols.is_empty(&heap)); // no symbol table that only grows
    // ANCHOR_END: symbols
    println!("8 words, 5 symbols");
}

// ANCHOR: terms
/// An expression. Operands that are equal are the same object, so pointers say whether two expressions are equal.
#[derive(Trace, Clone, Copy)]
struct Term<'gc> {
    operator: char,
    operands: Option<[Gc<'gc, Term<'gc>>; 2]>,
}

impl Term<'_> {
    fn shape(&self) -> (char, Option<[usize; 2]>) {
        (self.operator, self.operands.map(|operands| operands.map(Gc::addr)))
    }
}

impl PartialEq for Term<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape()
    }
}

impl Eq for Term<'_> {}

impl Hash for Term<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shape().hash(state);
    }
}

/// `x + x`, that times itself, that plus itself, and so on: a tree of a million leaves.
fn tower<'gc>(cx: &Mutator<'gc>, terms: &mut InternSet<Term<'static>>) -> Gc<'gc, Term<'gc>> {
    let mut top = terms.intern_in(cx, Term { operator: 'x', operands: None });
    for level in 0..20 {
        let operator = if level % 2 == 0 { '+' } else { '*' };
        top = terms.intern_in(cx, Term { operator, operands: Some([top; 2]) });
    }
    top
}

fn terms() {
    let (mut heap, mut terms) = (Heap::new(), InternSet::new());
    let kept = heap.enter(|cx| tower(cx, &mut terms).root(cx));
    heap.collect();
    heap.enter(|cx| assert!(Gc::ptr_eq(kept.get(cx), tower(cx, &mut terms))));
    assert_eq!(terms.live_count(&heap), 21);
    println!("an expression with {} leaves takes {} objects", 1 << 20, terms.live_count(&heap));

    drop(kept);
    heap.collect();
    assert!(terms.is_empty(&heap));
}
// ANCHOR_END: terms
