//! Ephemerons: which values live because their keys do.
//!
//! Marking leaves the values of ephemeron tables alone and only lists the tables that it reaches. Here each entry of
//! those is looked at once: if all its keys are marked its value is visited, otherwise it waits for one of its unmarked
//! keys, in a list that begins at the key's weak slot. From then on the marker notes the observed objects that it
//! marks. The entries that wait for a noted object are looked at again; one with another unmarked key waits for that.
//! So an entry is looked at once, and once more for each of its keys at most, whatever the order.
//!
//! Nothing here allocates, and the only code of the program that runs is `Trace`, except in [`drop_dead`].

use super::core::Core;
use super::failures::{FailureKind, Failures, catch};
use super::mark::{self, MarkWork};
use crate::edges::weak::{CellPlace, SlotIndex, WeakSlots};
use crate::object::descriptor::ObjectRef;
use crate::object::ephemerons::{EphemeronTable, Reached, TableList, Tally, Unresolved, Waiter};
use crate::object::marker::Marker;
use crate::stats::CycleStats;

/// Visits the values of all ephemerons whose table and keys are reached, and marks what they lead to, until there are
/// no more.
pub(crate) fn converge(core: &mut Core, stats: &mut CycleStats) -> MarkWork {
    let mut work = MarkWork::default();
    let mut tally = Tally::default();
    let mut course = Course::default();
    while !core.marker.fresh.is_empty() || !core.marker.is_settled() {
        let Core { weak, marker, .. } = core;
        while let Some(table) = marker.fresh.pop() {
            marker.examined.push(table);
            stats.ephemeron_entries += table.table().live();
            examine(weak, marker, table, first_of_interest(table.table(), stats), &mut tally);
        }
        while let Some(key) = marker.pop_noted() {
            course.wake(weak, marker, key, &mut tally);
        }
        for object in marker.pop_deferred().into_iter().flatten() {
            course.wake(weak, marker, object, &mut tally);
            if object.descriptor().edges {
                marker.requeue(object);
            }
        }
        work += mark::drain(core);
    }
    stats.ephemerons_examined += tally.examined;
    stats.ephemerons_resolved += tally.resolved;
    work
}

/// The place from which on the collection looks at entries.
fn first_of_interest(table: &dyn EphemeronTable, stats: &CycleStats) -> u32 {
    // [INV-EPH-3]
    if stats.minor { table.header().seen() } else { 0 }
}

/// Looks at the entries of a table for the first time, from a place on.
fn examine(weak: &mut WeakSlots, marker: &mut Marker, table: Reached, first: u32, tally: &mut Tally) {
    if !table.table().converges() || table.table().live() == 0 {
        return;
    }
    marker.watch();
    let places = table.table().places();
    for start in (first..places).step_by(STRETCH as usize) {
        let end = places.min(start.saturating_add(STRETCH));
        // Keys may lie anywhere, so what the stretch needs of them is loaded all at once: first the numbers of their
        // slots, then what is found by those.
        table.table().each_end(start..end, &mut |object| weak.prefetch_number(object));
        table.table().each_end(start..end, &mut |object| weak.prefetch_waiter(object));
        let mut from = start;
        while let Some(unresolved) = table.table().examine(from..end, marker, tally) {
            from = unresolved.entry + 1;
            wait(weak, table, unresolved);
        }
    }
}

/// Entries that are looked at together.
const STRETCH: u32 = 32;

/// Makes an entry wait for a key.
fn wait(weak: &mut WeakSlots, table: Reached, Unresolved { entry, key, value }: Unresolved) {
    let slot = weak.find(key).expect("keys are observed");
    let leads_to = value.and_then(|value| weak.find(value)).unwrap_or(Waiter::NOWHERE);
    let next = weak.replace_waiter(slot, Some(Waiter { table, entry, leads_to }));
    table.table().watch(entry, next);
}

/// The keys that were marked one after the other, to load what the next ones will need.
///
/// In a long chain each step needs the entry of the one before it, and in a large table that is not at hand. But what has
/// been made together often lies and hangs together as well: if the last keys lay at the same distance from each other,
/// those at the same distance further on are expected to follow, in whatever order they were inserted.
struct Course {
    /// The last key, if an entry waited for it that lay far from the one before.
    last: Option<CellPlace>,
    /// The last entry.
    entry: u32,
    /// Cells from the key before to the last one; 0 if they did not lie in one block.
    stride: isize,
    /// The number of the slot that what the last value leads to has, as far as it is known.
    expected: SlotIndex,
}

impl Default for Course {
    fn default() -> Self {
        Self { last: None, entry: 0, stride: 0, expected: Waiter::NOWHERE }
    }
}

/// Places between entries that count as close.
const CLOSE: u32 = 8;
/// Keys ahead whose entries are loaded.
const NEAR: isize = 8;
/// Keys ahead for which is loaded what says which entries those are.
const FAR: isize = 16;

