//! Registrations that wait for their turn, in a list that is linked through their table.
//!
//! A pause pushes them in whatever order it finds them. They are put in order when the first of them is wanted, outside
//! of the pause: batch by batch, by class, the newest first. Objects die in about the order in which they were
//! allocated, so a list that is pushed at its front is nearly in order already.
//!
//! ```text
//!   push --> fresh, unordered --(order)--> ordered --> pop
//! ```
//!
//! Whoever is taken out by its id stays in the list until its turn; who uses the queue knows how to tell.

use alloc::vec::Vec;

use super::finalizers::{Order, Registration};
use super::weak::NONE;
use crate::memory::table::Table;

type Registrations = Table<Registration>;

pub(super) struct Queue {
    first: u32,
    last: u32,
    /// The one pushed last, which leads to the one pushed before.
    fresh: u32,
    /// The one pushed first.
    fresh_last: u32,
    /// The order of the one pushed last.
    fresh_order: Order,
    /// Stretches in order that the fresh ones consist of.
    fresh_runs: usize,
    /// The collection that queued the first of the fresh ones.
    fresh_since: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            fresh: NONE,
            fresh_last: NONE,
            fresh_order: Order::default(),
            fresh_runs: 0,
            fresh_since: 0,
        }
    }
}

/// With more ordered stretches than this, a list is ordered by way of a buffer, if there is memory for one.
const MANY_RUNS: usize = 64;

impl Queue {
    /// Adds a registration, which belongs to the newest batch.
    #[inline(always)]
    pub(super) fn push(&mut self, registration: &mut Registration, index: u32) {
        let order = registration.order();
        if self.fresh == NONE {
            (self.fresh_last, self.fresh_since) = (index, registration.queued_in());
            (self.fresh_order, self.fresh_runs) = (order, 1);
        }
        self.fresh_runs += usize::from(order > self.fresh_order);
        self.fresh_order = order;
        registration.next = self.fresh;
        self.fresh = index;
    }

    /// The first in order.
    #[inline(always)]
    pub(super) fn first(&mut self, table: &mut Registrations) -> Option<u32> {
        if self.first == NONE {
            self.order(table);
        }
        self.first_ordered()
    }

    /// The first of those that were put in order.
    #[inline(always)]
    pub(super) fn first_ordered(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Goes on from the first of those that were put in order to the one after it.
    #[inline(always)]
    pub(super) fn advance(&mut self, first: &Registration) {
        self.first = first.next;
    }

    /// Takes one of those that were put in order out of the list, by the one before it.
    pub(super) fn remove(&mut self, table: &mut Registrations, previous: Option<u32>, index: u32) {
        let next = table[index].next;
        match previous {
            Some(previous) => table[previous].next = next,
            None => self.first = next,
        }
        if self.last == index {
            self.last = previous.unwrap_or(NONE);
        }
    }

    /// All of them, in no particular order.
    pub(super) fn iter<'a>(&self, table: &'a Registrations) -> impl Iterator<Item = &'a Registration> + use<'a> {
        list(table, self.first).chain(list(table, self.fresh))
    }

    /// The collection that queued the oldest.
    pub(super) fn oldest(&self, table: &Registrations) -> Option<u32> {
        let ordered = list(table, self.first).find(|registration| !registration.is_spent());
        let fresh = (self.fresh != NONE).then_some(self.fresh_since);
        ordered.map(Registration::queued_in).or(fresh)
    }

    /// Puts the fresh ones in order, after those that are.
    #[cold]
    #[inline(never)]
    pub(super) fn order(&mut self, table: &mut Registrations) {
        let fresh = core::mem::replace(&mut self.fresh, NONE);
        if fresh == NONE {
            return;
        }
        let (first, last) = match self.fresh_runs {
            1 => (fresh, self.fresh_last),
            runs => order(table, fresh, runs),
        };
        if self.first == NONE {
            self.first = first;
        } else {
            table[self.last].next = first;
        }
        self.last = last;
    }
}

fn list(table: &Registrations, first: u32) -> impl Iterator<Item = &Registration> {
    let mut next = first;
    core::iter::from_fn(move || {
        let registration = table.get(next)?;
        next = registration.next;
        Some(registration)
    })
}

fn last(table: &Registrations, first: u32) -> u32 {
    let mut last = first;
    while table[last].next != NONE {
        last = table[last].next;
    }
    last
}

/// Puts a list in order that consists of so many stretches that are; returns its first and its last.
///
/// Stretches are merged, like with like in length.
fn order(table: &mut Registrations, first: u32, runs: usize) -> (u32, u32) {
    if runs > MANY_RUNS
        && let Some(ends) = order_in_buffer(table, first)
    {
        return ends;
    }
    // Level n holds what 2ⁿ stretches were merged to.
    let mut levels = [NONE; u32::BITS as usize];
    let mut rest = first;
    while rest != NONE {
        let mut run = rest;
        rest = cut_run(table, run);
        for level in &mut levels {
            if *level == NONE {
                *level = run;
                break;
            }
            // What was cut before goes first among equals, of which there are none.
            run = merge(table, core::mem::replace(level, NONE), run);
        }
    }
    let first = levels.into_iter().fold(NONE, |merged, level| merge(table, level, merged));
    (first, last(table, first))
}

/// Ends a list after its first ordered stretch; returns the rest.
fn cut_run(table: &mut Registrations, first: u32) -> u32 {
    let mut last = first;
    loop {
        let next = table[last].next;
        if next == NONE || table[next].order() < table[last].order() {
            table[last].next = NONE;
            return next;
        }
        last = next;
    }
}

/// Merges two ordered lists.
fn merge(table: &mut Registrations, mut one: u32, mut other: u32) -> u32 {
    let (mut first, mut last) = (NONE, NONE);
    while one != NONE && other != NONE {
        let smaller = if table[other].order() < table[one].order() { &mut other } else { &mut one };
        let taken = *smaller;
        *smaller = table[taken].next;
        if last == NONE {
            first = taken;
        } else {
            table[last].next = taken;
        }
        last = taken;
    }
    let rest = if one == NONE { other } else { one };
    if last == NONE {
        return rest;
    }
    table[last].next = rest;
    first
}

/// Orders a list in a buffer, if there is memory for one.
fn order_in_buffer(table: &mut Registrations, first: u32) -> Option<(u32, u32)> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(list(table, first).count()).ok()?;
    let mut index = first;
    while index != NONE {
        buffer.push((table[index].order(), index));
        index = table[index].next;
    }
    buffer.sort_unstable();
    for pair in buffer.windows(2) {
        table[pair[0].1].next = pair[1].1;
    }
    let (first, last) = (buffer.first()?.1, buffer.last()?.1);
    table[last].next = NONE;
    Some((first, last))
}
