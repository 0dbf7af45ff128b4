//! Bytes that parts of objects hold outside of their cells, counted without being told.
//!
//! Such a part may be dropped by a sweep, which gives it no access to the heap, or while the heap's state is borrowed. So
//! the count lies outside of the heap's state, and what is counted there knows the way to it.

use alloc::rc::Rc;
use core::cell::Cell;

/// The sum of all charges of a heap.
#[derive(Clone, Default, Debug)]
pub(crate) struct Ledger(Rc<Cell<usize>>);

impl Ledger {
    /// Bytes of all charges.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.get()
    }
}

/// Bytes that count as long as this exists.
#[derive(Default)]
pub(crate) struct Charge {
    bytes: usize,
    /// Where they are counted, from the first ones on.
    ledger: Option<Ledger>,
}

impl Charge {
    /// Of nothing.
    pub(crate) const fn none() -> Self {
        Self { bytes: 0, ledger: None }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes how many bytes it is, counted in a ledger, always the same one.
    pub(crate) fn set(&mut self, bytes: usize, ledger: &Ledger) {
        let Ledger(sum) = self.ledger.get_or_insert_with(|| ledger.clone());
        sum.set(sum.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(Ledger(sum)) = &self.ledger {
            sum.set(sum.get() - self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_count_as_long_as_they_exist() {
        let ledger = Ledger::default();
        let (mut one, mut two) = (Charge::none(), Charge::none());
        one.set(100, &ledger);
        two.set(20, &ledger);
        one.set(50, &ledger);
        assert_eq!((ledger.bytes(), one.bytes()), (70, 50));
        drop(core::mem::take(&mut one));
        assert_eq!(ledger.bytes(), 20);
        one.set(1, &ledger);
        drop(ledger.clone());
        assert_eq!(ledger.bytes(), 21);
        drop((one, two));
        assert_eq!(ledger.bytes(), 0);
    }
}
