//! What a heap tells of its collections, and the presets.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lacuna::{Cause, Config, Event, EventKind, Gc, GcCell, Heap, Phase, Root, StepBudget, Trace};

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

/// A heap that writes down what it does.
fn listening(config: Config) -> (Heap, Rc<RefCell<Vec<Event>>>) {
    let mut heap = Heap::with_config(config);
    let events = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&events);
    heap.on_event(move |event| log.borrow_mut().push(*event));
    (heap, events)
}

/// A list of so many nodes, made in scopes of a thousand.
fn list(heap: &mut Heap, length: usize) -> Root<Node<'static>> {
    let mut first: Root<Node<'static>> = heap.alloc_with::<Node<'static>>(|_| Node { next: GcCell::new(None) });
    for _ in 0..length / 1000 {
        first = heap.enter(|cx| {
            let mut first: Gc<'_, Node<'_>> = first.get(cx);
            for _ in 0..1000 {
                first = cx.alloc(Node { next: GcCell::new(Some(first)) });
            }
            first.root(cx)
        });
    }
    first
}

#[test]
fn each_kind_of_collection_is_told_with_its_cause() {
    let (mut heap, events) = listening(Config::default().collect_automatically(false));
    let kept = list(&mut heap, 10_000);
    drop(list(&mut heap, 5_000));
    heap.collect();
    let [event] = events.take()[..] else { panic!("one collection is one event") };
    assert_eq!((event.kind, event.cause, event.phase), (EventKind::Major, Cause::Explicit, Phase::Idle));
    assert!(event.objects_traced > 10_000 && event.bytes_after < event.bytes_before);
    assert_eq!((event.time, event.pause), (None, None), "no clock was asked for");

    drop(list(&mut heap, 1_000));
    heap.collect_minor();
    let [event] = events.take()[..] else { panic!("one collection is one event") };
    assert_eq!(event.kind, EventKind::Minor);
    assert!(event.objects_traced < 1_000);

    heap.begin_major();
    while heap.step(StepBudget::units(500)) != Phase::Idle {}
    let told = events.take();
    assert_eq!(told.iter().filter(|event| event.kind == EventKind::Pause).count(), 1);
    assert!(told.len() > 10 && told.iter().all(|event| event.objects_traced <= 1000));
    assert_eq!(told.iter().map(|event| event.objects_traced).sum::<usize>(), heap.stats().last.objects_traced);
    drop(kept);
}

#[test]
fn stops_are_measured_if_asked_for() {
    let (mut heap, events) = listening(Config::default().measure_times(true));
    let kept = list(&mut heap, 10_000);
    heap.collect();
    heap.begin_major();
    while heap.step(StepBudget::units(100)) != Phase::Idle {}
    let stops = heap.stats().stops;
    let told = events.take();
    assert_eq!(stops.count(), told.len() as u64);
    assert_eq!(stops.total(), told.iter().filter_map(|event| event.time).sum::<Duration>());
    assert_eq!(Some(stops.longest()), told.iter().filter_map(|event| event.time).max());
    assert!(stops.quantile(0.5) <= stops.quantile(0.99) && stops.quantile(1.0) == stops.longest());
    assert!(
        told.iter().any(|event| event.kind == EventKind::Pause && event.pause <= event.time && event.pause.is_some())
    );
    drop(kept);
}

#[test]
fn presets_do_what_they_say() {
    let live = |config: Config| {
        let (mut heap, events) = listening(config.min_heap(1 << 20));
        let kept = list(&mut heap, 100_000);
        for _ in 0..100 {
            drop(list(&mut heap, 2_000));
        }
        let told = events.take();
        drop(kept);
        told
    };
    let has = |events: &[Event], kind| events.iter().any(|event| event.kind == kind);
    let balanced = live(Config::balanced());
    assert!(has(&balanced, EventKind::Major) && !has(&balanced, EventKind::Increment));
    assert_eq!(Config::balanced(), Config::default());
    let low_latency = live(Config::low_latency());
    assert!(has(&low_latency, EventKind::Increment) && has(&low_latency, EventKind::Pause));
    assert!(!has(&low_latency, EventKind::Major));
    let throughput = live(Config::throughput());
    let majors = |events: &[Event]| events.iter().filter(|event| event.kind == EventKind::Major).count();
    assert!(majors(&throughput) <= majors(&balanced));
    assert!(live(Config::never()).is_empty());
}

#[test]
fn square_root_growth_gives_large_heaps_less_room() {
    let goal = |config: Config, length| {
        let mut heap = Heap::with_config(config.min_heap(0));
        let kept = list(&mut heap, length);
        heap.collect();
        let stats = heap.stats();
        drop(kept);
        stats.goal_bytes as f64 / stats.live_bytes as f64
    };
    let equal_at = 100_000 * 16;
    let rule = Config::default().square_root_growth(equal_at);
    for (length, growth) in [(25_000, 3.0), (100_000, 2.0), (400_000, 1.5)] {
        let ratio = goal(rule, length);
        assert!((ratio - growth).abs() < 0.05, "{length} nodes: {ratio}");
        assert!((goal(rule.growth_factor(1.25), length) - 1.25).abs() < 0.05);
    }
}

#[test]
#[should_panic(expected = "give the size at which it may double")]
fn a_heap_that_may_not_grow_is_refused() {
    let _ = Config::default().square_root_growth(0);
}

/// What spans say of stops.
#[cfg(feature = "tracing")]
mod spans {
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};
    use std::thread::{self, ThreadId};

    use lacuna::{Config, Heap, Phase, StepBudget};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Those of one thread, since other tests run meanwhile.
    #[derive(Clone)]
    struct Kinds(ThreadId, Arc<Mutex<Vec<String>>>);

    impl Visit for Kinds {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            assert_eq!(field.name(), "kind");
            if thread::current().id() == self.0 {
                self.1.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }

    impl Subscriber for Kinds {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "lacuna"
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            span.record(&mut self.clone());
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, values: &Record<'_>) {
            values.record(&mut self.clone());
        }
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn each_stop_is_a_span_of_its_kind() {
        let kinds = Kinds(thread::current().id(), Arc::default());
        tracing::subscriber::set_global_default(kinds.clone()).unwrap();
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        heap.collect();
        heap.collect_minor();
        heap.begin_major();
        while heap.step(StepBudget::units(1)) == Phase::Marking {}
        let kinds = kinds.1.lock().unwrap();
        assert_eq!((&kinds[..2], kinds.last().unwrap().as_str()), (&["Major".into(), "Minor".into()][..], "Pause"));
        assert!(kinds.len() > 3 && kinds[2..kinds.len() - 1].iter().all(|kind| kind == "Increment"), "{kinds:?}");
    }
}
