//! `Listeners`: who is called, in which order, whatever the listeners do.

mod heaps;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use heaps::on_each;
use lacuna::{Gc, GcCell, GcRefCell, Heap, Root, Trace};
use lacuna_collections::Listeners;

#[derive(Trace)]
struct Log {
    name: u32,
    heard: GcRefCell<Vec<u32>>,
}

type Signal = Listeners<Log, u32>;

fn log(heap: &mut Heap, name: u32) -> Root<Log> {
    heap.alloc(Log { name, heard: GcRefCell::default() })
}

fn heard(heap: &Heap, log: &Root<Log>) -> Vec<u32> {
    heap.get(log).heard.borrow().to_vec()
}

thread_local! {
    static ORDER: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

fn order() -> Vec<u32> {
    ORDER.with(RefCell::take)
}

fn listen<'gc>(cx: &'gc lacuna::Mutator<'gc>, log: Gc<'gc, Log>, event: &u32) {
    ORDER.with(|order| order.borrow_mut().push(log.name));
    log.borrow_mut(cx, |log| &log.heard).push(*event);
}

#[test]
fn each_live_listener_is_called_once_and_in_order() {
    on_each(|heap| {
        order();
        let signal = Signal::new();
        let mut logs: Vec<_> = (0..10).map(|name| log(heap, name)).collect();
        for log in &logs {
            signal.add(heap, log, listen);
        }
        assert_eq!(signal.notify(heap, &1), 10);
        assert_eq!(order(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        logs.retain(|log| heap.get(log).name % 3 == 0);
        heap.collect();
        assert_eq!((signal.live_count(heap), signal.len_upper_bound()), (4, 10));
        assert_eq!(heap.enter(|cx| signal.notify_in(cx, &2)), 4);
        assert_eq!(order(), [0, 3, 6, 9]);
        assert_eq!(signal.len_upper_bound(), 4); // those it met dead are gone
        assert_eq!(heard(heap, &logs[1]), [1, 2]);
        signal.clear();
        assert_eq!(signal.notify(heap, &3), 0);
    });
}

#[test]
fn rule_01_the_list_keeps_no_listener_alive() {
    on_each(|heap| {
        let signal = Signal::new();
        let log = log(heap, 1);
        signal.add(heap, &log, listen);
        signal.add(heap, &log, listen); // twice: called twice
        assert_eq!(signal.notify(heap, &1), 2);
        assert_eq!(heard(heap, &log), [1, 1]);
        let weak = heap.downgrade(&log);
        drop(log);
        heap.collect();
        assert!(heap.is_dead(weak));
        assert_eq!(signal.notify(heap, &2), 0);
        assert_eq!((signal.prune(heap), signal.len_upper_bound()), (0, 0));
    });
}

#[test]
fn a_removed_listener_is_not_called_and_its_number_names_no_other() {
    on_each(|heap| {
        order();
        let signal = Signal::new();
        let logs: Vec<_> = (0..3).map(|name| log(heap, name)).collect();
        let listeners: Vec<_> = logs.iter().map(|log| signal.add(heap, log, listen)).collect();
        assert!(signal.remove(listeners[1]));
        assert!(!signal.remove(listeners[1]));
        let again = signal.add(heap, &logs[1], listen);
        assert_ne!(again, listeners[1]);
        signal.notify(heap, &1);
        assert_eq!(order(), [0, 2, 1]);
    });
}

/// An object with a signal of its own, which its listeners change while they are called.
#[derive(Trace)]
struct Button<'gc> {
    clicked: Listeners<Reaction<'static>, u32>,
    label: Gc<'gc, str>,
}

#[derive(Trace)]
struct Reaction<'gc> {
    name: u32,
    button: Gc<'gc, Button<'gc>>,
    calls: GcCell<u32>,
    what: GcCell<What>,
    listener: GcCell<Option<lacuna_collections::Listener>>,
    other: GcCell<Option<Gc<'gc, Reaction<'gc>>>>,
}

#[derive(Clone, Copy, Trace)]
enum What {
    Nothing,
    RemoveSelf,
    RemoveOther,
    AddOther,
    ClickAgain,
    Panic,
}

fn react<'gc>(cx: &'gc lacuna::Mutator<'gc>, me: Gc<'gc, Reaction<'gc>>, depth: &u32) {
    ORDER.with(|order| order.borrow_mut().push(me.name));
    me.set(cx, |me| &me.calls, me.calls.get() + 1);
    let clicked = &me.button.clicked;
    match me.what.get() {
        What::Nothing => {}
        What::RemoveSelf => assert!(me.listener.get().is_some_and(|listener| clicked.remove(listener))),
        What::RemoveOther => {
            let other = me.other.get().and_then(|other| other.listener.get());
            other.map(|listener| clicked.remove(listener));
        }
        What::AddOther => {
            let other = me.other.get().expect("it has another");
            clicked.add_in(cx, other, react);
        }
        What::ClickAgain if *depth == 0 => {
            clicked.notify_in(cx, &1);
        }
        What::ClickAgain => {}
        What::Panic => panic!("a listener failed"),
    }
}

