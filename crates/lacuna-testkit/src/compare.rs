//! Compares a heap with the model.

use std::collections::{BTreeSet, HashMap};

use lacuna::{Heap, Phase};

use crate::callbacks::{Callback, Death, Journal, Witness};
use crate::driver::{Tables, expect_same};
use crate::model::{Mismatch, Model, ObjectId};
use crate::objects::{Edge, Value};

/// Compares everything that can be seen of a heap. `collected`: all dead values were just dropped.
pub(crate) fn check(heap: &Heap, state: &Tables, collected: bool) -> Result<(), Mismatch> {
    if let Some(complaint) = state.journal.complaints.borrow_mut().pop() {
        return Err(complaint);
    }
    check_numbers(heap, state)?;
    check_cycle(heap, state)?;
    check_callbacks(heap, state)?;
    check_references(heap, state)?;
    agreement(heap, &state.journal)?;
    check_objects(heap, state)?;
    check_dropped(state, collected)
}

fn check_numbers(heap: &Heap, state: &Tables) -> Result<(), Mismatch> {
    let (stats, model) = (heap.stats(), &state.model);
    expect_same("collections", stats.collections, model.collections)?;
    if heap.phase() != Phase::Sweeping {
        // Until everything is counted they are those of the collection before.
        expect_same("live objects", stats.live_objects, model.survivors)?;
    }
    expect_same("roots", stats.roots, model.root_count())?;
    expect_same("observed objects", stats.weak_slots, model.observed())?;
    expect_same("armed registrations", stats.armed, model.armed())?;
    let notifications = model.queued_notifications();
    expect_same("queued cleanups", stats.queued_cleanups, model.callbacks.len() - notifications)?;
    expect_same("queued notifications", stats.queued_notifications, notifications)?;
    expect_same("queued guardians", stats.queued_guardians, model.guardians.len())?;
    expect_same("external bytes", stats.external_bytes, model.external)?;
    expect_same("callbacks run", stats.callbacks_run, model.callbacks_run)?;
    expect_same("panics", stats.panics, model.panics)?;
    expect_same("registrations cancelled", stats.cancelled, model.cancelled)?;
    expect_same("notifications silenced", stats.notifications_silenced, model.silenced)?;
    expect_same("callbacks queued", stats.callbacks_queued, model.callbacks_queued)?;
    expect_same("batches", stats.batches, model.batches)?;
    expect_same("roots of the program", state.roots.len(), model.roots.len())?;
    expect_same("objects allocated", state.journal.allocated.get(), model.allocated)?;
    expect_same("registrations", state.journal.registrations.get(), model.registrations.len())?;

    let report = heap.verify().map_err(|error| error.to_string())?;
    let live = model.closure(model.anchors());
    expect_same("objects that can be reached", report.objects, live.len())?;
    expect_same("edges between them", report.edges, model.edge_count(&live))?;
    expect_same("weak slots found", report.weak_slots, model.observed())
}

/// Compares what the last collection says of itself.
fn check_cycle(heap: &Heap, state: &Tables) -> Result<(), Mismatch> {
    let (last, expected) = (heap.stats().last, state.model.last);
    // A minor collection looks at no table that was not written, so it counts fewer.
    if !last.minor {
        expect_same("entries of ephemeron tables", last.ephemeron_entries, expected.entries)?;
        expect_same("ephemerons resolved", last.ephemerons_resolved, expected.resolved)?;
    }
    expect_same("ephemerons cleared", last.ephemerons_cleared, expected.cleared)?;
    let queued = [last.cleanups_queued, last.guardians_queued, last.notifications_queued];
    expect_same("cleanups, guardians and notifications that a collection queued", queued, expected.queued)?;
    expect_same("notifications that a collection silenced", last.notifications_silenced, expected.silenced)?;
    if last.ephemerons_examined > expected.examined && !state.starved {
        return Err(format!("ephemerons were looked at {} times, not {expected:?}", last.ephemerons_examined));
    }
    Ok(())
}

