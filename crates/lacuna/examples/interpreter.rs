//! A small Lisp that runs in slices of fuel, with the collector between them.
//!
//! The machine keeps everything it needs to go on in one object, so a slice can end after any step: what is being
//! evaluated in its control field, what is to be done with the result on its stack. Wrong programs panic, which an
//! interpreter for more than show would not do.
//!
//! `cargo run -p lacuna --example interpreter`

use std::collections::HashMap;

use lacuna::{Config, Gc, GcCell, GcRefCell, Heap, Mutator, Root, Trace, WeakLong};

// ANCHOR: values
#[derive(Clone, Copy, Trace)]
enum Value<'gc> {
    Nil,
    Number(i64),
    Symbol(Gc<'gc, str>),
    Pair(Gc<'gc, Pair<'gc>>),
    Closure(Gc<'gc, Closure<'gc>>),
    Builtin(Builtin),
}

/// Functions of the host.
type Builtin = fn(i64, i64) -> i64;

#[derive(Trace)]
struct Pair<'gc> {
    first: Value<'gc>,
    rest: Value<'gc>,
}

/// A function and the bindings that it was made in.
#[derive(Trace)]
struct Closure<'gc> {
    parameters: Value<'gc>,
    body: Value<'gc>,
    scope: Scope<'gc>,
}

/// Bindings, innermost first.
type Scope<'gc> = Option<Gc<'gc, Binding<'gc>>>;

#[derive(Trace)]
struct Binding<'gc> {
    name: Gc<'gc, str>,
    value: Value<'gc>,
    outer: Scope<'gc>,
}
// ANCHOR_END: values

// ANCHOR: machine
#[derive(Clone, Copy, Trace)]
enum Control<'gc> {
    Evaluate(Value<'gc>, Scope<'gc>),
    Return(Value<'gc>),
}

/// What is to be done with a result.
#[derive(Trace)]
enum Frame<'gc> {
    Choose { branches: Value<'gc>, scope: Scope<'gc> },
    Define { name: Gc<'gc, str> },
    Apply { done: Vec<Value<'gc>>, waiting: Value<'gc>, scope: Scope<'gc> },
}

/// The one object that is rooted.
#[derive(Trace)]
struct Machine<'gc> {
    globals: GcRefCell<Vec<(Gc<'gc, str>, Value<'gc>)>>,
    stack: GcRefCell<Vec<Frame<'gc>>>,
    control: GcCell<Control<'gc>>,
}
// ANCHOR_END: machine

// ANCHOR: symbols
/// One object for each name in use, so that symbols are compared by address. The table holds none of them; long weak
/// references, so that no symbol is ever made twice while the first still exists.
#[derive(Default)]
struct Symbols(HashMap<String, WeakLong<str>>);

impl Symbols {
    fn intern<'gc>(&mut self, cx: &Mutator<'gc>, name: &str) -> Gc<'gc, str> {
        let known = self.0.get(name).and_then(|&weak| cx.upgrade_long(weak));
        known.unwrap_or_else(|| {
            let symbol = cx.alloc_str(name);
            self.0.insert(name.to_owned(), symbol.downgrade_long(cx));
            symbol
        })
    }

    fn prune(&mut self, heap: &Heap) {
        self.0.retain(|_, weak| !heap.is_dead_long(*weak));
    }
}
// ANCHOR_END: symbols

/// Reads an expression, or the rest of a list after its opening parenthesis.
fn read<'gc>(cx: &Mutator<'gc>, symbols: &mut Symbols, words: &mut std::vec::IntoIter<String>) -> Value<'gc> {
    match words.next().expect("the program ends within an expression").as_str() {
        "(" => read_list(cx, symbols, words),
        word => word.parse().map_or_else(|_| Value::Symbol(symbols.intern(cx, word)), Value::Number),
    }
}

fn read_list<'gc>(cx: &Mutator<'gc>, symbols: &mut Symbols, words: &mut std::vec::IntoIter<String>) -> Value<'gc> {
    if words.as_slice().first().is_some_and(|word| word == ")") {
        words.next();
        return Value::Nil;
    }
    let first = read(cx, symbols, words);
    Value::Pair(cx.alloc(Pair { first, rest: read_list(cx, symbols, words) }))
}

