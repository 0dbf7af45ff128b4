//! Random programs on the maps and sets, compared after each step with standard collections of numbers and a naive
//! search for what is alive.

mod heaps;

use std::collections::{BTreeMap, BTreeSet};

use heaps::{Node, NodeRoot, id, node};
use lacuna::{Config, Heap};
use lacuna_collections::{WeakKeyMap, WeakSet, WeakValueMap};
use proptest::prelude::*;

/// Variables that can hold an object.
const VARIABLES: usize = 8;

#[derive(Clone, Debug)]
enum Operation {
    New(usize),
    Drop(usize),
    Link(usize, usize),
    Collect,
    MapInsert(u8, usize),
    MapEntry(u8, usize),
    MapRemove(u8),
    MapRetainEven,
    MapPop,
    MapPrune,
    MapClone,
    SetInsert(bool, usize),
    SetRemove(bool, usize),
    SetPop(bool),
    SetUnite,
    SetIntersect,
    SetSubtract,
    SetToggle,
    SetPrune,
    KeyInsert(usize, usize),
    KeyRemove(usize),
    KeyRetainEven,
    KeyPrune,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let variable = || 0..VARIABLES;
    let key = || 0..12_u8;
    prop_oneof![
        6 => variable().prop_map(New),
        4 => variable().prop_map(Drop),
        2 => (variable(), variable()).prop_map(|(from, to)| Link(from, to)),
        4 => Just(Collect),
        6 => (key(), variable()).prop_map(|(key, value)| MapInsert(key, value)),
        3 => (key(), variable()).prop_map(|(key, value)| MapEntry(key, value)),
        1 => key().prop_map(MapRemove),
        1 => Just(MapRetainEven),
        1 => Just(MapPop),
        1 => Just(MapPrune),
        1 => Just(MapClone),
        6 => (any::<bool>(), variable()).prop_map(|(set, object)| SetInsert(set, object)),
        1 => (any::<bool>(), variable()).prop_map(|(set, object)| SetRemove(set, object)),
        1 => any::<bool>().prop_map(SetPop),
        1 => prop_oneof![Just(SetUnite), Just(SetIntersect), Just(SetSubtract), Just(SetToggle), Just(SetPrune)],
        6 => (variable(), variable()).prop_map(|(key, value)| KeyInsert(key, value)),
        1 => variable().prop_map(KeyRemove),
        1 => prop_oneof![Just(KeyRetainEven), Just(KeyPrune)],
    ]
}

/// What should be the case, in numbers of objects.
#[derive(Default)]
struct Model {
    variables: [Option<u32>; VARIABLES],
    edges: BTreeMap<u32, u32>,
    alive: BTreeSet<u32>,
    map: BTreeMap<u8, u32>,
    sets: [BTreeSet<u32>; 2],
    keyed: BTreeMap<u32, u32>,
}

impl Model {
    fn collect(&mut self) {
        let mut alive: BTreeSet<u32> = self.variables.iter().flatten().copied().collect();
        loop {
            let found: BTreeSet<u32> = alive
                .iter()
                .flat_map(|object| [self.edges.get(object), self.keyed.get(object)])
                .flatten()
                .copied()
                .collect();
            let before = alive.len();
            alive.extend(found);
            if alive.len() == before {
                break;
            }
        }
        self.map.retain(|_, object| alive.contains(object));
        self.keyed.retain(|key, _| alive.contains(key));
        for set in &mut self.sets {
            set.retain(|object| alive.contains(object));
        }
        self.alive = alive;
    }
}

