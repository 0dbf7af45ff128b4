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

use super::callback::Callback;
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
}

/// What happens when the target becomes unreachable.
pub(crate) enum Action {
    /// The callback gets its payload once the target is gone.
    Cleanup(Callback),
    /// The target is handed back.
    Guardian { tag: u64 },
}

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
}

/// A place in a queue. Has the number of its registration, so that ordering a batch looks at the queue only.
struct Queued {
    number: u64,
    id: RegistrationId,
}

/// A registration that was taken out of the table.
pub(crate) struct Taken {
    pub(crate) slot: SlotIndex,
    pub(crate) action: Action,
    pub(crate) details: Details,
    /// Orders all registrations of the heap by age.
    pub(crate) number: u64,
}

impl Registration {
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

#[derive(Default)]
pub(crate) struct Finalizers {
    registrations: Table<Registration>,
    /// By index of the registration.
    details: HashMap<u32, Details>,
    free: u32,
    in_use: usize,
    armed_cleanups: usize,
    armed_guardians: usize,
    numbers: u64,
    /// Cleanups whose targets are dead. May name registrations that were cancelled since.
    cleanups: VecDeque<Queued>,
    /// Guardians whose targets were unreachable. May name registrations that were taken back since.
    guardians: VecDeque<Queued>,
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
        if self.make_room(&action).is_err() || slots.extend(slot).is_err() {
            return Err((Exhausted::System, action));
        }
        match action {
            Action::Cleanup(_) => self.armed_cleanups += 1,
            Action::Guardian { .. } => self.armed_guardians += 1,
        }
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

    /// `[INV-FIN-2]`
    fn make_room(&mut self, action: &Action) -> Result<(), Exhausted> {
        if self.registrations.length() == 0 {
            self.free = NONE;
        }
        self.registrations.reserve()?;
        match action {
            Action::Cleanup(_) => self.cleanups.try_reserve(self.armed_cleanups + 1),
            Action::Guardian { .. } => self.guardians.try_reserve(self.armed_guardians + 1),
        }
        .map_err(|_| Exhausted::System)
    }

    fn get(&self, id: RegistrationId) -> Option<&Registration> {
        let registration = self.registrations.get(id.index)?;
        (registration.generation == id.generation && registration.state != State::Free).then_some(registration)
    }

    fn get_mut(&mut self, id: RegistrationId) -> Option<&mut Registration> {
        let registration = self.registrations.get_mut(id.index)?;
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
        let Registration { previous, next, slot, ref action, .. } = self.registrations[index];
        match action {
            Some(Action::Guardian { .. }) => self.armed_guardians -= 1,
            _ => self.armed_cleanups -= 1,
        }
        if previous == NONE {
            slots.set_registrations(slot, next);
        } else {
            self.registrations[previous].next = next;
        }
        if next != NONE {
            self.registrations[next].previous = previous;
        }
    }

