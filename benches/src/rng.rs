//! The random numbers of the workloads: xorshift64, the same in every system.
//!
//! Part of the definition of each answer, so it must never change: seed 88172645463325252, shifts 13 left,
//! 7 right, 17 left, and `below(n)` is the new state modulo `n`.

/// An xorshift64 generator.
#[derive(Clone, Debug)]
pub struct XorShift64 {
    state: u64,
}

impl XorShift64 {
    /// The seed all workloads start with.
    pub const SEED: u64 = 88_172_645_463_325_252;

    /// A generator at the start of its sequence.
    pub const fn new() -> XorShift64 {
        XorShift64 { state: Self::SEED }
    }

    /// The next state.
    #[inline]
    pub const fn next_state(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// The next number below `n`.
    ///
    /// # Panics
    ///
    /// When `n` is zero.
    #[inline]
    pub const fn below(&mut self, n: usize) -> usize {
        (self.next_state() % n as u64) as usize
    }
}

impl Default for XorShift64 {
    fn default() -> XorShift64 {
        XorShift64::new()
    }
}

#[cfg(test)]
mod tests {
    use super::XorShift64;

    #[test]
    fn follows_the_published_sequence() {
        // Worked out independently, in arbitrary precision.
        let mut rng = XorShift64::new();
        assert_eq!(rng.next_state(), 8_748_534_153_485_358_512);
        assert_eq!(rng.next_state(), 3_040_900_993_826_735_515);
        assert_eq!(rng.next_state(), 3_453_997_556_048_239_312);
    }

    #[test]
    fn below_is_the_new_state_modulo_n() {
        let mut a = XorShift64::new();
        let mut b = XorShift64::new();
        for n in 1..100 {
            assert_eq!(a.below(n) as u64, b.next_state() % n as u64);
        }
    }
}
