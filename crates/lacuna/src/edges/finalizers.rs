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
//! - `[INV-FIN-2]` Each queue has room for every registration that is armed beside what is queued, so that a pause
//!   never allocates. The list of silenced registrations needs no room but theirs.
//! - `[INV-FIN-3]` The slot of a queued guardian is that of a live object: queued guardians are roots.
//! - `[INV-FIN-4]` An ownership exists exactly as long as its notification is armed, and each knows the other.

use alloc::collections::VecDeque;

use super::callback::{Callback, SendCallback};
use hashbrown::HashMap;

use super::weak::{NONE, SlotIndex, WeakSlots};
use crate::error::Exhausted;
use crate::memory::table::Table;

/// Names a registration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct RegistrationId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Armed,
    Queued,
    /// Waits for its payload to be dropped.
    Silenced,
}

/// What happens when the target becomes unreachable.
pub(crate) enum Action {
    /// The callback gets its payload once the target is gone.
    Cleanup(Callback),
    /// Likewise, and another thread may call it.
    SendCleanup(SendCallback),
    /// The target is handed back.
    Guardian { tag: u64 },
    /// The callback gets its payload once the target's short weak references are dead.
    Notification(Callback),
    /// The target owns the notification of this index, which is silenced.
    Ownership { notification: u32 },
}

impl Action {
    fn class(&self) -> Class {
        match self {
            Self::Cleanup(_) | Self::SendCleanup(_) => Class::Cleanup,
            Self::Guardian { .. } => Class::Guardian,
            Self::Notification(_) => Class::Notification,
            Self::Ownership { .. } => Class::Ownership,
        }
    }

    fn callback(&self) -> Option<&Callback> {
        match self {
            Self::Cleanup(callback) | Self::Notification(callback) => Some(callback),
            Self::SendCleanup(callback) => Some(callback.as_callback()),
            Self::Guardian { .. } | Self::Ownership { .. } => None,
        }
    }

    /// What is called, if anything is.
    pub(crate) fn into_callback(self) -> Option<Callback> {
        match self {
            Self::Cleanup(callback) | Self::Notification(callback) => Some(callback),
            Self::SendCleanup(callback) => Some(callback.into_callback()),
            Self::Guardian { .. } | Self::Ownership { .. } => None,
        }
    }
}

/// What kind of registration it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Cleanup,
    Guardian,
    Notification,
    Ownership,
}

const CLASSES: usize = 4;

struct Registration {
    action: Option<Action>,
    /// Orders all registrations of the heap by age.
    number: u64,
    generation: u32,
    /// The target's slot, while armed; of a guardian also while queued.
    slot: SlotIndex,
    /// Neighbours in the list of the slot: the next is older.
    previous: u32,
    next: u32,
    /// The collection that queued it, modulo 2³².
    queued_in: u32,
    state: State,
    /// Whether there are [`Details`] of it.
    detailed: bool,
}

const _: () = assert!(size_of::<Registration>() <= 64);

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

/// A place in a queue. Has what orders its registration, so that ordering a batch looks at the queue only.
struct Queued {
    /// The number of the registration, with [`CLEANUP_FIRST`] set for cleanups.
    order: u64,
    id: RegistrationId,
}

/// Within a batch cleanups come before notifications.
const CLEANUP_FIRST: u64 = 1 << 63;

/// A registration that was taken out of the table.
pub(crate) struct Taken {
    pub(crate) id: RegistrationId,
    pub(crate) slot: SlotIndex,
    pub(crate) action: Action,
    pub(crate) details: Details,
    /// Orders all registrations of the heap by age.
    pub(crate) number: u64,
}

impl Registration {
    fn is_pending(&self) -> bool {
        matches!(self.state, State::Armed | State::Queued)
    }

    fn class(&self) -> Class {
        self.action.as_ref().expect("a registration in use has an action").class()
    }

    /// An entry that is not in use.
    fn free(generation: u32) -> Self {
        Self {
            action: None,
            number: 0,
            generation,
            slot: NONE,
            previous: NONE,
            next: NONE,
            queued_in: 0,
            state: State::Free,
            detailed: false,
        }
    }
}

/// A callback that waits for its target.
pub(crate) struct ArmedCallback<'a> {
    pub(crate) target: SlotIndex,
    pub(crate) owner: Option<SlotIndex>,
    pub(crate) label: Option<&'static str>,
    pub(crate) callback: &'a Callback,
}

