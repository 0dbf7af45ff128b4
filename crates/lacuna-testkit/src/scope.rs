//! What operations do within a scope.

use lacuna::Mutator;

use crate::callbacks::{Callback, Death, Deliberate};
use crate::driver::{Tables, expect_same, pick};
use crate::model::{Class, Mismatch, ObjectId};
use crate::objects::{Edge, Key, Kind, Value};
use crate::operations::Operation;

struct Scope<'a, 'gc> {
    cx: &'a Mutator<'gc>,
    state: &'a mut Tables,
    /// Objects made or found in this scope.
    locals: Vec<(Edge<'gc>, ObjectId)>,
}

/// Plays operations on the heap and the model. Nothing is collected in a scope, so they go side by side.
pub(crate) fn play(cx: &Mutator<'_>, state: &mut Tables, operations: &[Operation]) -> Result<(), Mismatch> {
    let mut scope = Scope { cx, state, locals: Vec::new() };
    operations.iter().try_for_each(|&operation| scope.step(operation))
}

impl<'gc> Scope<'_, 'gc> {
    /// An object by its position among the locals and those that roots hold.
    fn object(&self, index: usize) -> Option<(Edge<'gc>, ObjectId)> {
        let index = index.checked_rem(self.locals.len() + self.state.roots.len())?;
        match index.checked_sub(self.locals.len()) {
            None => Some(self.locals[index]),
            Some(root) => Some((self.state.roots[root].edge(self.cx), self.state.model.roots[root])),
        }
    }