impl Course {
    /// Looks again at the entries that wait for an object.
    fn wake(&mut self, weak: &mut WeakSlots, marker: &mut Marker, key: ObjectRef, tally: &mut Tally) {
        let foreseen = self.last.and_then(|last| self.follow(weak, last, key));
        let found = foreseen.or_else(|| weak.find_expected(key, self.expected));
        self.expected = Waiter::NOWHERE;
        let mut waiter = found.and_then(|slot| weak.replace_waiter(slot, None));
        // Entries in the order of the table are loaded in time by the machine itself.
        let before = self.entry;
        self.entry = waiter.map_or(before, |waiter| waiter.entry);
        if self.entry.abs_diff(before) <= CLOSE {
            self.last = None;
        } else if self.last.is_none() {
            self.last = Some(CellPlace::of(key));
        }
        while let Some(Waiter { table, entry, leads_to }) = waiter {
            if foreseen.is_none() {
                // Loaded together with the entry.
                weak.prefetch(leads_to);
                self.expected = leads_to;
            }
            let (behind, unresolved) = table.table().examine_again(entry, marker, tally);
            waiter = behind;
            if let Some(unresolved) = unresolved {
                wait(weak, table, unresolved);
            }
        }
    }

    /// Goes on from the last key to another. If the keys lie at steady distances, starts to load what the next ones will need,
    /// and returns the slot of this one.
    fn follow(&mut self, weak: &WeakSlots, last: CellPlace, key: ObjectRef) -> Option<SlotIndex> {
        let place = CellPlace::of(key);
        let stride = place.distance(last).unwrap_or(0);
        let before = core::mem::replace(&mut self.stride, stride);
        self.last = Some(place);
        if stride == 0 || stride != before {
            return None;
        }
        let [here, near, far] = weak.find_along(place, [0, stride * NEAR, stride * FAR]);
        if let Some(slot) = far {
            weak.prefetch_waiters_of(slot);
        }
        if let Some(Waiter { table, entry, .. }) = near.and_then(|slot| weak.waiter(slot)) {
            table.table().prefetch(entry);
        }
        here
    }
}

/// Empties the lists of waiting entries.
fn empty_lists(weak: &mut WeakSlots, tables: &TableList) {
    for table in tables.iter() {
        table.table().watched_keys(&mut |key| {
            if let Some(slot) = weak.find(key) {
                weak.replace_waiter(slot, None);
            }
        });
    }
}

/// Kills the entries with dead keys: of tables in which nothing ever waits, those with an unmarked key, of the others those
/// that still wait. Nothing waits any more then. Returns how many.
pub(crate) fn kill(core: &mut Core, stats: &mut CycleStats) -> usize {
    let mut tally = Tally::default();
    let mut killed = 0;
    let Core { weak, marker, .. } = core;
    for table in marker.examined.iter().map(Reached::table) {
        let first = first_of_interest(table, stats);
        killed +=
            if table.converges() { kill_waiting(weak, table, first) } else { table.kill_unmarked(first, &mut tally) };
    }
    stats.ephemerons_examined += tally.examined;
    killed
}

/// Kills the entries that wait, from a place on, in the order of the table: keys are mostly observed in the same order, so
/// what is known of them lies in that order as well, which need not be that of memory.
fn kill_waiting(weak: &mut WeakSlots, table: &dyn EphemeronTable, first: u32) -> usize {
    let before = table.live();
    let places = table.places();
    for start in (first..places).step_by(STRETCH as usize) {
        if !table.header().is_watching() {
            break;
        }
        let end = places.min(start.saturating_add(STRETCH));
        table.awaited_keys(start..end, &mut |key| weak.prefetch_number(key));
        table.awaited_keys(start..end, &mut |key| weak.prefetch_waiter(key));
        table.kill_waiting(start..end, &mut |key| {
            let slot = weak.find(key).expect("keys are observed");
            weak.replace_waiter(slot, None);
        });
    }
    before - table.live()
}

/// Forgets all tables and everything that waits: marking was abandoned, and nothing is freed.
pub(crate) fn abandon(core: &mut Core) {
    let Core { weak, marker, .. } = core;
    empty_lists(weak, &marker.examined);
    marker.examined.iter().for_each(|table| table.table().stop_watching());
    while marker.fresh.forget_one().is_some() || marker.examined.forget_one().is_some() {}
}

/// Forgets all tables, whose entries have all been looked at, and drops the values of dead ones, which runs code of the
/// program. Returns the bytes of the tables.
pub(crate) fn drop_dead(tables: TableList, failures: &mut Failures) -> usize {
    let mut rest = Rest(tables);
    let mut bytes = 0;
    while let Some(table) = rest.0.forget_one() {
        table.header().set_seen(table.places());
        bytes += table.bytes();
        let mut left = true;
        while left {
            failures.record(catch(FailureKind::Drop, None, || left = table.drop_one_dead()));
        }
    }
    bytes
}

/// Tables that are forgotten also if the drop of a value panics, where that cannot be caught.
struct Rest(TableList);

impl Drop for Rest {
    fn drop(&mut self) {
        while self.0.forget_one().is_some() {}
    }
}
