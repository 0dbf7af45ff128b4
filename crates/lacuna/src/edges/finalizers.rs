//! Registrations on objects, and the queues that a pause fills.
//!
//! ```text
//!             register            target unreachable          drain / next_guarded
//!   (nothing) --------> armed ----------------------> queued --------------------> done
//!                         |                             |
//!                         +---------- cancel, run_now --+----------------------> done
//! ```
//!
//! A *cleanup* is queued when its target is dead, with its payload; a *guardian* when its target would be, and the
//! target lives until it is handed out; a *notification* when the short weak references to its target die. A
//! registration that is done leaves its entry free for another; a generation keeps old ids from meaning the new one.
//!
//! A notification may have an *owner*, an object without which nobody wants to be told. A second registration, on the
//! owner, stands for that: an *ownership*. When the owner is found unreachable the notification is *silenced*: it
//! leaves its target and waits for its payload to be dropped, outside of the pause.
//!
//! - `[INV-FIN-1]` An armed registration is in the list of its target's slot, and nowhere else.
//! - `[INV-FIN-2]` A registration that is queued or silenced is in one list, which is linked through the table, so that a
//!   pause never allocates.
//! - `[INV-FIN-3]` The slot of a queued guardian is that of a live object: queued guardians are roots.
//! - `[INV-FIN-4]` An ownership exists exactly as long as its notification is armed, and each knows the other.

use alloc::collections::BTreeMap;

use hashbrown::HashMap;

use super::callback::Callback;
use super::queue::Queue;
use super::roots::HeapId;
use super::weak::{NONE, SlotIndex, WeakSlots};
use crate::error::Exhausted;
use crate::memory::table::Table;

/// Names a registration: an index and a generation, in one word, since it is copied as one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(Rust, packed(4))]
pub(crate) struct RegistrationId(u64);

impl RegistrationId {
    #[inline(always)]
    pub(crate) fn new(index: u32, generation: u32) -> Self {
        Self(u64::from(index) | u64::from(generation) << 32)
    }

    #[inline(always)]
    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Names a callback that was registered, whatever its payload, in any heap.
///
/// That of a [`Cleanup`](crate::Cleanup) or [`Notification`](crate::Notification), from their method `id`, or that of a
/// [`Failure`](crate::Failure).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallbackId {
    pub(crate) heap: HeapId,
    pub(crate) id: RegistrationId,
}

impl core::fmt::Debug for CallbackId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CallbackId({}:{})", self.id.index(), self.id.generation())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Free,
    Armed,
    Queued,
    /// It was taken out of the table while it was queued. Its entry leaves the queue when its turn comes.
    Spent,
    /// Waits for its payload to be dropped.
    Silenced,
}

/// What happens when the target becomes unreachable. In the order in which a batch runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    /// The callback gets its payload once the target is gone.
    Cleanup,
    /// The callback gets its payload once the target's short weak references are dead.
    Notification,
    /// The target is handed back, with a number, the tag.
    Guardian,
    /// The target owns the notification of the index that the number says, which is silenced.
    Ownership,
}

const CLASSES: usize = 4;

/// One entry of the table. There may be millions, and touching fresh memory is what they cost most.
pub(crate) struct Registration {
    /// What is called, or the number in its place; `None` if the entry is free or spent.
    callback: Option<Callback>,
    /// See [`Tags`].
    tags: Tags,
    generation: u32,
    /// The target's slot, while armed; of a guardian also while queued.
    slot: SlotIndex,
    /// The newer neighbour in the list of the slot, while armed. The collection that queued it, modulo 2³², after that.
    previous: u32,
    /// The older neighbour in the list of the slot, while armed; then the next of whatever list it is in.
    pub(super) next: u32,
}

const _: () = assert!(size_of::<Registration>() <= 48);

/// In one word: class, number and state, and whether there are [`Details`]. The number orders all registrations of the heap
/// by age; it is kept as what is left of it, below the class, so that less is first in a batch.
#[derive(Clone, Copy)]
struct Tags(u64);

