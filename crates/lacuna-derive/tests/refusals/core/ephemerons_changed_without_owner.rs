//! A table is changed through its owner only.

use lacuna::*;

#[derive(Trace)]
struct Class<'gc> {
    labels: Ephemerons<Gc<'gc, str>, u32>,
}

fn label<'gc>(class: Gc<'gc, Class<'gc>>, member: Gc<'gc, str>) {
    class.labels.insert(member, 1);
}

fn main() {}