fn button(heap: &mut Heap, what: &[(What, usize)]) -> (Root<Button<'static>>, Vec<Root<Reaction<'static>>>) {
    heap.enter(|cx| {
        let button = cx.alloc(Button { clicked: Listeners::new(), label: cx.alloc_str("OK") });
        let reactions: Vec<_> = (0..)
            .zip(what)
            .map(|(name, &(what, _))| {
                let what = GcCell::new(what);
                cx.alloc(Reaction {
                    name,
                    button,
                    calls: GcCell::new(0),
                    what,
                    listener: GcCell::new(None),
                    other: GcCell::new(None),
                })
            })
            .collect();
        for (reaction, &(_, other)) in reactions.iter().zip(what) {
            let listener = button.clicked.add_in(cx, *reaction, react);
            reaction.set(cx, |reaction| &reaction.listener, Some(listener));
            reaction.set(cx, |reaction| &reaction.other, reactions.get(other).copied());
        }
        (button.root(cx), reactions.iter().map(|reaction| reaction.root(cx)).collect())
    })
}

fn click(heap: &mut Heap, button: &Root<Button<'static>>) -> Vec<u32> {
    order();
    heap.enter(|cx| button.get(cx).clicked.notify_in(cx, &0));
    order()
}

#[test]
fn listeners_change_the_list_while_they_are_called() {
    use What::{AddOther, ClickAgain, Nothing, RemoveOther, RemoveSelf};
    on_each(|heap| {
        let (b, r) = button(heap, &[(RemoveSelf, 0), (Nothing, 0), (RemoveSelf, 0), (Nothing, 0)]);
        assert_eq!(click(heap, &b), [0, 1, 2, 3]);
        assert_eq!(click(heap, &b), [1, 3]);
        drop(r);

        // One that has its turn still before it, and one that had it.
        let (b, _r) = button(heap, &[(RemoveOther, 1), (Nothing, 0), (RemoveOther, 0), (Nothing, 0)]);
        assert_eq!(click(heap, &b), [0, 2, 3]);
        assert_eq!(click(heap, &b), [2, 3]);

        // What is added is called the next time.
        let (b, _r) = button(heap, &[(AddOther, 1), (Nothing, 0)]);
        assert_eq!(click(heap, &b), [0, 1]);
        assert_eq!(click(heap, &b), [0, 1, 1]);

        let (b, _r) = button(heap, &[(Nothing, 0), (ClickAgain, 0), (RemoveSelf, 0)]);
        assert_eq!(click(heap, &b), [0, 1, 0, 1, 2]);
        assert_eq!(heap.with(&b, |b| b.label.len()), 2);
    });
}

#[test]
fn a_listener_that_panics_leaves_the_list_whole() {
    on_each(|heap| {
        let (b, _r) = button(heap, &[(What::Nothing, 0), (What::Panic, 0), (What::Nothing, 0)]);
        assert!(catch_unwind(AssertUnwindSafe(|| click(heap, &b))).is_err());
        assert_eq!(order(), [0, 1]);
        heap.enter(|cx| {
            let clicked = &b.get(cx).clicked;
            assert_eq!(clicked.live_count(cx), 3);
        });
    });
}

#[test]
fn listeners_and_the_object_they_listen_to_are_collected_together() {
    on_each(|heap| {
        let (b, r) = button(heap, &[(What::Nothing, 0), (What::Nothing, 0)]);
        drop((b, r));
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
    });
}

#[test]
fn rule_25_a_list_that_is_added_to_for_ever_does_not_grow() {
    let mut heap = Heap::new();
    let signal = Signal::new();
    for name in 0..3_000 {
        let log = log(&mut heap, name);
        signal.add(&mut heap, &log, listen);
        drop(log);
        if name % 20 == 0 {
            heap.collect();
        }
    }
    assert!(signal.len_upper_bound() < 100);
}

#[test]
fn a_collection_between_two_calls_may_take_the_next_listener() {
    // In zeal every call is followed by a collection.
    let mut heap = Heap::with_config(lacuna::Config::default().zeal(true));
    thread_local! {
        static NEXT: RefCell<Option<Root<Log>>> = const { RefCell::new(None) };
    }
    let signal = Signal::new();
    let (first, second) = (log(&mut heap, 0), log(&mut heap, 1));
    signal.add(&mut heap, &first, |_, _, _| drop(NEXT.take()));
    signal.add(&mut heap, &second, listen);
    NEXT.set(Some(second));
    assert_eq!(signal.notify(&mut heap, &1), 1);
    assert_eq!(signal.len_upper_bound(), 1);
}