#[derive(Default)]
pub(crate) struct Finalizers {
    registrations: Table<Registration>,
    /// By index of the registration.
    details: HashMap<u32, Details>,
    free: u32,
    in_use: usize,
    /// By [`Class`].
    armed: [usize; CLASSES],
    /// By [`Class`].
    queued: [usize; CLASSES],
    numbers: u64,
    /// Cleanups and notifications to be called. May name registrations that were cancelled since.
    callbacks: VecDeque<Queued>,
    /// Guardians whose targets were unreachable. May name registrations that were taken back since.
    guardians: VecDeque<Queued>,
    /// The first of the silenced notifications, linked by `next`, or [`NONE`]; means nothing while there is none.
    first_silenced: u32,
    silenced: usize,
    /// The generation that an entry starts with which was never used before.
    start: u32,
}

const LAST_GENERATION: u32 = u32::MAX;

impl Finalizers {
    /// Adds a registration to the slot of its target.
    pub(crate) fn register(
        &mut self,
        slots: &mut WeakSlots,
        slot: SlotIndex,
        action: Action,
    ) -> Result<RegistrationId, (Exhausted, Action)> {
        if self.make_room(&action).is_err() || slots.extend(slot).is_err() {
            return Err((Exhausted::System, action));
        }
        self.armed[action.class() as usize] += 1;
        let index = if self.in_use < self.registrations.length() as usize && self.free != NONE {
            let index = self.free;
            self.free = self.registrations[index].next;
            index
        } else {
            self.registrations.push_reserved(Registration::free(self.start))
        };
        self.in_use += 1;
        self.numbers += 1;
        let next = slots.registrations(slot);
        slots.set_registrations(slot, index);
        let registration = &mut self.registrations[index];
        let generation = registration.generation;
        *registration = Registration {
            action: Some(action),
            number: self.numbers,
            slot,
            next,
            state: State::Armed,
            ..Registration::free(generation)
        };
        if next != NONE {
            self.registrations[next].previous = index;
        }
        Ok(RegistrationId { index, generation })
    }

    /// Adds a notification to the slot of its target, which is silenced when the object of `owner` is unreachable.
    pub(crate) fn register_owned(
        &mut self,
        slots: &mut WeakSlots,
        slot: SlotIndex,
        owner: SlotIndex,
        action: Action,
    ) -> Result<RegistrationId, (Exhausted, Action)> {
        if self.details.try_reserve(1).is_err() {
            return Err((Exhausted::System, action));
        }
        let ownership = match self.register(slots, owner, Action::Ownership { notification: NONE }) {
            Ok(ownership) => ownership,
            Err((reason, _)) => return Err((reason, action)),
        };
        match self.register(slots, slot, action) {
            Ok(id) => {
                // [INV-FIN-4]
                self.registrations[ownership.index].action = Some(Action::Ownership { notification: id.index });
                self.registrations[id.index].detailed = true;
                self.details.insert(id.index, Details { ownership: Some(ownership.index), ..Details::default() });
                Ok(id)
            }
            Err(refused) => {
                self.take(slots, ownership);
                Err(refused)
            }
        }
    }

    /// `[INV-FIN-2]`
    fn make_room(&mut self, action: &Action) -> Result<(), Exhausted> {
        if self.registrations.length() == 0 {
            self.free = NONE;
        }
        self.registrations.reserve()?;
        match action.class() {
            Class::Cleanup | Class::Notification => {
                let armed = self.armed[Class::Cleanup as usize] + self.armed[Class::Notification as usize];
                self.callbacks.try_reserve(armed + 1)
            }
            Class::Guardian => self.guardians.try_reserve(self.armed[Class::Guardian as usize] + 1),
            Class::Ownership => Ok(()),
        }
        .map_err(|_| Exhausted::System)
    }

    fn get(&self, id: RegistrationId) -> Option<&Registration> {
        let registration = self.registrations.get(id.index)?;
        (registration.generation == id.generation && registration.is_pending()).then_some(registration)
    }

    fn get_mut(&mut self, id: RegistrationId) -> Option<&mut Registration> {
        let registration = self.registrations.get_mut(id.index)?;
        (registration.generation == id.generation && registration.is_pending()).then_some(registration)
    }

    /// Whether the registration is armed or queued.
    pub(crate) fn is_pending(&self, id: RegistrationId) -> bool {
        self.get(id).is_some()
    }

    /// The callback of a pending cleanup or notification.
    pub(crate) fn callback(&self, id: RegistrationId) -> Option<&Callback> {
        self.get(id)?.action.as_ref()?.callback()
    }

    /// Changes the details of a pending registration; says what they were before.
    pub(crate) fn change_details(&mut self, id: RegistrationId, change: impl FnOnce(&mut Details)) -> Option<Details> {
        self.get_mut(id)?.detailed = true;
        let details = self.details.entry(id.index).or_default();
        let before = *details;
        change(details);
        Some(before)
    }

