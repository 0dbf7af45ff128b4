//! A second opinion of the whole heap, formed without the collector's own means.

use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;

use hashbrown::HashSet;

use super::core::Core;
use crate::memory::bitmap::GRANULE;
use crate::memory::bitmap::ones;
use crate::memory::block::Block;
use crate::memory::chunk::{BLOCK_SIZE, is_dirty, is_marked};
use crate::memory::space::Space;
use crate::object::descriptor::{ObjectRef, object_at, suspect};
use crate::object::edges::{EdgeList, Waiting};

/// What a walk over the heap found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Objects that can be reached.
    pub objects: usize,
    /// Bytes of those objects, without what their cells round up.
    pub bytes: usize,
    /// Edges between them.
    pub edges: usize,
    /// Objects that are observed.
    pub weak_slots: usize,
}

/// What is wrong with a heap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    what: &'static str,
    object: Option<&'static str>,
    referrer: Option<&'static str>,
}

impl VerifyError {
    fn new(what: &'static str) -> Self {
        Self { what, object: None, referrer: None }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some(object) = self.object {
            write!(f, " (an object of type {object})")?;
        }
        if let Some(referrer) = self.referrer {
            write!(f, ", reached from an object of type {referrer}")?;
        }
        Ok(())
    }
}

impl core::error::Error for VerifyError {}

/// Walks everything that roots and queued guardians lead to.
pub(crate) fn verify(core: &Core) -> Result<VerifyReport, VerifyError> {
    walk(core, false, None)
}

/// [`verify`] when a collection has just ended marking: everything reached must be marked. `marked`: so many objects are,
/// and nothing else may be.
pub(crate) fn verify_marks(core: &Core, marked: Option<usize>) -> Result<(), VerifyError> {
    walk(core, true, marked).map(drop)
}

