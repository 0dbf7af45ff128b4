//! A frame loop: major collections in increments, done in the time that frames leave, and what the heap tells of its stops.
//!
//! `cargo run -p lacuna --example frame_loop`

use std::cell::RefCell;
use std::rc::Rc;

use lacuna::{Config, Event, EventKind, Gc, GcCell, Heap, Phase, Root, StepBudget, Trace};

// ANCHOR: types
#[derive(Trace)]
struct Sprite<'gc> {
    texture: Gc<'gc, [u8]>,
    born: u64,
}

type Sprites<'gc> = [GcCell<Gc<'gc, Sprite<'gc>>>];
// ANCHOR_END: types

const SPRITES: usize = 20_000;
const FRAMES: u64 = 600;

fn main() {
    frames();
    events();
    stops();
    between_levels();
}

fn sprites(heap: &mut Heap) -> Root<Sprites<'static>> {
    heap.enter(|cx| {
        let texture = cx.alloc_slice([7_u8; 64]);
        let sprite = |_| GcCell::new(cx.alloc(Sprite { texture, born: 0 }));
        cx.alloc_slice_with(SPRITES, sprite).root(cx)
    })
}

/// Replaces a hundredth of the sprites, and makes as many again five times that are gone with the frame.
fn frame(heap: &mut Heap, sprites: &Root<Sprites<'static>>, number: u64) {
    heap.enter(|cx| {
        let sprites = sprites.get(cx);
        for step in 0..200 {
            let place = (number * 200 + step) * 7919 % SPRITES as u64;
            let texture = sprites[place as usize].get().texture;
            let fresh = cx.alloc(Sprite { texture, born: number });
            sprites.set(cx, |sprites| &sprites[place as usize], fresh);
            for _ in 0..5 {
                cx.alloc(Sprite { texture, born: number });
            }
        }
    });
}

fn frames() {
    // ANCHOR: frames
    let mut heap = Heap::with_config(Config::low_latency().min_heap(1 << 20));
    let sprites = sprites(&mut heap);
    for number in 1..=FRAMES {
        frame(&mut heap, &sprites, number);
        // What is left of the frame. A program that draws has a time for that: `StepBudget::time(left)`.
        heap.step(StepBudget::units(2000));
    }
    assert!(heap.stats().collections > heap.stats().minor_collections);
    // ANCHOR_END: frames
    assert!(heap.enter(|cx| sprites.get(cx).iter().all(|sprite| sprite.get().born > 0)));
}

// ANCHOR: log
#[derive(Default)]
struct Log {
    at_once: usize,
    minor: usize,
    increments: usize,
    pauses: usize,
    most_traced: usize,
}

impl Log {
    fn add(&mut self, event: &Event) {
        match event.kind {
            EventKind::Major => self.at_once += 1,
            EventKind::Minor => self.minor += 1,
            EventKind::Increment => self.increments += 1,
            EventKind::Pause => self.pauses += 1,
            _ => {}
        }
        self.most_traced = self.most_traced.max(event.objects_traced);
    }
}
// ANCHOR_END: log

fn events() {
    // ANCHOR: events
    let mut heap = Heap::with_config(Config::low_latency().min_heap(1 << 20));
    let sprites = sprites(&mut heap);
    heap.collect(); // the level is loaded

    let log = Rc::new(RefCell::new(Log::default()));
    let told = Rc::clone(&log);
    heap.on_event(move |event| told.borrow_mut().add(event));
    (1..=FRAMES).for_each(|number| frame(&mut heap, &sprites, number));

    let log = log.borrow();
    assert_eq!(log.at_once, 0); // no major collection was done without interruption
    assert!(log.pauses > 0 && log.increments > log.pauses);
    assert!(log.most_traced < SPRITES / 2);
    println!(
        "{} minor collections; {} major ones in {} increments; {} objects looked into in one stop at the most",
        log.minor,
        log.pauses,
        log.increments + log.pauses,
        log.most_traced
    );
    // ANCHOR_END: events
}

fn stops() {
    // ANCHOR: stops
    let mut heap = Heap::with_config(Config::low_latency().min_heap(1 << 20).measure_times(true));
    let sprites = sprites(&mut heap);
    (1..=FRAMES).for_each(|number| frame(&mut heap, &sprites, number));

    let stops = heap.stats().stops;
    let (usual, rare) = (stops.quantile(0.5), stops.quantile(0.999));
    assert!(usual <= rare && rare <= stops.longest() && stops.longest() <= stops.total());
    // ANCHOR_END: stops
    assert!(stops.count() > 0);
}

fn between_levels() {
    // ANCHOR: between
    let mut heap = Heap::with_config(Config::low_latency());
    let sprites = sprites(&mut heap);
    let old = heap.enter(|cx| sprites.get(cx)[0].get().downgrade(cx));
    frame(&mut heap, &sprites, 100); // replaces the sprite at the first place, among others

    heap.begin_major();
    while heap.step(StepBudget::units(5000)) != Phase::Idle {
        // the loading screen
    }
    assert!(heap.is_dead(old));
    // ANCHOR_END: between
}
