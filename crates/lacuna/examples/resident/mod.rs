//! The resident size of this process, where the system tells it.

use std::fs;

/// Bytes of memory that this process has resident, or `None` where that is not measured (everywhere but on Linux).
pub(crate) fn resident() -> Option<u64> {
    // The second number is the resident size in pages.
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size()?)
}

/// Bytes of a page: the auxiliary vector says so under the key 6 (`AT_PAGESZ`).
fn page_size() -> Option<u64> {
    let vector = fs::read("/proc/self/auxv").ok()?;
    let words: Vec<u64> = vector
        .chunks_exact(size_of::<usize>())
        .map(|word| usize::from_ne_bytes(word.try_into().expect("chunks have that size")) as u64)
        .collect();
    words.chunks_exact(2).find(|pair| pair[0] == 6).map(|pair| pair[1])
}
