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
use crate::edges::weak::{SlotIndex, WeakSlots};
use crate::object::descriptor::ObjectRef;
use crate::object::ephemerons::{EphemeronTable, Reached, TableList, Tally, Unresolved, Waiter};
use crate::object::marker::Marker;
use crate::stats::CycleStats;

/// Visits the values of all ephemerons whose table and keys are reached, and marks what they lead to, until there are
/// no more.
pub(crate) fn converge(core: &mut Core, stats: &mut CycleStats) -> MarkWork {
    let mut work = MarkWork::default();
    let mut tally = Tally::default();
    while !core.marker.fresh.is_empty() || !core.marker.is_settled() {
        let Core { weak, marker, .. } = core;
        while let Some(table) = marker.fresh.pop() {
            marker.examined.push(table);
            stats.ephemeron_entries += table.table().live();
            examine(weak, marker, table, first_of_interest(table.table(), stats), &mut tally);
        }
        let mut expected = Waiter::NOWHERE;
        while let Some(key) = marker.pop_noted() {
            expected = wake(weak, marker, key, expected, &mut tally);
        }
        for object in marker.pop_deferred().into_iter().flatten() {
            wake(weak, marker, object, Waiter::NOWHERE, &mut tally);
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

/// Looks again at the entries that wait for an object, whose slot is probably the one that is expected. Returns the slot
/// that is expected to be looked for next.
///
/// In a long chain each step needs the entry of the one before it, so all else that it needs is loaded meanwhile.
fn wake(
    weak: &mut WeakSlots,
    marker: &mut Marker,
    key: ObjectRef,
    expected: SlotIndex,
    tally: &mut Tally,
) -> SlotIndex {
    let mut next = Waiter::NOWHERE;
    let Some(slot) = weak.find_expected(key, expected) else { return next };
    let mut waiter = weak.replace_waiter(slot, None);
    while let Some(Waiter { table, entry, leads_to }) = waiter {
        weak.prefetch(leads_to);
        next = leads_to;
        let (behind, unresolved) = table.table().examine_again(entry, marker, tally);
        waiter = behind;
        if let Some(unresolved) = unresolved {
            wait(weak, table, unresolved);
        }
    }
    next
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

/// Kills the entries that wait for a key, which is dead. Returns how many.
pub(crate) fn kill_waiters(mut waiter: Option<Waiter>) -> usize {
    let mut killed = 0;
    while let Some(Waiter { table, entry, .. }) = waiter {
        waiter = table.table().kill(entry);
        killed += 1;
    }
    killed
}

/// Kills the entries with dead keys of the tables in which nothing ever waits. Returns how many.
pub(crate) fn kill_unmarked(core: &Core, stats: &mut CycleStats) -> usize {
    let mut tally = Tally::default();
    let tables = core.marker.examined.iter().map(Reached::table).filter(|table| !table.converges());
    let killed = tables.map(|table| table.kill_unmarked(first_of_interest(table, stats), &mut tally)).sum();
    stats.ephemerons_examined += tally.examined;
    killed
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