struct Tested {
    heap: Heap,
    variables: [Option<NodeRoot>; VARIABLES],
    map: WeakValueMap<u8, Node<'static>>,
    sets: [WeakSet<Node<'static>>; 2],
    keyed: WeakKeyMap<Node<'static>, Node<'static>>,
}

fn run(operations: &[Operation], zeal: bool) {
    let mut heap = Heap::with_config(Config::default().zeal(zeal).collect_automatically(false));
    let keyed = WeakKeyMap::new(&mut heap);
    let mut tested =
        Tested { heap, variables: Default::default(), map: WeakValueMap::new(), sets: Default::default(), keyed };
    let mut model = Model::default();
    for (number, operation) in (0..).zip(operations) {
        step(number, operation, &mut tested, &mut model);
        if zeal {
            // A scope or an allocation has collected in the middle of the step, or else nothing has.
            tested.heap.collect();
            model.collect();
        }
        compare(&tested, &model);
    }
}

fn step(number: u32, operation: &Operation, tested: &mut Tested, model: &mut Model) {
    let Tested { heap, variables, map, sets, keyed } = tested;
    match *operation {
        Operation::New(variable) => {
            variables[variable] = None;
            variables[variable] = Some(node(heap, number));
            model.variables[variable] = Some(number);
            model.alive.insert(number);
        }
        Operation::Drop(variable) => {
            variables[variable] = None;
            model.variables[variable] = None;
        }
        Operation::Link(from, to) => {
            if let (Some(from), Some(to)) = (&variables[from], &variables[to]) {
                heap.enter(|cx| from.get(cx).set(cx, |node| &node.next, Some(to.get(cx))));
                model.edges.insert(id(heap, from), id(heap, to));
            }
        }
        Operation::Collect => {
            heap.collect();
            model.collect();
        }
        Operation::MapInsert(key, value) => {
            if let Some(value) = &variables[value] {
                let old = map.insert(heap, key, value).map(|old| id(heap, &old));
                let expected = model.map.insert(key, id(heap, value));
                assert_eq!(old, expected);
            }
        }
        Operation::MapEntry(key, value) => {
            if let Some(value) = &variables[value] {
                let found = map.entry(heap, key).or_insert_with(heap, |_| value.clone());
                let found = id(heap, &found);
                assert_eq!(*model.map.entry(key).or_insert_with(|| id(heap, value)), found);
            }
        }
        Operation::MapRemove(key) => {
            let removed = map.remove(heap, &key).map(|value| id(heap, &value));
            assert_eq!(removed, model.map.remove(&key));
        }
        Operation::MapRetainEven => {
            map.retain(heap, |_, value| id(heap, &value).is_multiple_of(2));
            model.map.retain(|_, value| value.is_multiple_of(2));
        }
        Operation::MapPop => match map.pop(heap) {
            Some((key, value)) => assert_eq!(model.map.remove(&key), Some(id(heap, &value))),
            None => assert!(model.map.is_empty()),
        },
        Operation::MapPrune => {
            map.prune(heap);
            assert_eq!(map.len_upper_bound(), model.map.len());
        }
        Operation::MapClone => *map = map.clone(),
        Operation::SetInsert(set, object) => {
            if let Some(object) = &variables[object] {
                let is_new = model.sets[usize::from(set)].insert(id(heap, object));
                assert_eq!(sets[usize::from(set)].insert(heap, object), is_new);
            }
        }
        Operation::SetRemove(set, object) => {
            if let Some(object) = &variables[object] {
                let was_member = model.sets[usize::from(set)].remove(&id(heap, object));
                assert_eq!(sets[usize::from(set)].remove(heap, object), was_member);
            }
        }
        Operation::SetPop(set) => match sets[usize::from(set)].pop(heap) {
            Some(object) => assert!(model.sets[usize::from(set)].remove(&id(heap, &object))),
            None => assert!(model.sets[usize::from(set)].is_empty()),
        },
        Operation::SetUnite => {
            let [one, two] = sets;
            one.union_with(heap, two);
            model.sets[0] = &model.sets[0] | &model.sets[1];
        }
        Operation::SetIntersect => {
            let [one, two] = sets;
            one.intersection_with(heap, two);
            model.sets[0] = &model.sets[0] & &model.sets[1];
        }
        Operation::SetSubtract => {
            let [one, two] = sets;
            one.difference_with(heap, two);
            model.sets[0] = &model.sets[0] - &model.sets[1];
        }
        Operation::SetToggle => {
            let [one, two] = sets;
            one.symmetric_difference_with(heap, two);
            model.sets[0] = &model.sets[0] ^ &model.sets[1];
        }
        Operation::SetPrune => {
            sets[0].prune(heap);
            assert_eq!(sets[0].len_upper_bound(), model.sets[0].len());
        }
        Operation::KeyInsert(key, value) => {
            if let (Some(key), Some(value)) = (&variables[key], &variables[value]) {
                let old = keyed.insert(heap, key, value).map(|old| id(heap, &old));
                assert_eq!(old, model.keyed.insert(id(heap, key), id(heap, value)));
            }
        }
        Operation::KeyRemove(key) => {
            if let Some(key) = &variables[key] {
                let removed = keyed.remove(heap, key).map(|value| id(heap, &value));
                assert_eq!(removed, model.keyed.remove(&id(heap, key)));
            }
        }
        Operation::KeyRetainEven => {
            keyed.retain(heap, |heap, _, value| id(heap, value).is_multiple_of(2));
            model.keyed.retain(|_, value| value.is_multiple_of(2));
        }
        Operation::KeyPrune => keyed.prune(heap),
    }
}

fn compare(tested: &Tested, model: &Model) {
    let Tested { heap, map, sets, keyed, .. } = tested;
    let found: BTreeMap<u8, u32> = map.iter(heap).map(|(key, value)| (*key, id(heap, &value))).collect();
    assert_eq!(found, model.map);
    assert_eq!(map.live_count(heap), model.map.len());
    assert!(map.len_upper_bound() >= model.map.len());
    assert!((0..12).all(|key| map.get(heap, &key).map(|value| id(heap, &value)) == model.map.get(&key).copied()));
    for (set, expected) in sets.iter().zip(&model.sets) {
        let found: BTreeSet<u32> = set.iter(heap).map(|object| id(heap, &object)).collect();
        assert_eq!(&found, expected);
        assert_eq!(set.live_count(heap), expected.len());
    }
    let ids = |objects: Vec<NodeRoot>| objects.iter().map(|object| id(heap, object)).collect::<BTreeSet<_>>();
    let [one, two] = sets;
    assert_eq!(ids(one.union(heap, two).collect()), &model.sets[0] | &model.sets[1]);
    assert_eq!(ids(one.intersection(heap, two).collect()), &model.sets[0] & &model.sets[1]);
    assert_eq!(ids(one.difference(heap, two).collect()), &model.sets[0] - &model.sets[1]);
    assert_eq!(ids(one.symmetric_difference(heap, two).collect()), &model.sets[0] ^ &model.sets[1]);
    assert_eq!(one.is_subset(heap, two), model.sets[0].is_subset(&model.sets[1]));
    assert_eq!(one.is_disjoint(heap, two), model.sets[0].is_disjoint(&model.sets[1]));
    for variable in tested.variables.iter().flatten() {
        assert_eq!(one.contains(heap, variable), model.sets[0].contains(&id(heap, variable)));
        let value = keyed.get(heap, variable).map(|value| id(heap, &value));
        assert_eq!(value, model.keyed.get(&id(heap, variable)).copied());
    }
    let found: BTreeMap<u32, u32> =
        keyed.entries(heap).iter().map(|(key, value)| (id(heap, key), id(heap, value))).collect();
    assert_eq!(found, model.keyed);
    assert_eq!(keyed.live_count(heap), model.keyed.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rule_25_programs_agree_with_the_model(operations in prop::collection::vec(operation(), 0..120)) {
        run(&operations, false);
    }

    #[test]
    fn rule_25_programs_agree_with_the_model_in_zeal(operations in prop::collection::vec(operation(), 0..60)) {
        run(&operations, true);
    }
}