fn words(program: &str) -> std::vec::IntoIter<String> {
    let spaced = program.replace('(', " ( ").replace(')', " ) ");
    spaced.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

impl<'gc> Value<'gc> {
    fn pair(self) -> (Value<'gc>, Value<'gc>) {
        let Value::Pair(pair) = self else { panic!("expected a list") };
        (pair.first, pair.rest)
    }

    fn symbol(self) -> Gc<'gc, str> {
        let Value::Symbol(name) = self else { panic!("expected a symbol") };
        name
    }

    fn number(self) -> i64 {
        let Value::Number(number) = self else { panic!("expected a number") };
        number
    }
}

// ANCHOR: step
/// One step; whether there is more to do.
fn step<'gc>(cx: &Mutator<'gc>, machine: Gc<'gc, Machine<'gc>>) -> bool {
    let next = match machine.control.get() {
        Control::Evaluate(expression, scope) => evaluate(cx, machine, expression, scope),
        Control::Return(value) => {
            let frame = machine.borrow_mut(cx, |machine| &machine.stack).pop();
            let Some(frame) = frame else { return false };
            proceed(cx, machine, frame, value)
        }
    };
    machine.set(cx, |machine| &machine.control, next);
    true
}
// ANCHOR_END: step

fn evaluate<'gc>(
    cx: &Mutator<'gc>,
    machine: Gc<'gc, Machine<'gc>>,
    expression: Value<'gc>,
    scope: Scope<'gc>,
) -> Control<'gc> {
    let push = |frame| machine.borrow_mut(cx, |machine| &machine.stack).push(frame);
    match expression {
        Value::Symbol(name) => Control::Return(look_up(machine, scope, name)),
        Value::Pair(pair) => match (pair.first, pair.rest) {
            (Value::Symbol(name), rest) if &*name == "if" => {
                let (condition, branches) = rest.pair();
                push(Frame::Choose { branches, scope });
                Control::Evaluate(condition, scope)
            }
            (Value::Symbol(name), rest) if &*name == "define" => {
                let (name, value) = rest.pair();
                push(Frame::Define { name: name.symbol() });
                Control::Evaluate(value.pair().0, scope)
            }
            (Value::Symbol(name), rest) if &*name == "lambda" => {
                let (parameters, body) = rest.pair();
                Control::Return(Value::Closure(cx.alloc(Closure { parameters, body: body.pair().0, scope })))
            }
            (function, waiting) => {
                push(Frame::Apply { done: Vec::new(), waiting, scope });
                Control::Evaluate(function, scope)
            }
        },
        value => Control::Return(value),
    }
}

fn look_up<'gc>(machine: Gc<'gc, Machine<'gc>>, scope: Scope<'gc>, name: Gc<'gc, str>) -> Value<'gc> {
    let local = std::iter::successors(scope, |binding| binding.outer).find(|binding| Gc::ptr_eq(binding.name, name));
    let globals = machine.globals.borrow();
    let global = || globals.iter().rev().find(|(global, _)| Gc::ptr_eq(*global, name)).map(|(_, value)| *value);
    local.map(|binding| binding.value).or_else(global).unwrap_or_else(|| panic!("{} is not defined", &*name))
}

fn proceed<'gc>(
    cx: &Mutator<'gc>,
    machine: Gc<'gc, Machine<'gc>>,
    frame: Frame<'gc>,
    value: Value<'gc>,
) -> Control<'gc> {
    match frame {
        Frame::Choose { branches, scope } => {
            let (then, otherwise) = branches.pair();
            Control::Evaluate(if value.number() != 0 { then } else { otherwise.pair().0 }, scope)
        }
        Frame::Define { name } => {
            machine.borrow_mut(cx, |machine| &machine.globals).push((name, value));
            Control::Return(Value::Nil)
        }
        Frame::Apply { mut done, waiting, scope } => {
            done.push(value);
            match waiting {
                Value::Nil => apply(cx, &done),
                _ => {
                    let (argument, waiting) = waiting.pair();
                    machine.borrow_mut(cx, |machine| &machine.stack).push(Frame::Apply { done, waiting, scope });
                    Control::Evaluate(argument, scope)
                }
            }
        }
    }
}

