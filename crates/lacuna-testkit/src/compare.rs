//! Compares a heap with the model.

use std::collections::{BTreeSet, HashMap};

use lacuna::Heap;

use crate::driver::{Tables, expect_same};
use crate::model::{Mismatch, Model, ObjectId};
use crate::objects::Edge;

/// Compares everything that can be seen of a heap. `collected`: all dead values were just dropped.
pub(crate) fn check(heap: &Heap, state: &Tables, collected: bool) -> Result<(), Mismatch> {
    check_numbers(heap, state)?;
    check_references(heap, state)?;
    check_objects(heap, state)?;
    check_dropped(state, collected)
}

fn check_numbers(heap: &Heap, state: &Tables) -> Result<(), Mismatch> {
    let (stats, model) = (heap.stats(), &state.model);
    expect_same("collections", stats.collections, model.collections)?;
    expect_same("live objects", stats.live_objects, model.survivors)?;
    expect_same("roots", stats.roots, model.root_count())?;
    expect_same("observed objects", stats.weak_slots, model.observed())?;
    expect_same("armed registrations", stats.armed, model.armed())?;
    expect_same("queued cleanups", stats.queued_cleanups, model.cleanups.len())?;
    expect_same("queued guardians", stats.queued_guardians, model.guardians.len())?;
    expect_same("external bytes", stats.external_bytes, model.external)?;
    expect_same("callbacks run", stats.callbacks_run, model.callbacks_run)?;
    expect_same("panics", stats.panics, model.panics)?;
    expect_same("registrations cancelled", stats.cancelled, model.cancelled)?;
    expect_same("roots of the program", state.roots.len(), model.roots.len())?;
    expect_same("objects allocated", state.journal.allocated.get(), model.allocated)?;
    expect_same("registrations", state.journal.registrations.get(), model.registrations.len())?;

    let report = heap.verify().map_err(|error| error.to_string())?;
    let live = model.closure(model.anchors());
    let edges = live.iter().map(|&id| model.object(id).edges.iter().flatten().count()).sum::<usize>();
    expect_same("objects that can be reached", report.objects, live.len())?;
    expect_same("edges between them", report.edges, edges)?;
    expect_same("weak slots found", report.weak_slots, model.observed())
}

/// Pairs of weak references whose equality is looked at.
const COMPARED: usize = 24;

fn check_references(heap: &Heap, state: &Tables) -> Result<(), Mismatch> {
    for (observer, reference) in state.observers.iter().zip(&state.model.references) {
        expect_same("a weak reference is dead", observer.is_dead(heap), reference.dead)?;
    }
    let newest = || state.observers.iter().zip(&state.model.references).rev().take(COMPARED);
    for (one, first) in newest() {
        for (other, second) in newest() {
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
    for (observer, reference) in state.observers.iter().zip(&state.model.references) {
        if let Some(root) = observer.upgrade(heap) {
            root.with(heap, |object| walk(object, reference.target, &state.model, &mut places))?;
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
    for observer in &state.observers {
        expect_same("a weak reference is dead after shutdown", observer.is_dead(heap), true)?;
        expect_same("a weak reference is upgraded after shutdown", observer.upgrade(heap).is_some(), false)?;
    }
    for &(cleanup, _) in &state.cleanups {
        expect_same("a cleanup is pending after shutdown", heap.is_pending(cleanup), false)?;
    }
    expect_same("a guardian hands out after shutdown", heap.next_guarded().is_some(), false)?;
    check_dropped(state, true)
}
