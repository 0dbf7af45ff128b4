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
//! target lives until it is handed out. A registration that is done leaves its entry free for another; a generation
//! keeps old ids from meaning the new one.
//!
//! - `[INV-FIN-1]` An armed registration is in the list of its target's slot, and nowhere else.
//! - `[INV-FIN-2]` Each queue has room for every registration that is armed beside what is queued, so that a pause
//!   never allocates.
//! - `[INV-FIN-3]` The slot of a queued guardian is that of a live object: queued guardians are roots.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::callback::Callback;
use super::weak::{NONE, SlotIndex, WeakSlots};
use crate::error::Exhausted;

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
}

/// What happens when the target becomes unreachable.
pub(crate) enum Action {
    /// The callback gets its payload once the target is gone.
    Cleanup(Callback),
    /// The target is handed back.
    Guardian { tag: u64 },
}

struct Registration {
    generation: u32,
    state: State,
    /// The target's slot, while armed; of a guardian also while queued.
    slot: SlotIndex,
    /// Neighbours in the list of the slot: the next is older.
    previous: u32,
    next: u32,
    /// Orders all registrations of the heap by age.
    number: u64,
    action: Option<Action>,
    at_shutdown: bool,
    label: Option<&'static str>,
    /// Bytes outside the heap that the target holds.
    external: usize,
    /// The collection that queued it.
    queued_in: u64,
}

/// A registration that was taken out of the table.
pub(crate) struct Taken {
    pub(crate) slot: SlotIndex,
    pub(crate) action: Action,
    pub(crate) label: Option<&'static str>,
    pub(crate) external: usize,
    /// Orders all registrations of the heap by age.
    pub(crate) number: u64,
}