/// Checks that each callback is pending or not, and that its id leads to its own payload and no other.
fn check_callbacks(heap: &Heap, state: &Tables) -> Result<(), Mismatch> {
    for &(callback, id) in &state.callbacks {
        let pending = state.is_pending(id);
        expect_same("a callback is pending", callback.is_pending(heap), pending)?;
        expect_same("the payload of a callback", callback.registration(heap), pending.then_some(id))?;
    }
    for (told, id) in state.journal.told.take() {
        let registered = state.callbacks.iter().find(|(_, registered)| *registered == id);
        let same = registered.is_some_and(|&(callback, _)| callback == Callback::Notification(told));
        expect_same("a notification got its own id", same, true)?;
    }
    Ok(())
}

/// Checks that what a queued callback is about is dead for everyone.
pub(crate) fn death(heap: &Heap, journal: &Journal, death: Death) -> Result<(), Mismatch> {
    let witnesses = journal.witnesses.borrow();
    let dead = match death {
        Death::Object(id) => witnesses.iter().filter(|witness| witness.target == id).all(|w| w.observer.is_dead(heap)),
        Death::Reference(index) => witnesses[index].observer.is_dead(heap),
    };
    expect_same("what the callback is about is dead", dead, true)
}

/// Checks that the weak references to each object agree whether they are dead: the long ones, and the short ones that
/// were made in the same life of it; that a short one does not outlive the long ones; and that they can be upgraded if they
/// live, to something that lives. Callbacks do the same, knowing nothing of the model.
pub(crate) fn agreement(heap: &Heap, journal: &Journal) -> Result<(), Mismatch> {
    let witnesses = journal.witnesses.borrow();
    let mut long: HashMap<ObjectId, bool> = HashMap::new();
    for &Witness { observer, target, .. } in witnesses.iter().filter(|witness| witness.long) {
        let dead = observer.is_dead(heap);
        if *long.entry(target).or_insert(dead) != dead {
            return Err(format!("the long weak references to object {target} disagree"));
        }
    }
    let mut short: HashMap<(ObjectId, u32), bool> = HashMap::new();
    for &Witness { observer, target, revivals, .. } in witnesses.iter().filter(|witness| !witness.long) {
        let dead = observer.is_dead(heap);
        if *short.entry((target, revivals)).or_insert(dead) != dead {
            return Err(format!("the short weak references to object {target} disagree"));
        }
        if !dead && long.get(&target) == Some(&true) {
            return Err(format!("a short weak reference to object {target} outlives a long one"));
        }
    }
    if journal.in_turn.get() {
        // To upgrade would keep everything alive.
        return Ok(());
    }
    for &Witness { observer, target, .. } in witnesses.iter() {
        let root = observer.upgrade(heap);
        expect_same("a weak reference that lives is upgraded", root.is_some(), !observer.is_dead(heap))?;
        if root.is_some_and(|root| !root.with(heap, |object| object.is_intact())) {
            return Err(format!("object {target} was upgraded, but is gone"));
        }
    }
    Ok(())
}

/// Pairs of weak references whose equality is looked at.
const COMPARED: usize = 24;

fn check_references(heap: &Heap, state: &Tables) -> Result<(), Mismatch> {
    let witnesses = state.journal.witnesses.borrow();
    for (witness, reference) in witnesses.iter().zip(&state.model.references) {
        expect_same("a weak reference is dead", witness.observer.is_dead(heap), reference.dead)?;
    }
    let newest = || witnesses.iter().zip(&state.model.references).rev().take(COMPARED);
    for (Witness { observer: one, .. }, first) in newest() {
        for (Witness { observer: other, .. }, second) in newest() {
            let same_type = std::mem::discriminant(one) == std::mem::discriminant(other);
            let same = first.target == second.target
                && first.long == second.long
                && (first.long || first.revivals == second.revivals);
            if same_type {
                expect_same("two weak references are equal", one == other, same)?;
            }
        }
    }
    Ok(())
}