fn walk(core: &Core, all_marked: bool, marked: Option<usize>) -> Result<VerifyReport, VerifyError> {
    core.pool.check().map_err(VerifyError::new)?;
    if core.closed {
        // All objects are gone.
        return Ok(VerifyReport::default());
    }
    let cells = Cells::of(core);
    let mut report = VerifyReport::default();
    let mut reached = HashSet::new();
    let mut pending: Vec<(ObjectRef, Option<&'static str>)> = Vec::new();
    let mut waiting = Waiting::default();
    let mut keys: Vec<(NonNull<u8>, &'static str)> = Vec::new();
    pending.extend(core.roots.targets().map(|object| (object, None)));
    for slot in core.finalizers.guarded_slots() {
        let object = core.weak.slot(slot).object();
        pending.push((object.ok_or(VerifyError::new("a queued guardian has lost its object"))?, None));
    }
    while let Some((object, referrer)) = pending.pop() {
        if !reached.insert(object) {
            continue;
        }
        cells.check(object).map_err(|what| VerifyError { what, object: None, referrer })?;
        let name = (object.descriptor().type_name)();
        if all_marked && !is_marked(object.cell()) {
            let what = "an object that can be reached was not marked";
            return Err(VerifyError { what, object: Some(name), referrer });
        }
        report.objects += 1;
        report.bytes += object.bytes();
        let mut list = EdgeList::default();
        object.list_edges(&mut list);
        report.edges += list.edges.len();
        // The cells are checked before anything is read from them.
        pending.extend(list.edges.iter().map(|&cell| (cells.object(cell), Some(name))));
        keys.extend(list.keys.into_iter().map(|cell| (cell, name)));
        let now_free = waiting.reached(object.cell());
        let dependent = list.dependent.into_iter().map(|edge| (name, edge)).chain(now_free);
        for (name, edge) in dependent {
            let is_reached = |cell| reached.contains(&cells.object(cell));
            if let Some((name, target)) = waiting.admit(name, edge, is_reached) {
                report.edges += 1;
                pending.push((cells.object(target), Some(name)));
            }
        }
    }
    for (key, name) in keys {
        let key = cells.object(key);
        cells.check(key).map_err(|what| VerifyError { what, object: None, referrer: Some(name) })?;
        if marked.is_some() && !reached.contains(&key) {
            let what = "an ephemeron was not removed though a key of it is dead";
            return Err(VerifyError { what, object: Some((key.descriptor().type_name)()), referrer: Some(name) });
        }
    }
    if marked.is_some_and(|marked| report.objects != marked) {
        return Err(VerifyError::new("more objects are marked than can be reached"));
    }
    check_barrier(core)?;
    let mut error = None;
    core.weak.each(|index, object| {
        report.weak_slots += 1;
        if cells.check(object).is_err() {
            error = Some(VerifyError::new("a weak slot leads to a cell that holds no object"));
        } else if core.weak.find(object) != Some(index) {
            error = Some(VerifyError::new("an observed object does not know its weak slot"));
        }
    });
    match error {
        Some(error) => Err(error),
        None if report.weak_slots != core.weak.in_use() => Err(VerifyError::new("weak slots do not add up")),
        None => Ok(report),
    }
}

/// Checks `[INV-CYCLE-2]`.
fn check_barrier(core: &Core) -> Result<(), VerifyError> {
    if !core.armed || core.marker.has_overflowed() {
        return Ok(());
    }
    let written = core.segments.iter().map(|&(object, _)| object);
    let queued: HashSet<ObjectRef> = core.marker.queued().chain(written).collect();
    let remembered: HashSet<ObjectRef> = core.remembered.iter().flat_map(|written| written.objects()).collect();
    let small = core.spaces.iter().flat_map(|space| {
        space.all_blocks().flat_map(move |block| {
            block.marks().iter().enumerate().flat_map(move |(word, marks)| {
                ones(marks.get()).map(move |bit| object_at(block, space.starts.offset(word, bit)))
            })
        })
    });
    let large = core.larges.iter().filter(|run| is_marked(run.base())).map(|run| object_at(run, 0));
    for object in small.chain(large) {
        if !object.descriptor().edges || is_dirty(object.cell()) || queued.contains(&object) {
            continue;
        }
        let mut list = EdgeList::default();
        object.list_edges(&mut list);
        let is_unknown = |&&target: &&NonNull<u8>| !is_marked(target) && !remembered.contains(&suspect(target));
        if let Some(&target) = list.edges.iter().find(is_unknown) {
            return Err(VerifyError {
                what: "an object that was looked into and is not dirty leads to one that is neither marked nor dirty",
                object: Some((suspect(target).descriptor().type_name)()),
                referrer: Some((object.descriptor().type_name)()),
            });
        }
    }
    Ok(())
}

/// The cells of a heap that may hold objects.
struct Cells<'a> {
    core: &'a Core,
    blocks: HashSet<usize>,
}

impl<'a> Cells<'a> {
    fn of(core: &'a Core) -> Self {
        let small = core.spaces.iter().flat_map(Space::all_blocks);
        let blocks = small.chain(core.larges.iter()).map(|block| block.base().addr().get()).collect();
        Self { core, blocks }
    }

    fn object(&self, cell: NonNull<u8>) -> ObjectRef {
        crate::object::descriptor::suspect(cell)
    }

    /// Whether a cell is one that may hold an object.
    fn check(&self, object: ObjectRef) -> Result<(), &'static str> {
        let cell = object.cell();
        let block = Block::of(cell);
        if !self.blocks.contains(&block.base().addr().get()) {
            return Err("an edge leads out of the heap, or to a block that is not in use");
        }
        let offset = cell.addr().get() % BLOCK_SIZE;
        if core::ptr::eq(block.kind().get(), core::ptr::null()) {
            return Err("an edge leads to a free block");
        }
        if block.cell_index(cell) * block.info().cell_size.get() != offset {
            return Err("an edge leads into the middle of a cell");
        }
        if self.core.is_free(block, offset / GRANULE) {
            return Err("an edge leads to a free cell");
        }
        Ok(())
    }
}
