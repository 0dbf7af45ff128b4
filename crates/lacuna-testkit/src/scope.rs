//! What operations do within a scope.

use lacuna::Mutator;

use crate::callbacks::Deliberate;
use crate::driver::{Tables, expect_same, pick};
use crate::model::{Mismatch, ObjectId};
use crate::objects::{Edge, Kind};
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
                    self.state.observers.push(object.observe(cx, long));
                    self.state.model.observe(id, long);
                }
            }
            Operation::Upgrade(weak) => {
                if let Some((observer, reference)) = self.state.observer(weak) {
                    let object = observer.upgrade_in(cx);
                    expect_same("a weak reference lives", object.is_some(), !reference.dead)?;
                    self.locals.extend(object.map(|object| (object, reference.target)));
                }
            }
            Operation::Cleanup(object, behaviour, held) => {
                if let Some((object, id)) = self.object(object) {
                    let (payload, held) = self.state.payload(behaviour, held);
                    let result = object.cleanup(cx, payload);
                    return self.state.registered_cleanup(id, behaviour, held, result);
                }
            }
            Operation::Cancel(cleanup) => {
                if let Some(&(cleanup, id)) = pick(&self.state.cleanups, cleanup) {
                    let payload = cx.cancel(cleanup);
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
            _ => {}
        }
        Ok(())
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
        self.locals.push((object, id));
        Ok(())
    }
}
