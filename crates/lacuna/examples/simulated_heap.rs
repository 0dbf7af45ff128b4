//! A simulated program: objects of several sizes with lives of several lengths, and what the heap has to say about it.
//!
//! `cargo run --release -p lacuna --example simulated_heap`

use lacuna::{Config, Gc, GcCell, Heap, Trace};

// ANCHOR: simulation
#[derive(Trace)]
struct Object<'gc> {
    payload: Gc<'gc, [u8]>,
    link: GcCell<Option<Gc<'gc, Object<'gc>>>>,
}

/// Slots that objects live in until another one takes their place: the fewer, the shorter they live.
type Slots<'gc> = [GcCell<Option<Gc<'gc, Object<'gc>>>>];

fn main() {
    for growth in [1.25, 1.5, 2.0, 4.0] {
        let config = Config::default().min_heap(1 << 20).growth_factor(growth).measure_times(true);
        let mut heap = Heap::with_config(config);
        let slots = heap.enter(|cx| {
            let slots: Gc<'_, Slots<'_>> = cx.alloc_slice_with(10_000, |_| GcCell::new(None));
            slots.root(cx)
        });
        let mut random = 88_172_645_463_325_252_u64;
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % limit) as usize
        };
        let mut peak = 0;
        for _ in 0..1000 {
            heap.enter(|cx| {
                let slots = slots.get(cx);
                for _ in 0..1000 {
                    let (slot, neighbour, size) = (below(10_000), below(10_000), below(200));
                    let link = if size < 20 { slots[neighbour].get() } else { None };
                    let payload = cx.alloc_slice_with(size, |byte| byte as u8);
                    let object = cx.alloc(Object { payload, link: GcCell::new(link) });
                    slots.set(cx, |slots| &slots[slot], Some(object));
                }
            });
            peak = peak.max(heap.stats().used_bytes);
        }
        let stats = heap.stats();
        println!(
            "growth {growth:<4}  {:>4} collections  {:>6} objects live  {:>8} bytes at most in blocks",
            stats.collections, stats.live_objects, peak
        );
        assert!(stats.collections > 0);
        let some = heap.enter(|cx| slots.get(cx).iter().filter_map(|slot| slot.get()).map(|o| o.payload.len()).max());
        assert!(some.is_some_and(|longest| longest < 200));
        let links = heap.enter(|cx| slots.get(cx).iter().filter_map(|slot| slot.get()?.link.get()).count());
        assert!(links > 0);
    }
}
// ANCHOR_END: simulation
