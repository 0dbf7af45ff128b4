//! A table whose keys have the brand 'static, which no scope has, stays empty, so that nothing is lost if it is skipped.

use lacuna::*;

#[derive(Trace)]
struct Owner {
    #[trace(skip)]
    table: Ephemerons<Gc<'static, u32>, u32>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.table.keys());
    }
}

fn main() {
    Heap::new().enter(|cx| {
        let owner = cx.alloc(Owner { table: Ephemerons::new() });
        owner.edit_ephemerons(cx, |owner| &owner.table).insert(cx.alloc(1), 2);
    });
}