impl Tags {
    const CLASS: u32 = 62;
    /// The lowest bit of the number.
    const NUMBER: u32 = 6;
    /// The greatest number.
    const NEWEST: u64 = (1 << (Self::CLASS - Self::NUMBER)) - 1;
    const DETAILED: u64 = 1 << 3;
    const STATE: u64 = 7;

    #[inline(always)]
    fn new(number: u64, class: Class, state: State) -> Self {
        Self((class as u64) << Self::CLASS | (Self::NEWEST - number) << Self::NUMBER | state as u64)
    }

    fn number(self) -> u64 {
        Self::NEWEST - (self.0 >> Self::NUMBER & Self::NEWEST)
    }

    #[inline(always)]
    fn class(self) -> Class {
        match self.0 >> Self::CLASS {
            0 => Class::Cleanup,
            1 => Class::Notification,
            2 => Class::Guardian,
            _ => Class::Ownership,
        }
    }

    #[inline(always)]
    fn state(self) -> State {
        match self.0 & Self::STATE {
            0 => State::Free,
            1 => State::Armed,
            2 => State::Queued,
            3 => State::Spent,
            _ => State::Silenced,
        }
    }

    #[inline(always)]
    fn set_state(&mut self, state: State) {
        self.0 = self.0 & !Self::STATE | state as u64;
    }

    #[inline(always)]
    fn detailed(self) -> bool {
        self.0 & Self::DETAILED != 0
    }

    fn set_detailed(&mut self) {
        self.0 |= Self::DETAILED;
    }

    /// The class, and below it the number, the newest first.
    #[inline(always)]
    fn turn(self) -> u64 {
        self.0 >> Self::NUMBER
    }
}

/// What orders queued registrations: less comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Order {
    batch: u32,
    /// See [`Tags::turn`].
    turn: u64,
}

impl Registration {
    /// Makes a free entry an armed one, which keeps its generation.
    #[inline(always)]
    fn arm(&mut self, callback: Callback, tags: Tags, slot: SlotIndex, next: u32) {
        // A free entry has no callback to be dropped.
        core::mem::forget(self.callback.replace(callback));
        (self.tags, self.slot) = (tags, slot);
        (self.previous, self.next) = (NONE, next);
    }

    /// Says that a collection has queued it.
    #[inline(always)]
    fn queue(&mut self, cycle: u32) {
        self.tags.set_state(State::Queued);
        self.previous = cycle;
    }

    /// See [`Finalizers::spend`].
    #[inline(always)]
    fn spend(&mut self, index: u32, aside: &mut Aside) -> Taken {
        let id = RegistrationId::new(index, self.generation);
        let tags = self.tags;
        self.tags.set_state(State::Spent);
        self.generation += 1;
        Taken {
            id,
            class: tags.class(),
            slot: self.slot,
            callback: self.callback.take().expect("a registration in use has a callback or number"),
            details: if tags.detailed() { aside.remove(index, tags.number()) } else { None },
            number: tags.number(),
        }
    }

    /// See [`Finalizers::free`].
    #[inline(always)]
    fn free(&mut self, index: u32, first_free: &mut u32) {
        self.tags.set_state(State::Free);
        if self.generation < LAST_GENERATION {
            self.next = core::mem::replace(first_free, index);
        }
    }

    fn is_pending(&self) -> bool {
        matches!(self.tags.state(), State::Armed | State::Queued)
    }

    /// Whether it was taken out of the table while it was queued.
    pub(super) fn is_spent(&self) -> bool {
        self.tags.state() == State::Spent
    }

    /// The collection that queued it, modulo 2³².
    pub(super) fn queued_in(&self) -> u32 {
        self.previous
    }

    /// What orders queued registrations: batch by batch, by class, the newest first.
    #[inline(always)]
    pub(super) fn order(&self) -> Order {
        Order { batch: self.queued_in(), turn: self.tags.turn() }
    }
}