    fn step(&mut self, operation: Operation) -> Result<(), Mismatch> {
        let cx = self.cx;
        match operation {
            Operation::Panic => std::panic::resume_unwind(Box::new(Deliberate)),
            Operation::Allocate(kind, length, edges) => return self.allocate(kind, length, edges),
            Operation::Link(from, field, to, named) => {
                let (Some((from, from_id)), Some((to, to_id))) = (self.object(from), self.object(to)) else {
                    return Ok(());
                };
                let object = self.state.model.object(from_id);
                if !from.can_be_changed() {
                    return Ok(());
                }
                if object.kind == Kind::Bag {
                    from.set(cx, 0, Some(to));
                    self.state.model.set(from_id, 0, Some(to_id));
                } else if let Some(field) = field.checked_rem(object.edges.len()) {
                    let named = named && self.state.model.object(to_id).kind.is_named();
                    from.set(cx, field, Some(if named { to.named() } else { to }));
                    self.state.model.set(from_id, field, Some(to_id));
                }
            }
            Operation::Unlink(from, field) => {
                if let Some((from, id)) = self.object(from)
                    && from.can_be_changed()
                    && let Some(field) = field.checked_rem(self.state.model.object(id).edges.len())
                {
                    from.set(cx, field, None);
                    self.state.model.set(id, field, None);
                }
            }
            Operation::Root(object) => {
                if let Some((object, id)) = self.object(object) {
                    self.state.roots.push(object.root(cx));
                    self.state.model.roots.push(id);
                }
            }
            Operation::CloneRoot(root) => self.state.clone_root(root),
            Operation::DropRoot(root) => self.state.drop_root(root),
            Operation::Downgrade(object, long) => {
                if let Some((object, id)) = self.object(object) {
                    self.state.observed(object.observe(cx, long), id, long);
                }
            }
            Operation::Upgrade(weak) => {
                if let Some((observer, reference)) = self.state.observer(weak) {
                    let object = observer.upgrade_in(cx);
                    expect_same("a weak reference lives", object.is_some(), !reference.dead)?;
                    if let Some(object) = object {
                        self.locals.push((object, reference.target));
                        self.state.model.keep(reference.target);
                    }
                }
            }
            Operation::Cleanup(object, behaviour, held) => {
                if let Some((object, id)) = self.object(object) {
                    let (payload, held) = self.state.payload(Death::Object(id), behaviour, held);
                    let result = object.cleanup(cx, payload);
                    let result = result.map(Callback::Cleanup);
                    return self.state.registered(id, Class::Cleanup(behaviour), held, result);
                }
            }
            Operation::Cancel(callback) => {
                if let Some(&(callback, id)) = pick(&self.state.callbacks, callback) {
                    let payload = callback.cancel_in(cx);
                    return self.state.cancelled(id, payload);
                }
            }
            Operation::Guard(object) => {
                if let Some((object, id)) = self.object(object) {
                    let result = object.guard(cx, self.state.journal.registrations.get() as u64);
                    return self.state.registered_guard(id, result);
                }
            }
            Operation::AddExternal(bytes) => {
                cx.add_external(bytes);
                self.state.model.external += bytes;
            }
            Operation::SubExternal(bytes) => {
                cx.sub_external(bytes);
                self.state.model.external = self.state.model.external.saturating_sub(bytes);
            }
            Operation::Insert(table, keys, value) => {
                if let (Some((table, table_id)), Some((keys, key_ids)), Some((value, value_id))) =
                    (self.table(table), self.keys(keys), self.object(value))
                {
                    let before = table.insert(cx, keys, value, value_id);
                    self.check_value("the value before", before, self.state.model.look_up(table_id, key_ids))?;
                    self.state.model.put(table_id, key_ids, value_id);
                }
            }
            Operation::Remove(table, keys) => {
                if let (Some((table, table_id)), Some((keys, key_ids))) = (self.table(table), self.keys(keys)) {
                    let removed = table.remove(cx, keys);
                    self.check_value("the removed value", removed, self.state.model.look_up(table_id, key_ids))?;
                    self.state.model.take_out(table_id, key_ids);
                }
            }
            Operation::LookUp(table, keys) => {
                if let (Some((table, table_id)), Some((keys, key_ids))) = (self.table(table), self.keys(keys)) {
                    let expected = self.state.model.look_up(table_id, key_ids);
                    let found = table.look_up(keys);
                    self.check_value("the value found", found, expected)?;
                    if let (Some(Value::Object(value)), Some(id)) = (found, expected) {
                        self.locals.insert(0, (value, id));
                    }
                }
            }
            Operation::Iterate(table, entry) => {
                if let Some((table, id)) = self.table(table)
                    && let Some(expected) = pick(&self.state.model.object(id).entries, entry)
                {
                    let entries = table.entries();
                    let found = pick(&entries, entry).ok_or("a table is empty")?;
                    if let (Value::Object(value), Some(&key)) = (found.value, expected.keys.last()) {
                        let key = (found.keys.last().map(|&key| Edge::Dyn(key)).ok_or("an entry without keys")?, key);
                        self.locals.splice(0..0, [(value, expected.value), key]);
                    }
                }
            }
            Operation::Tidy(table, clear) => {
                if let Some((table, id)) = self.table(table) {
                    table.tidy(cx, clear);
                    if clear {
                        self.state.model.clear(id);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A table by its position among the objects that are one.
    fn table(&self, index: usize) -> Option<(Edge<'gc>, ObjectId)> {
        let is_table = |&(edge, id): &(Edge<'gc>, ObjectId)| {
            edge.can_be_changed() && self.state.model.object(id).kind.keys().is_some()
        };
        pick(&self.objects().filter(is_table).collect::<Vec<_>>(), index).copied()
    }

    /// Two keys by their positions among the objects that can be some.
    fn keys(&self, [one, other]: [usize; 2]) -> Option<([Key<'gc>; 2], [ObjectId; 2])> {
        let keys: Vec<_> = self.objects().filter_map(|(edge, id)| Some((edge.key()?, id))).collect();
        let (one, other) = (*pick(&keys, one)?, *pick(&keys, other)?);
        Some(([one.0, other.0], [one.1, other.1]))
    }

    fn objects(&self) -> impl Iterator<Item = (Edge<'gc>, ObjectId)> {
        (0..self.locals.len() + self.state.roots.len()).filter_map(|index| self.object(index))
    }

    /// Compares what a table said with the model.
    fn check_value(&self, what: &str, found: Option<Value<'gc>>, expected: Option<ObjectId>) -> Result<(), Mismatch> {
        match (found, expected) {
            (None, None) => Ok(()),
            (Some(Value::Label(label)), Some(id)) => expect_same(what, label, id),
            (Some(Value::Object(value)), Some(id)) => {
                let object = self.state.model.object(id);
                expect_same(what, value.matches(object.kind, object.length, id), true)
            }
            (found, expected) => expect_same(what, found.is_some(), expected.is_some()),
        }
    }

    fn allocate(&mut self, kind: Kind, length: usize, edges: [usize; 2]) -> Result<(), Mismatch> {
        // Header and tail can only be allocated or panic.
        let kind = if kind == Kind::Record && self.state.limited { Kind::Pair } else { kind };
        let targets = edges.map(|index| self.object(index));
        let id = self.state.model.reserve();
        self.state.journal.allocated.set(id + 1);
        let edges = targets.map(|target| target.map(|(edge, _)| edge));
        let Some(object) = Edge::allocate(self.cx, kind, length, id, edges, &self.state.journal) else {
            return if self.state.limited { Ok(()) } else { Err("an allocation failed without a limit".into()) };
        };
        let ids = targets.map(|target| target.map(|(_, id)| id));
        self.state.model.insert(id, kind, length, Edge::initial(kind, length, ids));
        self.state.journal.probe_in(self.cx, object, id);
        self.locals.push((object, id));
        Ok(())
    }
}
