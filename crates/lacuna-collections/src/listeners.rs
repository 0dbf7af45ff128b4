//! [`Listeners`]: whom to tell, without keeping them alive.
//!
//! The list is changed through shared references, so that a listener that is called can add and remove. A notification
//! holds no borrow of the list while a listener runs: it remembers how far it has come by the listener's number, and
//! numbers only grow.

use core::cell::{Cell, RefCell};
use core::fmt;

use lacuna::{Gc, Heap, Mutator, Object, Root, Trace, Weak};

use crate::access::Access;
use crate::pruning::Watermark;

/// What a listener does: gets the scope, the listening object and what there is to tell.
///
/// It is a plain function, so it cannot capture a [`Root`] of the object, which would keep it alive for ever.
pub type Listen<T, Args> = for<'gc> fn(&'gc Mutator<'gc>, Gc<'gc, <T as Object>::Of<'gc>>, &Args);

/// Observers of something: objects with what to call when it happens. The list does not keep them alive; one that has
/// died is not called any more.
///
/// It holds no edges and is changed through `&self`, so it can be a field of an object as it is, without a cell.
///
/// ```
/// use lacuna::{GcCell, Heap, Trace};
/// use lacuna_collections::Listeners;
///
/// #[derive(Trace)]
/// struct Label {
///     text: GcCell<u32>,
/// }
///
/// let mut heap = Heap::new();
/// let count_changed: Listeners<Label, u32> = Listeners::new();
/// let label = heap.alloc(Label { text: GcCell::new(0) });
/// count_changed.add(&mut heap, &label, |cx, label, count| label.set(cx, |label| &label.text, *count));
///
/// assert_eq!(count_changed.notify(&mut heap, &3), 1);
/// assert_eq!(heap.get(&label).text.get(), 3);
///
/// drop(label);
/// heap.collect();
/// assert_eq!(count_changed.notify(&mut heap, &4), 0);
/// ```
#[derive(Trace)]
pub struct Listeners<#[trace(fixed)] T: ?Sized + Object + 'static, #[trace(fixed)] Args: ?Sized + 'static = ()> {
    /// In the order of their numbers.
    #[trace(skip)]
    entries: RefCell<Vec<Entry<T, Args>>>,
    #[trace(skip)]
    next: Cell<u64>,
    #[trace(skip)]
    watermark: Cell<Watermark>,
}

struct Entry<T: ?Sized + Object + 'static, Args: ?Sized + 'static> {
    number: u64,
    target: Weak<T>,
    listen: Listen<T, Args>,
}

impl<T: ?Sized + Object, Args: ?Sized> Clone for Entry<T, Args> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized + Object, Args: ?Sized> Copy for Entry<T, Args> {}

/// A listener in its list, for [`Listeners::remove`]. Dropping it does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Trace)]
pub struct Listener(u64);

impl<T: ?Sized + Object, Args: ?Sized> Listeners<T, Args> {
    /// An empty list. Allocates nothing.
    pub const fn new() -> Self {
        Self { entries: RefCell::new(Vec::new()), next: Cell::new(0), watermark: Cell::new(Watermark::new()) }
    }

    /// Adds a listener, after those there are. The same object may be added more than once.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    #[track_caller]
    pub fn add(&self, heap: &mut Heap, target: &Root<T>, listen: Listen<T, Args>) -> Listener {
        let weak = heap.downgrade(target);
        self.prune_if_worth_it(heap);
        self.push(weak, listen)
    }

    /// [`add`](Self::add), in a scope.
    ///
    /// # Panics
    ///
    /// If there is no memory for the object's weak slot.
    pub fn add_in<'gc, U: ?Sized + Object<Of<'static> = T>>(
        &self,
        cx: &Mutator<'gc>,
        target: Gc<'gc, U>,
        listen: Listen<T, Args>,
    ) -> Listener {
        let weak = target.downgrade(cx);
        self.prune_if_worth_it(cx);
        self.push(weak, listen)
    }

    fn push(&self, target: Weak<T>, listen: Listen<T, Args>) -> Listener {
        let number = self.next.get();
        self.next.set(number + 1);
        self.entries.borrow_mut().push(Entry { number, target, listen });
        Listener(number)
    }

    fn prune_if_worth_it<A: Access>(&self, heap: &A) {
        let entries = self.len_upper_bound();
        if self.watermark.get().is_reached(entries) {
            let collections = heap.collections();
            if self.watermark.get().is_still_valid(collections) {
                self.watermark.set(Watermark::after(entries, collections));
            } else {
                self.prune(heap);
            }
        }
    }

