//! A value is borrowed for the closure only: the table may be changed after it.

use lacuna::*;

fn first<'gc>(table: Gc<'gc, Ephemerons<Gc<'gc, str>, String>>, key: Gc<'gc, str>) -> Option<&'gc String> {
    table.with(key, |value| value)
}

fn main() {}