fn apply<'gc>(cx: &Mutator<'gc>, call: &[Value<'gc>]) -> Control<'gc> {
    match call[0] {
        Value::Builtin(function) => Control::Return(Value::Number(function(call[1].number(), call[2].number()))),
        Value::Closure(closure) => {
            let (mut scope, mut parameters) = (closure.scope, closure.parameters);
            for &value in &call[1..] {
                let (name, rest) = parameters.pair();
                scope = Some(cx.alloc(Binding { name: name.symbol(), value, outer: scope }));
                parameters = rest;
            }
            Control::Evaluate(closure.body, scope)
        }
        _ => panic!("expected a function"),
    }
}

// ANCHOR: run
struct Interpreter {
    heap: Heap,
    machine: Root<Machine<'static>>,
    symbols: Symbols,
}

/// Steps in a slice. Nothing is freed within one, so it bounds the garbage; a collection can only follow one, so it
/// bounds the wait, too.
const FUEL: usize = 1000;

impl Interpreter {
    fn new(config: Config) -> Self {
        let mut heap = Heap::with_config(config);
        let mut symbols = Symbols::default();
        let builtins: [(&str, Builtin); 3] = [("+", |a, b| a + b), ("-", |a, b| a - b), ("<", |a, b| i64::from(a < b))];
        let machine = heap.alloc_with::<Machine<'_>>(|cx| {
            let builtin = |(name, function)| (symbols.intern(cx, name), Value::Builtin(function));
            Machine {
                globals: GcRefCell::new(builtins.map(builtin).into()),
                stack: GcRefCell::default(),
                control: GcCell::new(Control::Return(Value::Nil)),
            }
        });
        Interpreter { heap, machine, symbols }
    }

    /// Runs a program, slice by slice; the number that its last expression has.
    fn run(&mut self, program: &str) -> Option<i64> {
        let mut words = words(program);
        while !words.as_slice().is_empty() {
            self.heap.enter(|cx| {
                let expression = read(cx, &mut self.symbols, &mut words);
                self.machine.get(cx).set(cx, |machine| &machine.control, Control::Evaluate(expression, None));
            });
            while self.slice() {}
        }
        self.heap.with(&self.machine, |machine| match machine.control.get() {
            Control::Return(Value::Number(number)) => Some(number),
            _ => None,
        })
    }

    /// One scope. When it ends, the heap collects if that is due.
    fn slice(&mut self) -> bool {
        self.heap.enter(|cx| {
            let machine = self.machine.get(cx);
            (0..FUEL).all(|_| step(cx, machine))
        })
    }
}

fn main() {
    let mut lisp = Interpreter::new(Config::default().min_heap(1 << 20));

    assert_eq!(lisp.run("(define adder (lambda (n) (lambda (m) (+ n m)))) ((adder 40) 2)"), Some(42));

    let loops = "(define sum (lambda (n total) (if (< n 1) total (sum (- n 1) (+ total n))))) (sum 200000 0)";
    assert_eq!(lisp.run(loops), Some(20_000_100_000));
    let stats = lisp.heap.stats();
    println!("{} collections between slices, {} objects live after the last", stats.collections, stats.live_objects);
    assert!(stats.collections > 5);

    // Globals are held by the machine; names that no program mentions any more are not.
    lisp.run("((lambda (forgotten) forgotten) 1)");
    assert!(lisp.symbols.0.contains_key("forgotten"));
    lisp.heap.collect();
    lisp.symbols.prune(&lisp.heap);
    assert!(!lisp.symbols.0.contains_key("forgotten"));
    assert!(lisp.symbols.0.contains_key("sum"));
    assert_eq!(lisp.run("(sum 10 0)"), Some(55));

    // The same under zeal: a collection after every slice, and the whole heap verified.
    let mut lisp = Interpreter::new(Config::default().zeal(true));
    assert_eq!(lisp.run("(define double (lambda (n) (+ n n))) (double (double 21))"), Some(84));
}
// ANCHOR_END: run