    /// Removes a listener. Returns whether it was in the list, alive or not.
    ///
    /// During a notification, a listener that is removed before its turn is not called.
    pub fn remove(&self, listener: Listener) -> bool {
        let mut entries = self.entries.borrow_mut();
        match entries.binary_search_by_key(&listener.0, |entry| entry.number) {
            Ok(index) => {
                entries.remove(index);
                true
            }
            Err(_) => false,
        }
    }

    /// Removes all listeners.
    pub fn clear(&self) {
        self.entries.borrow_mut().clear();
        self.watermark.set(Watermark::new());
    }

    /// The number of listeners, with those counted in that are dead and not removed yet. Takes constant time.
    pub fn len_upper_bound(&self) -> usize {
        self.entries.borrow().len()
    }

    /// The number of live listeners. Looks at every one.
    pub fn live_count<A: Access>(&self, heap: &A) -> usize {
        self.entries.borrow().iter().filter(|entry| !heap.is_dead(entry.target)).count()
    }

    /// Removes the dead listeners, and returns how many those were. Adding does it when it is worth it, and
    /// [notifying](Self::notify) when it has met any.
    pub fn prune<A: Access>(&self, heap: &A) -> usize {
        let mut entries = self.entries.borrow_mut();
        let before = entries.len();
        entries.retain(|entry| !heap.is_dead(entry.target));
        self.watermark.set(Watermark::after(entries.len(), heap.collections()));
        let room = 2 * entries.len();
        entries.shrink_to(room);
        before - entries.len()
    }

    /// Calls each live listener once, in the order in which they were added, and returns how many were called.
    ///
    /// Each call is a scope of its own, so a collection may run between two, and a listener that dies in it is not
    /// called. Listeners may add, remove and notify; those that are added meanwhile are not called this time. If one
    /// panics, the panic passes through, and those after it are not called.
    #[track_caller]
    pub fn notify(&self, heap: &mut Heap, args: &Args) -> usize {
        self.notify_each(|entry| {
            if heap.is_dead(entry.target) {
                return false;
            }
            heap.enter(|cx| call(cx, entry, args))
        })
    }

    /// [`notify`](Self::notify), in a scope: no collection runs.
    #[track_caller]
    pub fn notify_in<'gc>(&self, cx: &'gc Mutator<'gc>, args: &Args) -> usize {
        self.notify_each(|entry| call(cx, entry, args))
    }

    /// Offers each listener there is now to `call`, which returns whether it is alive. Counts those that are.
    fn notify_each(&self, mut call: impl FnMut(Entry<T, Args>) -> bool) -> usize {
        let end = self.next.get();
        let (mut called, mut met_dead) = (0, Vec::new());
        let (mut index, mut number) = (0, 0);
        while let Some((at, entry)) = self.at_or_after(index, number).filter(|(_, entry)| entry.number < end) {
            (index, number) = (at + 1, entry.number + 1);
            if call(entry) {
                called += 1;
            } else {
                met_dead.push(entry.number);
            }
        }
        if !met_dead.is_empty() {
            // A reference that is dead stays dead, so what was met is still right, whatever the listeners did since.
            self.entries.borrow_mut().retain(|entry| met_dead.binary_search(&entry.number).is_err());
        }
        called
    }

    /// The first listener that has this number or a later one, with its index. If nothing was removed it is at `guess`.
    fn at_or_after(&self, guess: usize, number: u64) -> Option<(usize, Entry<T, Args>)> {
        let entries = self.entries.borrow();
        let is_right = guess <= entries.len()
            && entries.get(guess).is_none_or(|entry| entry.number >= number)
            && (guess == 0 || entries[guess - 1].number < number);
        let index = if is_right { guess } else { entries.partition_point(|entry| entry.number < number) };
        entries.get(index).map(|entry| (index, *entry))
    }
}

/// Calls a listener if it is alive. Returns whether it is.
fn call<'gc, T: ?Sized + Object, Args: ?Sized>(cx: &'gc Mutator<'gc>, entry: Entry<T, Args>, args: &Args) -> bool {
    match cx.upgrade(entry.target) {
        Some(target) => {
            (entry.listen)(cx, target, args);
            true
        }
        None => false,
    }
}

impl<T: ?Sized + Object, Args: ?Sized> Default for Listeners<T, Args> {
    fn default() -> Self {
        Self::new()
    }
}

/// Says how many listeners there are at most.
impl<T: ?Sized + Object, Args: ?Sized> fmt::Debug for Listeners<T, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("len_upper_bound", &self.len_upper_bound()).finish_non_exhaustive()
    }
}
