//! Giving memory of a vector back without asking for any that must not be refused.

use alloc::vec::Vec;

/// Lets a vector that needs less than half of its room move to a smaller place, if there is one.
///
/// `Vec::shrink_to` ends the process where the global allocator refuses the smaller place.
pub(crate) fn shrink<T>(vector: &mut Vec<T>, room: usize) {
    let room = room.max(vector.len());
    if vector.capacity() <= room.saturating_mul(2) {
        return;
    }
    let mut smaller = Vec::new();
    if smaller.try_reserve_exact(room).is_ok() {
        smaller.append(vector);
        *vector = smaller;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_stays_and_the_rest_is_given_back() {
        let mut vector = Vec::with_capacity(100);
        vector.extend([1, 2, 3]);
        shrink(&mut vector, 40);
        assert_eq!(vector, [1, 2, 3]);
        assert!((40..100).contains(&vector.capacity()));
        shrink(&mut vector, 0);
        assert_eq!(vector.capacity(), 3);
        vector.clear();
        shrink(&mut vector, 0);
        assert_eq!(vector.capacity(), 0);
    }
}