/// What few registrations have.
#[derive(Clone, Copy, Default)]
pub(crate) struct Details {
    pub(crate) at_shutdown: bool,
    pub(crate) label: Option<&'static str>,
    /// Bytes outside the heap that the target holds.
    pub(crate) external: usize,
    /// The ownership of an owned notification.
    ownership: Option<u32>,
}

/// What few registrations have is kept beside the table.
#[derive(Default)]
struct Aside {
    /// By index of the registration.
    details: HashMap<u32, Details>,
    /// The indices of those that run at shutdown, by number.
    at_shutdown: BTreeMap<u64, u32>,
}

impl Aside {
    /// Forgets what there is of a registration.
    #[cold]
    fn remove(&mut self, index: u32, number: u64) -> Option<Details> {
        let details = self.details.remove(&index)?;
        if details.at_shutdown {
            self.at_shutdown.remove(&number);
        }
        Some(details)
    }
}

/// A registration that was taken out of the table.
pub(crate) struct Taken {
    pub(crate) id: RegistrationId,
    pub(crate) class: Class,
    pub(crate) slot: SlotIndex,
    pub(crate) callback: Callback,
    details: Option<Details>,
    /// Orders all registrations of the heap by age.
    pub(crate) number: u64,
}

impl Taken {
    pub(crate) fn label(&self) -> Option<&'static str> {
        self.details.and_then(|details| details.label)
    }

    pub(crate) fn external(&self) -> usize {
        self.details.map_or(0, |details| details.external)
    }
}

/// A callback that waits for its target.
pub(crate) struct ArmedCallback<'a> {
    pub(crate) target: SlotIndex,
    pub(crate) owner: Option<SlotIndex>,
    pub(crate) label: Option<&'static str>,
    pub(crate) callback: &'a Callback,
}

pub(crate) struct Finalizers {
    registrations: Table<Registration>,
    aside: Aside,
    /// Or [`NONE`].
    first_free: u32,
    in_use: usize,
    /// By [`Class`].
    armed: [usize; CLASSES],
    /// By [`Class`].
    queued: [usize; CLASSES],
    numbers: u64,
    /// Cleanups and notifications to be called.
    callbacks: Queue,
    /// Guardians whose targets were unreachable.
    guardians: Queue,
    first_silenced: Option<u32>,
    silenced: usize,
    /// The generation that an entry starts with which was never used before.
    start: u32,
}

const LAST_GENERATION: u32 = u32::MAX;

impl Default for Finalizers {
    fn default() -> Self {
        Self {
            registrations: Table::new(),
            aside: Aside::default(),
            first_free: NONE,
            in_use: 0,
            armed: [0; CLASSES],
            queued: [0; CLASSES],
            numbers: 0,
            callbacks: Queue::default(),
            guardians: Queue::default(),
            first_silenced: None,
            silenced: 0,
            start: 0,
        }
    }
}

