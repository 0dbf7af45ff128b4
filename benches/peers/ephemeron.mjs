// `ephemeron ENTRIES [ORDER]` on a WeakMap: the same workload as in ../src/systems, and the same line of output.
//
//     node --expose-gc ephemeron.mjs 1000000 random
//
// A WeakMap does not say how many entries it has. That it is empty is seen by a WeakRef to the second object of the chain,
// which only an entry kept alive.

const entries = Number(process.argv[2] ?? 100000);
const name = process.argv[3] ?? "random";

/** The numbers below `count` in an order; the same ones as in ../src/workload.rs. */
function numbers(count, order) {
    const all = Array.from({ length: count }, (_, i) => i);
    if (order === "reverse") {
        all.reverse();
    } else if (order === "random") {
        const mask = (1n << 64n) - 1n;
        let state = 88172645463325252n;
        for (let i = count - 1; i > 0; i--) {
            state ^= (state << 13n) & mask;
            state ^= state >> 7n;
            state ^= (state << 17n) & mask;
            const other = Number(state % BigInt(i + 1));
            [all[i], all[other]] = [all[other], all[i]];
        }
    } else if (order !== "forward") {
        throw new Error(`there is no order ${order}; there are forward, reverse, random`);
    }
    return all;
}

/** A turn of the event loop: only then may the targets of weak references die. */
const turn = () => new Promise((resolve) => setTimeout(resolve));

const order = numbers(entries, name);
const started = performance.now();
let first;
let second;
const map = new WeakMap();
(() => {
    const all = Array.from({ length: entries + 1 }, (_, id) => ({ id }));
    for (const i of order) {
        map.set(all[i], all[i + 1]);
    }
    first = all[0];
    second = new WeakRef(all[1]);
})();
await turn();
const collecting = performance.now();
globalThis.gc();
const collected = performance.now();
let sum = 0;
let present = 0;
for (let object = map.get(first); object !== undefined; object = map.get(object)) {
    sum += object.id;
    present += 1;
}
if (present !== entries || sum !== (entries * (entries + 1)) / 2) {
    throw new Error(`${present} entries with sum ${sum}`);
}
first = undefined;
await turn();
const clearing = performance.now();
globalThis.gc();
const cleared = performance.now();
if (second.deref() !== undefined) {
    throw new Error("entries are left when their keys are gone");
}
const size = name === "random" ? entries : `${entries}x${name}`;
const milliseconds = (from, to) => (to - from).toFixed(3);
console.log(
    `workload=ephemeron system=node-${process.versions.node} size=${size} ` +
        `seconds=${((cleared - started) / 1000).toFixed(6)} check=${sum} ` +
        `collect_ms=${milliseconds(collecting, collected)} clear_ms=${milliseconds(clearing, cleared)}`,
);