    fn release(&mut self, id: RegistrationId) -> Taken {
        let registration = &mut self.registrations[id.index];
        let taken = Taken {
            slot: registration.slot,
            action: registration.action.take().expect("a pending registration has an action"),
            details: if registration.detailed {
                self.details.remove(&id.index).unwrap_or_default()
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
    pub(crate) fn queue_guardians(&mut self, slots: &mut WeakSlots, slot: SlotIndex, cycle: u32) {
        let mut next = slots.registrations(slot);
        while next != NONE {
            let index = next;
            next = self.registrations[index].next;
            if matches!(self.registrations[index].action, Some(Action::Guardian { .. })) {
                self.unlink(slots, index);
                self.queued_guardians += 1;
                let queued = self.queue(index, cycle);
                self.guardians.push_back(queued);
            }
        }
    }

    /// Queues the cleanups of a dead object, the only registrations that it can still have.
    pub(crate) fn queue_cleanups(&mut self, slots: &mut WeakSlots, slot: SlotIndex, cycle: u32) -> usize {
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
            self.armed_cleanups -= 1;
            self.queued_cleanups += 1;
            let queued = self.queue(index, cycle);
            self.cleanups.push_back(queued);
        }
        external
    }

    fn queue(&mut self, index: u32, cycle: u32) -> Queued {
        let registration = &mut self.registrations[index];
        registration.state = State::Queued;
        registration.queued_in = cycle;
        Queued { number: registration.number, id: RegistrationId { index, generation: registration.generation } }
    }

    /// Entries of both queues, to tell a batch from what was queued before.
    pub(crate) fn queue_lengths(&self) -> (usize, usize) {
        (self.guardians.len(), self.cleanups.len())
    }

    /// Puts what was queued beyond these lengths in order: newest registration first.
    pub(crate) fn order_batch(&mut self, (guardians, cleanups): (usize, usize)) {
        let newest_first = |queued: &Queued| core::cmp::Reverse(queued.number);
        self.guardians.make_contiguous()[guardians..].sort_unstable_by_key(newest_first);
        self.cleanups.make_contiguous()[cleanups..].sort_unstable_by_key(newest_first);
    }

    /// The slots of queued guardians' targets.
    pub(crate) fn guarded_slots(&self) -> impl Iterator<Item = SlotIndex> {
        self.guardians.iter().filter_map(|queued| self.get(queued.id)).map(|registration| registration.slot)
    }

    /// The next queued cleanup, taken out.
    pub(crate) fn next_cleanup(&mut self) -> Option<Taken> {
        loop {
            let id = self.cleanups.pop_front()?.id;
            if self.get(id).is_some() {
                self.queued_cleanups -= 1;
                return Some(self.release(id));
            }
        }
    }

    /// The next queued guardian, taken out.
    pub(crate) fn next_guardian(&mut self) -> Option<Taken> {
        loop {
            let id = self.guardians.pop_front()?.id;
            if self.get(id).is_some() {
                self.queued_guardians -= 1;
                return Some(self.release(id));
            }
        }
    }

    /// The newest cleanup that runs at shutdown, taken out of wherever it is.
    pub(crate) fn next_at_shutdown(&mut self, slots: &mut WeakSlots) -> Option<Taken> {
        let marked = self.details.iter().filter(|(_, details)| details.at_shutdown);
        let index = marked.map(|(&index, _)| index).max_by_key(|&index| self.registrations[index].number)?;
        let id = RegistrationId { index, generation: self.registrations[index].generation };
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
    pub(crate) fn oldest_queued_in(&self) -> Option<u32> {
        self.cleanups.iter().find_map(|queued| self.get(queued.id)).map(|registration| registration.queued_in)
    }

    /// Bytes of the tables and queues.
    pub(crate) fn bytes(&self) -> usize {
        self.registrations.bytes() + (self.cleanups.capacity() + self.guardians.capacity()) * size_of::<Queued>()
    }

    /// The callbacks of armed cleanups, each with the slot of its target and its label.
    pub(crate) fn armed_callbacks(&self) -> impl Iterator<Item = (SlotIndex, Option<&'static str>, &Callback)> {
        self.registrations.iter().enumerate().filter_map(|(index, registration)| match &registration.action {
            Some(Action::Cleanup(callback)) if registration.state == State::Armed => {
                Some((registration.slot, self.details.get(&(index as u32)).and_then(|details| details.label), callback))
            }
            _ => None,
        })
    }

    /// Gives the tables back if there is no registration. Those made later start with a generation no id has yet.
    pub(crate) fn release_if_unused(&mut self) {
        if self.in_use > 0 || self.registrations.length() == 0 {
            return;
        }
        let start = self.registrations.iter().map(|registration| registration.generation).max().unwrap_or(0);
        *self = Self { start, numbers: self.numbers, free: NONE, ..Self::default() };
    }

    /// Forgets a registration of those that are left, without running anything; `None` if none is left.
    pub(crate) fn forget_one(&mut self, slots: &mut WeakSlots, from: &mut u32) -> Option<Taken> {
        while *from < self.registrations.length() {
            let id = RegistrationId { index: *from, generation: self.registrations[*from].generation };
            *from += 1;
            if let Some(taken) = self.take(slots, id) {
                return Some(taken);
            }
        }
        None
    }
}