impl Finalizers {
    /// Makes room for one more registration, of the object of a slot, so that the next [`arm`](Self::arm) of it cannot
    /// fail.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, slots: &mut WeakSlots, slot: SlotIndex) -> Result<(), Exhausted> {
        slots.make_target(slot)?;
        if self.first_free == NONE { self.registrations.reserve() } else { Ok(()) }
    }

    /// Adds a registration, for which there is room, to the slot of its target.
    #[inline(always)]
    pub(crate) fn arm(
        &mut self,
        slots: &mut WeakSlots,
        slot: SlotIndex,
        class: Class,
        callback: Callback,
    ) -> RegistrationId {
        self.armed[class as usize] += 1;
        self.in_use += 1;
        self.numbers += 1;
        let tags = Tags::new(self.numbers, class, State::Armed);
        let newest = slots.registrations_mut(slot);
        let next = *newest;
        let id = if self.first_free == NONE {
            let generation = self.start;
            let armed = Registration { callback: Some(callback), tags, generation, slot, previous: NONE, next };
            RegistrationId::new(self.registrations.push_reserved(armed), generation)
        } else {
            let index = self.first_free;
            let free = &mut self.registrations[index];
            self.first_free = free.next;
            free.arm(callback, tags, slot, next);
            RegistrationId::new(index, free.generation)
        };
        *newest = id.index();
        if next != NONE {
            self.registrations[next].previous = id.index();
        }
        id
    }

    /// Adds a registration to the slot of its target.
    pub(crate) fn register(
        &mut self,
        slots: &mut WeakSlots,
        slot: SlotIndex,
        class: Class,
        callback: Callback,
    ) -> Result<RegistrationId, (Exhausted, Callback)> {
        match self.reserve(slots, slot) {
            Ok(()) => Ok(self.arm(slots, slot, class, callback)),
            Err(reason) => Err((reason, callback)),
        }
    }

    /// Adds a notification to the slot of its target, which is silenced when the object of `owner` is unreachable.
    pub(crate) fn register_owned(
        &mut self,
        slots: &mut WeakSlots,
        slot: SlotIndex,
        owner: SlotIndex,
        callback: Callback,
    ) -> Result<RegistrationId, (Exhausted, Callback)> {
        if self.aside.details.try_reserve(1).is_err() {
            return Err((Exhausted::System, callback));
        }
        let ownership = match self.register(slots, owner, Class::Ownership, Callback::number(u64::from(NONE))) {
            Ok(ownership) => ownership,
            Err((reason, _)) => return Err((reason, callback)),
        };
        match self.register(slots, slot, Class::Notification, callback) {
            Ok(id) => {
                // [INV-FIN-4]
                self.registrations[ownership.index()].callback = Some(Callback::number(u64::from(id.index())));
                self.registrations[id.index()].tags.set_detailed();
                self.aside
                    .details
                    .insert(id.index(), Details { ownership: Some(ownership.index()), ..Details::default() });
                Ok(id)
            }
            Err(refused) => {
                self.take(slots, ownership);
                Err(refused)
            }
        }
    }

    fn get(&self, id: RegistrationId) -> Option<&Registration> {
        let registration = self.registrations.get(id.index())?;
        (registration.generation == id.generation() && registration.is_pending()).then_some(registration)
    }

    /// Whether the registration is armed or queued.
    pub(crate) fn is_pending(&self, id: RegistrationId) -> bool {
        self.get(id).is_some()
    }

    /// The callback of a pending cleanup or notification.
    pub(crate) fn callback(&self, id: RegistrationId) -> Option<&Callback> {
        self.get(id)?.callback.as_ref()
    }

    /// Changes the details of a pending registration; says what they were before.
    pub(crate) fn change_details(&mut self, id: RegistrationId, change: impl FnOnce(&mut Details)) -> Option<Details> {
        let registration = self.registrations.get_mut(id.index())?;
        if registration.generation != id.generation() || !registration.is_pending() {
            return None;
        }
        registration.tags.set_detailed();
        let number = registration.tags.number();
        let details = self.aside.details.entry(id.index()).or_default();
        let before = *details;
        change(details);
        match (before.at_shutdown, details.at_shutdown) {
            (false, true) => drop(self.aside.at_shutdown.insert(number, id.index())),
            (true, false) => drop(self.aside.at_shutdown.remove(&number)),
            _ => {}
        }
        Some(before)
    }

    /// Takes a pending registration out, whether armed or queued.
    pub(crate) fn take(&mut self, slots: &mut WeakSlots, id: RegistrationId) -> Option<Taken> {
        match self.get(id)?.tags.state() {
            State::Armed => {
                self.disown(slots, id.index());
                self.unlink(slots, id.index());
                let taken = self.spend(id.index());
                self.free(id.index());
                Some(taken)
            }
            _ => {
                let taken = self.spend(id.index());
                self.queued[taken.class as usize] -= 1;
                Some(taken)
            }
        }
    }

    /// Takes an armed registration out of the list of its slot.
    fn unlink(&mut self, slots: &mut WeakSlots, index: u32) {
        let Registration { previous, next, slot, tags, .. } = self.registrations[index];
        self.armed[tags.class() as usize] -= 1;
        if previous == NONE {
            *slots.registrations_mut(slot) = next;
        } else {
            self.registrations[previous].next = next;
        }
        if next != NONE {
            self.registrations[next].previous = previous;
        }
    }

    /// Ends the ownership of a registration that is about to be armed no more. `[INV-FIN-4]`
    fn disown(&mut self, slots: &mut WeakSlots, index: u32) {
        if self.registrations[index].tags.detailed()
            && let Some(details) = self.aside.details.get_mut(&index)
            && let Some(ownership) = details.ownership.take()
        {
            self.unlink(slots, ownership);
            self.spend(ownership);
            self.free(ownership);
        }
    }

    /// Takes what a registration has, and makes its ids invalid. Its entry stays in the queue that it may be in.
    fn spend(&mut self, index: u32) -> Taken {
        self.in_use -= 1;
        self.registrations[index].spend(index, &mut self.aside)
    }

    /// Makes a spent entry, which is in no list any more, free for another registration.
    fn free(&mut self, index: u32) {
        self.registrations[index].free(index, &mut self.first_free);
    }

    /// Whether any guardian is armed: if not, a pause has fewer steps.
    pub(crate) fn has_guardians(&self) -> bool {
        self.armed[Class::Guardian as usize] > 0
    }

    /// Whether any notification has an owner: if not, a pause has a step less.
    pub(crate) fn has_owners(&self) -> bool {
        self.armed[Class::Ownership as usize] > 0
    }

    /// Silences the notifications that an unreachable object owns.
    pub(crate) fn silence_owned(&mut self, slots: &mut WeakSlots, slot: SlotIndex) {
        let mut next = slots.registrations(slot);
        while next != NONE {
            let registration = &self.registrations[next];
            next = registration.next;
            if registration.tags.class() != Class::Ownership {
                continue;
            }
            let notification = registration.callback.as_ref().and_then(Callback::as_number).unwrap_or_default() as u32;
            if next == notification {
                // An object may own a notification on itself.
                next = self.registrations[notification].next;
            }
            self.disown(slots, notification);
            self.unlink(slots, notification);
            let registration = &mut self.registrations[notification];
            self.aside.at_shutdown.remove(&registration.tags.number());
            registration.tags.set_state(State::Silenced);
            registration.next = self.first_silenced.unwrap_or(NONE);
            self.first_silenced = Some(notification);
            self.silenced += 1;
        }
    }

    /// Notifications that were silenced and whose payload was not dropped yet.
    pub(crate) fn silenced(&self) -> usize {
        self.silenced
    }

    /// The next silenced notification, taken out.
    pub(crate) fn next_silenced(&mut self) -> Option<Taken> {
        let index = self.first_silenced?;
        let next = self.registrations[index].next;
        self.first_silenced = (next != NONE).then_some(next);
        self.silenced -= 1;
        let taken = self.spend(index);
        self.free(index);
        Some(taken)
    }

    /// Queues the guardians among the registrations of an unreachable object.
    pub(crate) fn queue_guardians(&mut self, slots: &mut WeakSlots, slot: SlotIndex, cycle: u32) {
        self.queue_class(slots, slot, Class::Guardian, cycle);
    }

    /// Queues the notifications among the registrations of an object whose short weak references die.
    pub(crate) fn queue_notifications(&mut self, slots: &mut WeakSlots, slot: SlotIndex, cycle: u32) {
        if self.armed[Class::Notification as usize] > 0 {
            self.queue_class(slots, slot, Class::Notification, cycle);
        }
    }

    fn queue_class(&mut self, slots: &mut WeakSlots, slot: SlotIndex, class: Class, cycle: u32) {
        let mut next = slots.registrations(slot);
        while next != NONE {
            let index = next;
            next = self.registrations[index].next;
            if self.registrations[index].tags.class() == class {
                self.unlink(slots, index);
                self.queue(slots, index, cycle);
            }
        }
    }

    /// Queues the cleanups and notifications of a dead object, the only registrations that it can still have, from the
    /// newest on. Returns the external bytes that it held.
    #[inline(always)]
    pub(crate) fn queue_callbacks(&mut self, slots: &mut WeakSlots, newest: u32, cycle: u32) -> usize {
        let mut external = 0_usize;
        let mut next = newest;
        while next != NONE {
            let index = next;
            let registration = &mut self.registrations[index];
            next = registration.next;
            let class = registration.tags.class();
            self.armed[class as usize] -= 1;
            if registration.tags.detailed() {
                external = external.saturating_add(self.take_external(index));
                self.queue(slots, index, cycle);
            } else {
                registration.queue(cycle);
                self.queued[class as usize] += 1;
                self.callbacks.push(registration, index);
            }
        }
        external
    }

    #[cold]
    #[inline(never)]
    fn take_external(&mut self, index: u32) -> usize {
        self.aside.details.get_mut(&index).map_or(0, |details| core::mem::take(&mut details.external))
    }

    /// Puts a registration that left its target's list into its queue.
    #[inline(never)]
    fn queue(&mut self, slots: &mut WeakSlots, index: u32, cycle: u32) {
        self.disown(slots, index);
        let registration = &mut self.registrations[index];
        registration.queue(cycle);
        let class = registration.tags.class();
        self.queued[class as usize] += 1;
        let queue = if class == Class::Guardian { &mut self.guardians } else { &mut self.callbacks };
        queue.push(registration, index);
    }

    /// The slots of queued guardians' targets.
    pub(crate) fn guarded_slots(&self) -> impl Iterator<Item = SlotIndex> {
        let registrations = self.guardians.iter(&self.registrations);
        registrations.filter(|registration| !registration.is_spent()).map(|registration| registration.slot)
    }

    /// Frees the entries at the beginning of the queue of callbacks that were taken out since; returns the first that was
    /// not.
    fn skip_spent(&mut self) -> Option<&Registration> {
        loop {
            let index = self.callbacks.first(&mut self.registrations)?;
            if !self.registrations[index].is_spent() {
                return Some(&self.registrations[index]);
            }
            self.callbacks.advance(&self.registrations[index]);
            self.free(index);
        }
    }

    /// The collection that queued the next callback, modulo 2³².
    pub(crate) fn next_queued_in(&mut self) -> Option<u32> {
        self.skip_spent().map(Registration::queued_in)
    }

    /// The next queued cleanup or notification, taken out.
    #[inline(always)]
    pub(crate) fn next_callback(&mut self) -> Option<Taken> {
        self.next(false)
    }

    /// The next queued guardian, taken out.
    pub(crate) fn next_guardian(&mut self) -> Option<Taken> {
        self.next(true)
    }

    #[inline(always)]
    fn next(&mut self, guardian: bool) -> Option<Taken> {
        let Self { registrations, aside, first_free, .. } = self;
        let queue = if guardian { &mut self.guardians } else { &mut self.callbacks };
        loop {
            let index = queue.first(registrations)?;
            let registration = &mut registrations[index];
            queue.advance(registration);
            if registration.is_spent() {
                registration.free(index, first_free);
                continue;
            }
            let taken = registration.spend(index, aside);
            registration.free(index, first_free);
            self.in_use -= 1;
            self.queued[taken.class as usize] -= 1;
            return Some(taken);
        }
    }

    /// Takes up to `limit` queued cleanups out that another thread may call, in the order of the queue.
    pub(crate) fn take_sendable(&mut self, limit: usize, mut take: impl FnMut(Taken)) {
        let mut left = limit;
        self.callbacks.order(&mut self.registrations);
        let mut previous = None;
        let mut next = self.callbacks.first_ordered();
        while left > 0
            && let Some(index) = next
        {
            let registration = &self.registrations[index];
            next = (registration.next != NONE).then_some(registration.next);
            if registration.callback.as_ref().is_some_and(Callback::is_send) {
                let taken = self.spend(index);
                self.queued[taken.class as usize] -= 1;
                left -= 1;
                take(taken);
            }
            // What was taken out leaves the queue here: those before it may wait for ever.
            if self.registrations[index].is_spent() {
                self.callbacks.remove(&mut self.registrations, previous, index);
                self.free(index);
            } else {
                previous = Some(index);
            }
        }
    }

    /// The newest cleanup or notification that runs at shutdown, taken out of wherever it is.
    pub(crate) fn next_at_shutdown(&mut self, slots: &mut WeakSlots) -> Option<Taken> {
        let (_, &index) = self.aside.at_shutdown.last_key_value()?;
        let id = RegistrationId::new(index, self.registrations[index].generation);
        self.take(slots, id)
    }

    /// The number of the newest registration so far.
    pub(crate) fn registered(&self) -> u64 {
        self.numbers
    }

    /// Registrations of a class that are queued: not yet run, or handed out.
    pub(crate) fn queued(&self, class: Class) -> usize {
        self.queued[class as usize]
    }

    /// Cleanups and notifications queued and not yet run.
    pub(crate) fn queued_callbacks(&self) -> usize {
        self.queued(Class::Cleanup) + self.queued(Class::Notification)
    }

    /// Registrations armed, ownerships not counted.
    pub(crate) fn armed(&self) -> usize {
        self.armed.iter().sum::<usize>() - self.armed[Class::Ownership as usize]
    }

    /// The collection that queued the oldest callback that waits. One that was taken out of the queue since may count
    /// until the next drain.
    pub(crate) fn oldest_queued_in(&self) -> Option<u32> {
        if self.queued_callbacks() > 0 { self.callbacks.oldest(&self.registrations) } else { None }
    }

    /// Bytes of the table.
    pub(crate) fn bytes(&self) -> usize {
        self.registrations.bytes()
    }

    /// The callbacks of armed cleanups and notifications.
    pub(crate) fn armed_callbacks(&self) -> impl Iterator<Item = ArmedCallback<'_>> {
        self.registrations.iter().enumerate().filter_map(|(index, registration)| {
            let tags = registration.tags;
            if tags.state() != State::Armed || !matches!(tags.class(), Class::Cleanup | Class::Notification) {
                return None;
            }
            let details = self.aside.details.get(&(index as u32)).copied().unwrap_or_default();
            let owner = details.ownership.map(|ownership| self.registrations[ownership].slot);
            let callback = registration.callback.as_ref()?;
            Some(ArmedCallback { target: registration.slot, owner, label: details.label, callback })
        })
    }

    /// Gives the tables back if there is no registration. Those made later start with a generation no id has yet.
    pub(crate) fn release_if_unused(&mut self) {
        if self.in_use > 0 || self.bytes() == 0 {
            return;
        }
        let start = self.registrations.iter().map(|registration| registration.generation).max().unwrap_or(self.start);
        if start < LAST_GENERATION {
            *self = Self { start, numbers: self.numbers, ..Self::default() };
        }
    }

    /// Forgets a registration of those that are left, without running anything; `None` if none is left.
    pub(crate) fn forget_one(&mut self, slots: &mut WeakSlots, from: &mut u32) -> Option<Taken> {
        if let Some(taken) = self.next_silenced() {
            return Some(taken);
        }
        while self.in_use > 0 && *from < self.registrations.length() {
            let registration = &self.registrations[*from];
            let id = RegistrationId::new(*from, registration.generation);
            *from += 1;
            // An ownership goes with its notification.
            if registration.is_pending() && registration.tags.class() != Class::Ownership {
                return self.take(slots, id);
            }
        }
        None
    }
}