#[derive(Default)]
pub(crate) struct Finalizers {
    registrations: Vec<Registration>,
    free: u32,
    in_use: usize,
    armed_cleanups: usize,
    armed_guardians: usize,
    numbers: u64,
    /// Cleanups whose targets are dead. May name registrations that were cancelled since.
    cleanups: VecDeque<RegistrationId>,
    /// Guardians whose targets were unreachable.
    guardians: VecDeque<RegistrationId>,
    queued_cleanups: usize,
    queued_guardians: usize,
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
        if self.make_room(&action).is_err() {
            return Err((Exhausted::System, action));
        }
        match action {
            Action::Cleanup(_) => self.armed_cleanups += 1,
            Action::Guardian { .. } => self.armed_guardians += 1,
        }
        let index = if self.in_use < self.registrations.len() && self.free != NONE {
            let index = self.free;
            self.free = self.registrations[index as usize].next;
            index
        } else {
            self.registrations.push(Registration {
                generation: self.start,
                state: State::Free,
                slot: NONE,
                previous: NONE,
                next: NONE,
                number: 0,
                action: None,
                at_shutdown: false,
                label: None,
                external: 0,
                queued_in: 0,
            });
            (self.registrations.len() - 1) as u32
        };
        self.in_use += 1;
        self.numbers += 1;
        let next = core::mem::replace(&mut slots.slot_mut(slot).registrations, index);
        let registration = &mut self.registrations[index as usize];
        let generation = registration.generation;
        *registration = Registration {
            generation,
            state: State::Armed,
            slot,
            previous: NONE,
            next,
            number: self.numbers,
            action: Some(action),
            at_shutdown: false,
            label: None,
            external: 0,
            queued_in: 0,
        };
        if next != NONE {
            self.registrations[next as usize].previous = index;
        }
        Ok(RegistrationId { index, generation })
    }

    /// `[INV-FIN-2]`
    fn make_room(&mut self, action: &Action) -> Result<(), alloc::collections::TryReserveError> {
        if self.registrations.is_empty() {
            self.free = NONE;
        }
        if self.free == NONE || self.in_use == self.registrations.len() {
            assert!(self.registrations.len() < NONE as usize, "a heap has at most 4294967295 registrations");
            self.registrations.try_reserve(1)?;
        }
        match action {
            Action::Cleanup(_) => self.cleanups.try_reserve(self.armed_cleanups + 1),
            Action::Guardian { .. } => self.guardians.try_reserve(self.armed_guardians + 1),
        }
    }

    fn get(&self, id: RegistrationId) -> Option<&Registration> {
        let registration = self.registrations.get(id.index as usize)?;
        (registration.generation == id.generation && registration.state != State::Free).then_some(registration)
    }

    fn get_mut(&mut self, id: RegistrationId) -> Option<&mut Registration> {
        let registration = self.registrations.get_mut(id.index as usize)?;
        (registration.generation == id.generation && registration.state != State::Free).then_some(registration)
    }

    /// Whether the registration is armed or queued.
    pub(crate) fn is_pending(&self, id: RegistrationId) -> bool {
        self.get(id).is_some()
    }

    /// The callback of a pending cleanup.
    pub(crate) fn callback(&self, id: RegistrationId) -> Option<&Callback> {
        match self.get(id)?.action.as_ref()? {
            Action::Cleanup(callback) => Some(callback),
            Action::Guardian { .. } => None,
        }
    }

    /// Sets whether a pending cleanup runs at shutdown.
    pub(crate) fn set_at_shutdown(&mut self, id: RegistrationId, at_shutdown: bool) -> bool {
        self.get_mut(id).map(|registration| registration.at_shutdown = at_shutdown).is_some()
    }

    /// Names a pending registration in reports.
    pub(crate) fn set_label(&mut self, id: RegistrationId, label: &'static str) -> bool {
        self.get_mut(id).map(|registration| registration.label = Some(label)).is_some()
    }

    /// Sets how many bytes the target holds outside the heap; returns what it was.
    pub(crate) fn set_external(&mut self, id: RegistrationId, bytes: usize) -> Option<usize> {
        self.get_mut(id).map(|registration| core::mem::replace(&mut registration.external, bytes))
    }

    /// Takes a pending registration out, whether armed or queued.
    pub(crate) fn take(&mut self, slots: &mut WeakSlots, id: RegistrationId) -> Option<Taken> {
        let guardian = matches!(self.get(id)?.action, Some(Action::Guardian { .. }));
        match (self.get(id)?.state, guardian) {
            (State::Armed, _) => self.unlink(slots, id.index),
            // The queue's entry stays and is skipped when its turn comes.
            (_, false) => self.queued_cleanups -= 1,
            (_, true) => self.queued_guardians -= 1,
        }
        Some(self.release(id))
    }

    /// Takes an armed registration out of the list of its slot.
    fn unlink(&mut self, slots: &mut WeakSlots, index: u32) {
        let Registration { previous, next, slot, ref action, .. } = self.registrations[index as usize];
        match action {
            Some(Action::Guardian { .. }) => self.armed_guardians -= 1,
            _ => self.armed_cleanups -= 1,
        }
        if previous == NONE {
            slots.slot_mut(slot).registrations = next;
        } else {
            self.registrations[previous as usize].next = next;
        }
        if next != NONE {
            self.registrations[next as usize].previous = previous;
        }
    }

    fn release(&mut self, id: RegistrationId) -> Taken {
        let registration = &mut self.registrations[id.index as usize];
        let taken = Taken {
            slot: registration.slot,
            action: registration.action.take().expect("a pending registration has an action"),
            label: registration.label,
            external: core::mem::take(&mut registration.external),
            number: registration.number,
        };
        registration.state = State::Free;
        registration.generation += 1;
        self.in_use -= 1;
        if registration.generation < LAST_GENERATION {
            registration.next = self.free;
            self.free = id.index;
        } else {
            self.in_use += 1;
        }
        taken
    }

    /// Whether any guardian is armed: if not, a pause has fewer steps.
    pub(crate) fn has_guardians(&self) -> bool {
        self.armed_guardians > 0
    }

    /// Queues the guardians among the registrations of an unreachable object.
    pub(crate) fn queue_guardians(&mut self, slots: &mut WeakSlots, slot: SlotIndex, cycle: u64) {
        let mut next = slots.slot(slot).registrations;
        while next != NONE {
            let index = next;
            next = self.registrations[index as usize].next;
            if matches!(self.registrations[index as usize].action, Some(Action::Guardian { .. })) {
                self.unlink(slots, index);
                self.queued_guardians += 1;
                let id = self.queue(index, cycle);
                self.guardians.push_back(id);
            }
        }
    }

    /// Queues the cleanups of a dead object, the only registrations that it can still have.
    pub(crate) fn queue_cleanups(&mut self, slots: &mut WeakSlots, slot: SlotIndex, cycle: u64) -> usize {
        let mut external = 0;
        let mut next = core::mem::replace(&mut slots.slot_mut(slot).registrations, NONE);
        while next != NONE {
            let index = next;
            let registration = &mut self.registrations[index as usize];
            next = registration.next;
            external += core::mem::take(&mut registration.external);
            self.armed_cleanups -= 1;
            self.queued_cleanups += 1;
            let id = self.queue(index, cycle);
            self.cleanups.push_back(id);
        }
        external
    }

    fn queue(&mut self, index: u32, cycle: u64) -> RegistrationId {
        let registration = &mut self.registrations[index as usize];
        registration.state = State::Queued;
        registration.queued_in = cycle;
        RegistrationId { index, generation: registration.generation }
    }

    /// Entries of both queues, to tell a batch from what was queued before.
    pub(crate) fn queue_lengths(&self) -> (usize, usize) {
        (self.guardians.len(), self.cleanups.len())
    }

    /// Puts what was queued beyond these lengths in order: newest registration first.
    pub(crate) fn order_batch(&mut self, (guardians, cleanups): (usize, usize)) {
        let Self { registrations, guardians: guardian_queue, cleanups: cleanup_queue, .. } = self;
        let newest_first = |id: &RegistrationId| core::cmp::Reverse(registrations[id.index as usize].number);
        guardian_queue.make_contiguous()[guardians..].sort_unstable_by_key(newest_first);
        cleanup_queue.make_contiguous()[cleanups..].sort_unstable_by_key(newest_first);
    }

    /// The slots of queued guardians' targets.
    pub(crate) fn guarded_slots(&self) -> impl Iterator<Item = SlotIndex> {
        self.guardians.iter().filter_map(|&id| self.get(id)).map(|registration| registration.slot)
    }

    /// The next queued cleanup, taken out.
    pub(crate) fn next_cleanup(&mut self) -> Option<Taken> {
        loop {
            let id = self.cleanups.pop_front()?;
            if self.get(id).is_some() {
                self.queued_cleanups -= 1;
                return Some(self.release(id));
            }
        }
    }

    /// The next queued guardian, taken out.
    pub(crate) fn next_guardian(&mut self) -> Option<Taken> {
        loop {
            let id = self.guardians.pop_front()?;
            if self.get(id).is_some() {
                self.queued_guardians -= 1;
                return Some(self.release(id));
            }
        }
    }

    /// The newest cleanup that runs at shutdown, taken out of wherever it is.
    pub(crate) fn next_at_shutdown(&mut self, slots: &mut WeakSlots) -> Option<Taken> {
        let runs = |registration: &&Registration| registration.state != State::Free && registration.at_shutdown;
        let newest = self.registrations.iter().filter(runs).map(|registration| registration.number).max()?;
        let index = self.registrations.iter().position(|r| r.state != State::Free && r.number == newest)?;
        let id = RegistrationId { index: index as u32, generation: self.registrations[index].generation };
        self.take(slots, id)
    }

    /// The number of the newest registration so far.
    pub(crate) fn registered(&self) -> u64 {
        self.numbers
    }

    /// Cleanups queued and not yet run.
    pub(crate) fn queued_cleanups(&self) -> usize {
        self.queued_cleanups
    }

    /// Guardians queued and not yet handed out.
    pub(crate) fn queued_guardians(&self) -> usize {
        self.queued_guardians
    }

    /// Registrations armed.
    pub(crate) fn armed(&self) -> usize {
        self.armed_cleanups + self.armed_guardians
    }

    /// The collection that queued the oldest cleanup that waits.
    pub(crate) fn oldest_queued_in(&self) -> Option<u64> {
        self.cleanups.iter().find_map(|&id| self.get(id)).map(|registration| registration.queued_in)
    }

    /// Bytes of the tables and queues.
    pub(crate) fn bytes(&self) -> usize {
        self.registrations.capacity() * size_of::<Registration>()
            + (self.cleanups.capacity() + self.guardians.capacity()) * size_of::<RegistrationId>()
    }

    /// The callbacks of armed cleanups, each with the slot of its target and its label.
    pub(crate) fn armed_callbacks(&self) -> impl Iterator<Item = (SlotIndex, Option<&'static str>, &Callback)> {
        self.registrations.iter().filter_map(|registration| match &registration.action {
            Some(Action::Cleanup(callback)) if registration.state == State::Armed => {
                Some((registration.slot, registration.label, callback))
            }
            _ => None,
        })
    }

    /// Gives the tables back if there is no registration. Those made later start with a generation no id has yet.
    pub(crate) fn release_if_unused(&mut self) {
        if self.in_use > 0 || self.registrations.capacity() == 0 {
            return;
        }
        let start = self.registrations.iter().map(|registration| registration.generation).max().unwrap_or(0);
        *self = Self { start, numbers: self.numbers, free: NONE, ..Self::default() };
    }

    /// Forgets all registrations without running anything; returns them, since dropping a payload is the user's code.
    pub(crate) fn clear(&mut self) -> impl Sized + use<> {
        let start = self.registrations.iter().map(|registration| registration.generation).max().unwrap_or(0);
        let start = start.saturating_add(1);
        core::mem::replace(self, Self { start, numbers: self.numbers, free: NONE, ..Self::default() })
    }
}
