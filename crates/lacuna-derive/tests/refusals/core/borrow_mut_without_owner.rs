//! A borrowed cell is written through its owner only.

use lacuna::*;

#[derive(Trace)]
struct List<'gc> {
    items: GcRefCell<Vec<Gc<'gc, str>>>,
}

fn push<'gc>(list: Gc<'gc, List<'gc>>, text: Gc<'gc, str>) {
    list.items.borrow_mut().push(text);
}

fn main() {}