    /// Takes a pending registration out, whether armed or queued.
    pub(crate) fn take(&mut self, slots: &mut WeakSlots, id: RegistrationId) -> Option<Taken> {
        let registration = self.get(id)?;
        if registration.state == State::Armed {
            self.disown(slots, id.index);
            self.unlink(slots, id.index);
        } else {
            // The queue's entry stays and is skipped when its turn comes.
            self.queued[registration.class() as usize] -= 1;
        }
        Some(self.release(id.index))
    }

    /// Takes an armed registration out of the list of its slot.
    fn unlink(&mut self, slots: &mut WeakSlots, index: u32) {
        let registration = &self.registrations[index];
        self.armed[registration.class() as usize] -= 1;
        let Registration { previous, next, slot, .. } = *registration;
        if previous == NONE {
            slots.set_registrations(slot, next);
        } else {
            self.registrations[previous].next = next;
        }
        if next != NONE {
            self.registrations[next].previous = previous;
        }
    }

    /// Ends the ownership of a registration that is about to be armed no more. `[INV-FIN-4]`
    fn disown(&mut self, slots: &mut WeakSlots, index: u32) {
        if self.registrations[index].detailed
            && let Some(details) = self.details.get_mut(&index)
            && let Some(ownership) = details.ownership.take()
        {
            self.unlink(slots, ownership);
            self.release(ownership);
        }
    }

