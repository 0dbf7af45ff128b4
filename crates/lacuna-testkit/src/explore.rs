//! Small worlds, and everything that can be done in them: all programs of a length, each against the model.
//!
//! Random programs are long and see little of each point in the order of things; here it is the other way round. A
//! world is a program that makes a few objects, and a list of actions. [`explore`] plays every sequence of them after that
//! program, on a heap of its own, and compares at its end: the shorter sequences before, so whoever asks for
//! all lengths in order compares after every step, and finds the shortest sequence that goes wrong.
//!
//! Actions name objects and weak references by the order in which the world made them, whatever happens, and are left
//! out where they would change nothing. A new kind of action needs its name, the operation that it is, and when that
//! changes something.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lacuna::{Heap, Phase};

use crate::driver::{Driver, Setup, Tables};
use crate::model::{Mismatch, Model, ObjectId};
use crate::objects::Kind;
use crate::operations::{Operation, Program};

/// A step that can be taken in a world. Only objects that are rooted can be used, as in any program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Lets a field of an object lead to another.
    Link(ObjectId, usize, ObjectId),
    /// Empties a field of an object.
    Unlink(ObjectId, usize),
    /// Drops a root of an object.
    DropRoot(ObjectId),
    /// Makes a root of a weak reference, if its object has none.
    Upgrade(usize),
    /// Makes a weak reference to an object, a long one or not, if none that lives is there.
    Downgrade(ObjectId, bool),
    /// Registers an object with a guardian, if none is armed.
    Guard(ObjectId),
    /// Puts an entry into a table.
    Insert(ObjectId, [ObjectId; 2], ObjectId),
    /// Takes an entry out of a table.
    Remove(ObjectId, [ObjectId; 2]),
    /// Makes a root of the value of an entry, if it has none.
    LookUp(ObjectId, [ObjectId; 2]),
    /// Runs one callback.
    Drain,
    /// Takes the next guarded object.
    NextGuarded,
    /// Collects.
    Collect,
    /// Collects what was made since the last collection.
    CollectMinor,
    /// Makes an object of the kind of another and a root of it, if there are less than so many objects that were not found
    /// dead.
    Allocate(ObjectId, usize),
    /// Begins a major collection in increments, if none is under way.
    Begin,
    /// Does an increment of so many work units, if one is under way.
    Step(usize),
}

/// A few objects, and what can be done with them.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is about.
    pub name: &'static str,
    /// What makes the objects, and what is registered on them.
    pub begin: &'static [Operation],
    /// What can be done then, in any order and as often as it changes something.
    pub actions: &'static [Action],
}

/// Plays all sequences of so many actions in a world, and compares the heap with the model after the last. Returns
/// how many there are.
///
/// # Errors
///
/// Says where they differ, and after which actions.
pub fn explore(world: &World, setup: Setup, length: usize) -> Result<usize, Mismatch> {
    let mut sequences = 0;
    let mut path = vec![0; length];
    loop {
        let taken = follow(world, setup, &mut path)?;
        sequences += usize::from(taken == length);
        // The next path has another action at the last place where there is one left.
        let mut last = (taken + 1).min(length);
        loop {
            let Some(place) = last.checked_sub(1) else { return Ok(sequences) };
            path[place] += 1;
            path[place + 1..].fill(0);
            if path[place] < world.actions.len() {
                break;
            }
            last = place;
        }
    }
}

/// Takes the actions of a path, or at each place the first that changes something from the path's on. Returns how many were
/// taken: less than all if there is none.
fn follow(world: &World, setup: Setup, path: &mut [usize]) -> Result<usize, Mismatch> {
    let mut tables = Tables::new(setup);
    // A heap that differs may be broken: its drop would only hide how.
    let mut heap = ManuallyDrop::new(Heap::with_config(setup.config()));
    let mut taken = 0;
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut collect = Heap::collect;
        let mut driver = Driver::new(&mut heap, &mut tables, setup, &mut collect);
        driver.play_unchecked(&Program(world.begin.to_vec()))?;
        play(world, driver, path, &mut taken)
    }));
    let difference = match played {
        Ok(Ok(all)) => {
            drop(ManuallyDrop::into_inner(heap));
            return Ok(if all { path.len() } else { taken });
        }
        Ok(Err(difference)) => difference,
        Err(panic) => {
            let message = panic.downcast_ref::<String>().cloned();
            message.or_else(|| panic.downcast_ref().map(|&message: &&str| message.into())).unwrap_or_default()
        }
    };
    let actions: Vec<_> = path[..path.len().min(taken + 1)].iter().map(|&action| world.actions[action]).collect();
    Err(format!("{difference}\nin the world of {} after {actions:?}", world.name))
}