/// Which object is at which address.
#[derive(Default)]
struct Places {
    address_of: HashMap<ObjectId, usize>,
    object_at: HashMap<usize, ObjectId>,
}

fn check_objects(heap: &Heap, state: &Tables) -> Result<(), Mismatch> {
    let mut places = Places::default();
    for (root, &id) in state.roots.iter().zip(&state.model.roots) {
        root.with(heap, |object| walk(object, id, &state.model, &mut places))?;
    }
    if state.journal.in_turn.get() {
        return Ok(());
    }
    for witness in state.journal.witnesses.borrow().iter() {
        if let Some(root) = witness.observer.upgrade(heap) {
            root.with(heap, |object| walk(object, witness.target, &state.model, &mut places))?;
        }
    }
    Ok(())
}

/// Compares an object and all that it leads to with the model's.
fn walk<'gc>(object: Edge<'gc>, id: ObjectId, model: &Model, places: &mut Places) -> Result<(), Mismatch> {
    let mut pending = vec![(object, id)];
    while let Some((object, id)) = pending.pop() {
        match places.address_of.insert(id, object.addr()) {
            Some(before) if before == object.addr() => continue,
            Some(_) => return Err(format!("object {id} is at two places")),
            None => {}
        }
        if let Some(other) = places.object_at.insert(object.addr(), id) {
            return Err(format!("objects {other} and {id} are at the same place"));
        }
        let expected = model.object(id);
        if !object.matches(expected.kind, expected.length, id) {
            return Err(format!("the content of object {id} has changed"));
        }
        let edges = object.edges();
        expect_same("edges of an object", edges.len(), expected.edges.len())?;
        for (edge, target) in edges.into_iter().zip(&expected.edges) {
            match (edge, target) {
                (Some(edge), Some(target)) => pending.push((edge, *target)),
                (None, None) => {}
                _ => return Err(format!("an edge of object {id} has appeared or gone")),
            }
        }
        let entries = object.entries();
        if object.can_be_changed() || expected.kind.has_values() {
            expect_same("entries of a table", entries.len(), expected.entries.len())?;
        }
        for (entry, expected) in entries.into_iter().zip(&expected.entries) {
            pending.extend(entry.keys.into_iter().map(Edge::Dyn).zip(expected.keys.iter().copied()));
            match entry.value {
                Value::Object(value) => pending.push((value, expected.value)),
                Value::Label(label) => expect_same("a value without edges", label, expected.value)?,
            }
        }
    }
    Ok(())
}

/// Compares what was dropped: each value once, only of dead objects, and if `all`, of all dead objects.
pub(crate) fn check_dropped(state: &Tables, all: bool) -> Result<(), Mismatch> {
    let dropped = state.journal.dropped.borrow();
    let once: BTreeSet<_> = dropped.iter().copied().collect();
    expect_same("values dropped once", dropped.len(), once.len())?;
    if let Some(id) = once.difference(&state.model.to_drop).next() {
        return Err(format!("object {id} was dropped, but is alive"));
    }
    match state.model.to_drop.difference(&once).next() {
        Some(id) if all => Err(format!("object {id} is dead, but was not dropped")),
        _ => Ok(()),
    }
}

/// Checks that a heap that was shut down answers everyone, and has nothing left.
pub(crate) fn check_closed(heap: &mut Heap, state: &Tables) -> Result<(), Mismatch> {
    for Witness { observer, .. } in state.journal.witnesses.borrow().iter() {
        expect_same("a weak reference is dead after shutdown", observer.is_dead(heap), true)?;
        expect_same("a weak reference is upgraded after shutdown", observer.upgrade(heap).is_some(), false)?;
    }
    for &(callback, _) in &state.callbacks {
        expect_same("a callback is pending after shutdown", callback.is_pending(heap), false)?;
    }
    expect_same("a guardian hands out after shutdown", heap.next_guarded().is_some(), false)?;
    check_dropped(state, true)
}