    fn release(&mut self, index: u32) -> Taken {
        let registration = &mut self.registrations[index];
        let taken = Taken {
            id: RegistrationId { index, generation: registration.generation },
            slot: registration.slot,
            action: registration.action.take().expect("a registration in use has an action"),
            details: if registration.detailed {
                self.details.remove(&index).unwrap_or_default()
            } else {
                Details::default()
            },
            number: registration.number,
        };
        registration.detailed = false;
        registration.state = State::Free;
        registration.generation += 1;
        self.in_use -= 1;
        if registration.generation < LAST_GENERATION {
            registration.next = self.free;
            self.free = index;
        } else {
            self.in_use += 1;
        }
        taken
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
            let index = next;
            next = self.registrations[index].next;
            let Some(Action::Ownership { notification }) = self.registrations[index].action else { continue };
            if next == notification {
                // An object may own a notification on itself.
                next = self.registrations[notification].next;
            }
            self.disown(slots, notification);
            self.unlink(slots, notification);
            let registration = &mut self.registrations[notification];
            registration.state = State::Silenced;
            registration.next = if self.silenced == 0 { NONE } else { self.first_silenced };
            self.first_silenced = notification;
            self.silenced += 1;
        }
    }

    /// Notifications that were silenced and whose payload was not dropped yet.
    pub(crate) fn silenced(&self) -> usize {
        self.silenced
    }

    /// The next silenced notification, taken out.
    pub(crate) fn next_silenced(&mut self) -> Option<Taken> {
        if self.silenced == 0 {
            return None;
        }
        let index = self.first_silenced;
        self.silenced -= 1;
        self.first_silenced = self.registrations[index].next;
        Some(self.release(index))
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
            if self.registrations[index].class() == class {
                self.unlink(slots, index);
                self.queue(slots, index, cycle);
            }
        }
    }

    /// Queues the cleanups and notifications of a dead object, the only registrations that it can still have.
    pub(crate) fn queue_callbacks(&mut self, slots: &mut WeakSlots, slot: SlotIndex, cycle: u32) -> usize {
        let mut external = 0_usize;
        let mut next = slots.registrations(slot);
        if next == NONE {
            return 0;
        }
        slots.set_registrations(slot, NONE);
        while next != NONE {
            let index = next;
            let registration = &mut self.registrations[index];
            next = registration.next;
            if registration.detailed
                && let Some(details) = self.details.get_mut(&index)
            {
                external = external.saturating_add(core::mem::take(&mut details.external));
            }
            self.armed[self.registrations[index].class() as usize] -= 1;
            self.queue(slots, index, cycle);
        }
        external
    }

    /// Puts a registration that left its target's list at the end of its queue.
    fn queue(&mut self, slots: &mut WeakSlots, index: u32, cycle: u32) {
        self.disown(slots, index);
        let registration = &mut self.registrations[index];
        registration.state = State::Queued;
        registration.queued_in = cycle;
        let class = registration.class();
        let first = if class == Class::Cleanup { CLEANUP_FIRST } else { 0 };
        let id = RegistrationId { index, generation: registration.generation };
        let queued = Queued { order: registration.number | first, id };
        self.queued[class as usize] += 1;
        if class == Class::Guardian {
            self.guardians.push_back(queued);
        } else {
            self.callbacks.push_back(queued);
        }
    }

    /// Entries of both queues, to tell a batch from what was queued before.
    pub(crate) fn queue_lengths(&self) -> (usize, usize) {
        (self.guardians.len(), self.callbacks.len())
    }

    /// Puts what was queued beyond these lengths in order: cleanups first, and the newest registration first.
    pub(crate) fn order_batch(&mut self, (guardians, callbacks): (usize, usize)) {
        let newest_first = |queued: &Queued| core::cmp::Reverse(queued.order);
        self.guardians.make_contiguous()[guardians..].sort_unstable_by_key(newest_first);
        self.callbacks.make_contiguous()[callbacks..].sort_unstable_by_key(newest_first);
    }

    /// The slots of queued guardians' targets.
    pub(crate) fn guarded_slots(&self) -> impl Iterator<Item = SlotIndex> {
        self.guardians.iter().filter_map(|queued| self.get(queued.id)).map(|registration| registration.slot)
    }

    /// The next queued cleanup or notification, taken out.
    pub(crate) fn next_callback(&mut self) -> Option<Taken> {
        loop {
            let id = self.callbacks.pop_front()?.id;
            if let Some(registration) = self.get(id) {
                self.queued[registration.class() as usize] -= 1;
                return Some(self.release(id.index));
            }
        }
    }

    /// Takes up to `limit` queued cleanups out that another thread may call, in the order of the queue.
    pub(crate) fn take_sendable(&mut self, limit: usize, mut take: impl FnMut(Taken)) {
        let mut taken = 0;
        for position in 0..self.callbacks.len() {
            if taken == limit {
                break;
            }
            let id = self.callbacks[position].id;
            let Some(registration) = self.get(id) else { continue };
            if matches!(registration.action, Some(Action::SendCleanup(_))) {
                self.queued[Class::Cleanup as usize] -= 1;
                taken += 1;
                take(self.release(id.index));
            }
        }
        // What was taken is not passed over again.
        while self.callbacks.front().is_some_and(|queued| self.get(queued.id).is_none()) {
            self.callbacks.pop_front();
        }
    }

    /// The next queued guardian, taken out.
    pub(crate) fn next_guardian(&mut self) -> Option<Taken> {
        loop {
            let id = self.guardians.pop_front()?.id;
            if self.get(id).is_some() {
                self.queued[Class::Guardian as usize] -= 1;
                return Some(self.release(id.index));
            }
        }
    }

    /// The newest cleanup or notification that runs at shutdown, taken out of wherever it is.
    pub(crate) fn next_at_shutdown(&mut self, slots: &mut WeakSlots) -> Option<Taken> {
        let pending = |index: &u32| self.registrations[*index].is_pending();
        let marked = self.details.iter().filter(|(index, details)| details.at_shutdown && pending(index));
        let index = marked.map(|(&index, _)| index).max_by_key(|&index| self.registrations[index].number)?;
        let id = RegistrationId { index, generation: self.registrations[index].generation };
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

    /// The collection that queued the oldest callback that waits.
    pub(crate) fn oldest_queued_in(&self) -> Option<u32> {
        self.callbacks.iter().find_map(|queued| self.get(queued.id)).map(|registration| registration.queued_in)
    }

    /// Bytes of the tables and queues.
    pub(crate) fn bytes(&self) -> usize {
        self.registrations.bytes() + (self.callbacks.capacity() + self.guardians.capacity()) * size_of::<Queued>()
    }

    /// The callbacks of armed cleanups and notifications.
    pub(crate) fn armed_callbacks(&self) -> impl Iterator<Item = ArmedCallback<'_>> {
        let armed = |(_, registration): &(usize, &Registration)| registration.state == State::Armed;
        self.registrations.iter().enumerate().filter(armed).filter_map(|(index, registration)| {
            let callback = registration.action.as_ref()?.callback()?;
            let details = self.details.get(&(index as u32)).copied().unwrap_or_default();
            let owner = details.ownership.map(|ownership| self.registrations[ownership].slot);
            Some(ArmedCallback { target: registration.slot, owner, label: details.label, callback })
        })
    }

    /// Gives the tables back if there is no registration. Those made later start with a generation no id has yet.
    pub(crate) fn release_if_unused(&mut self) {
        if self.in_use > 0 || self.bytes() == 0 {
            return;
        }
        let start = self.registrations.iter().map(|registration| registration.generation).max().unwrap_or(self.start);
        *self = Self { start, numbers: self.numbers, free: NONE, ..Self::default() };
    }

    /// Forgets a registration of those that are left, without running anything; `None` if none is left.
    pub(crate) fn forget_one(&mut self, slots: &mut WeakSlots, from: &mut u32) -> Option<Taken> {
        if let Some(taken) = self.next_silenced() {
            return Some(taken);
        }
        while *from < self.registrations.length() {
            let id = RegistrationId { index: *from, generation: self.registrations[*from].generation };
            *from += 1;
            // An ownership goes with its notification.
            if self.get(id).is_some_and(|registration| registration.class() != Class::Ownership) {
                return self.take(slots, id);
            }
        }
        None
    }
}