/// Says whether all actions of the path were taken; how many were is counted in `taken`.
fn play(world: &World, mut driver: Driver<'_>, path: &mut [usize], taken: &mut usize) -> Result<bool, Mismatch> {
    let length = path.len();
    for place in path.iter_mut() {
        let model = &driver.state.model;
        let possible = (*place..).zip(&world.actions[*place..]);
        let mut operations = possible.map(|(action, step)| (action, step.operation(model)));
        let Some((action, operation)) = operations.find_map(|(action, operation)| Some((action, operation?))) else {
            return Ok(false);
        };
        *place = action;
        driver.one(operation)?;
        if *taken + 1 == length {
            driver.check(operation == Operation::Collect)?;
        }
        *taken += 1;
    }
    driver.end().map(|()| true)
}

impl Action {
    /// What to do, if it changes anything.
    fn operation(self, model: &Model) -> Option<Operation> {
        let has_root = |id: ObjectId| model.roots.contains(&id);
        let entry = |table: ObjectId, keys: [ObjectId; 2]| {
            let rooted = has_root(table) && keys.iter().all(|&key| has_root(key));
            rooted.then(|| model.look_up(table, keys))
        };
        match self {
            Self::Link(from, field, to) => {
                let (from_root, to_root) = (root(model, from)?, root(model, to)?);
                let changes = model.object(from).edges[field] != Some(to);
                changes.then_some(Operation::Link(from_root, field, to_root, false))
            }
            Self::Unlink(from, field) => {
                let from_root = root(model, from)?;
                model.object(from).edges[field].map(|_| Operation::Unlink(from_root, field))
            }
            Self::DropRoot(id) => Some(Operation::DropRoot(root(model, id)?)),
            Self::Upgrade(weak) => {
                let reference = model.references[weak];
                (!reference.dead && !has_root(reference.target)).then_some(Operation::Upgrade(weak))
            }
            Self::Downgrade(id, long) => {
                let index = root(model, id)?;
                let mut others = model.references.iter().filter(|r| r.target == id && r.long == long);
                others.all(|reference| reference.dead).then_some(Operation::Downgrade(index, long))
            }
            Self::Guard(id) => {
                let index = root(model, id)?;
                (!model.is_guarded(id)).then_some(Operation::Guard(index))
            }
            Self::Insert(table, keys, value) => {
                let (before, value_root) = (entry(table, keys)?, root(model, value)?);
                let insert = Operation::Insert(root_of_table(model, table)?, root_of_keys(model, keys)?, value_root);
                (before != Some(value)).then_some(insert)
            }
            Self::Remove(table, keys) => {
                entry(table, keys)??;
                Some(Operation::Remove(root_of_table(model, table)?, root_of_keys(model, keys)?))
            }
            Self::LookUp(table, keys) => {
                let value = entry(table, keys)??;
                let look_up = Operation::LookUp(root_of_table(model, table)?, root_of_keys(model, keys)?);
                (!has_root(value)).then_some(look_up)
            }
            Self::Drain => (!model.callbacks.is_empty()).then_some(Operation::Drain(1, usize::MAX)),
            Self::NextGuarded => (!model.guardians.is_empty()).then_some(Operation::NextGuarded),
            Self::Collect => Some(Operation::Collect),
            Self::CollectMinor => Some(Operation::CollectMinor),
            Self::Allocate(like, most) => {
                let kind = model.objects.get(&like)?.kind;
                (model.objects.len() < most).then_some(Operation::AllocateRooted(kind))
            }
            Self::Begin => (model.phase == Phase::Idle).then_some(Operation::BeginMajor),
            Self::Step(units) => (model.phase != Phase::Idle).then_some(Operation::Step(units)),
        }
    }
}

/// The position of the first root of an object.
fn root(model: &Model, id: ObjectId) -> Option<usize> {
    model.roots.iter().position(|&root| root == id)
}

/// The position of an object's root among those of objects of some kinds.
fn root_among(model: &Model, id: ObjectId, counts: impl Fn(Kind) -> bool) -> Option<usize> {
    model.roots.iter().filter(|&&root| counts(model.object(root).kind)).position(|&root| root == id)
}

fn root_of_table(model: &Model, id: ObjectId) -> Option<usize> {
    root_among(model, id, |kind| kind.keys().is_some())
}

fn root_of_keys(model: &Model, [one, other]: [ObjectId; 2]) -> Option<[usize; 2]> {
    Some([root_among(model, one, Kind::is_named)?, root_among(model, other, Kind::is_named)?])
}
