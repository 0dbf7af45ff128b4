#!/usr/bin/env bash
# `ephemeron` on lacuna, beside the WeakMap of node and the ephemerons of OCaml where those are installed.
#
# Runs the systems in turns, and says of the medians: whether the entries that a collection of lacuna looked at are at most
# four times the entries, in each order; how many times as long ten times the entries take, beside a plain linked list that
# lies in the same order; and how many times longer the others took. Ends with 1 if a count is wrong. Times depend on what
# else the machine does: they are judged, and do not fail the script.
#
#     benches/ephemeron_peers.sh [ENTRIES] [RUNS]
set -euo pipefail
cd "$(dirname "$0")"

entries=${1:-1000000}
runs=${2:-3}
tenth=$((entries / 10))
# A quadratic collector would take all day.
limit=300

cargo build --release --quiet -p lacuna-benches
driver=${CARGO_TARGET_DIR:-../target}/release/lacuna-benches

build=$(mktemp -d)
trap 'rm -r "$build"' EXIT

peers=()
if command -v node > /dev/null; then
    peers+=(node)
else
    echo 'node is not installed: left out'
fi
if command -v ocamlopt > /dev/null && cp peers/ephemeron.ml "$build" &&
    (cd "$build" && ocamlopt -w -a -I +unix unix.cmxa ephemeron.ml -o ephemeron); then
    peers+=(ocaml)
else
    echo 'ocamlopt is not installed, or does not build the program: OCaml is left out'
fi

run() {
    local system=$1 size=$2 order=$3
    case $system in
        lacuna) "$driver" run ephemeron "$size" --order "$order" --system lacuna ;;
        node) timeout "$limit" node --expose-gc --max-old-space-size=4096 peers/ephemeron.mjs "$size" "$order" ;;
        ocaml) timeout "$limit" "$build/ephemeron" "$size" "$order" ;;
    esac
}

# The figure $1 of the lines on standard input: the median.
median() {
    grep -o " $1=[0-9.]*" | cut -d= -f2 | sort -g | awk '{ all[NR] = $1 } END { print NR ? all[int((NR + 1) / 2)] : "none" }'
}

failed=0
for order in forward reverse random; do
    for ((i = 0; i < runs; i++)); do
        run lacuna "$tenth" "$order" | tee -a "$build/lacuna-$order-tenth"
        for system in lacuna "${peers[@]}"; do
            run "$system" "$entries" "$order" | tee -a "$build/$system-$order" || echo "$system $order: no result"
        done
    done
done

echo
for order in forward reverse random; do
    examined=$(median examined < "$build/lacuna-$order")
    seconds=$(median seconds < "$build/lacuna-$order")
    if ((examined <= 4 * entries)); then
        echo "$order: $examined entries looked at, of $entries: at most four times as many"
    else
        echo "$order: $examined entries looked at, of $entries: MORE than four times as many"
        failed=1
    fi
    collect=$(median collect_ms < "$build/lacuna-$order")
    tenth_collect=$(median collect_ms < "$build/lacuna-$order-tenth")
    awk -v order="$order" -v all="$collect" -v tenth="$tenth_collect" \
        'BEGIN { printf "%s: the collection takes %.1f times as long for 10 times the entries\n", order, all / tenth }'
    list=$(median list_ms < "$build/lacuna-$order")
    tenth_list=$(median list_ms < "$build/lacuna-$order-tenth")
    awk -v order="$order" -v all="$list" -v tenth="$tenth_list" -v collect="$collect" \
        'BEGIN { printf "%s: that of a list in the same order %.1f times, and %.2f times as long\n", order, all / tenth, all / collect }'
    for system in "${peers[@]}"; do
        touch "$build/$system-$order"
        theirs=$(median seconds < "$build/$system-$order")
        their_collect=$(median collect_ms < "$build/$system-$order")
        if [[ $theirs == none ]]; then
            echo "$order: $system gave no result within $limit s"
        else
            awk -v order="$order" -v system_="$system" -v ours="$seconds" -v theirs="$theirs" \
                -v our_collect="$collect" -v their_collect="$their_collect" 'BEGIN {
                    ratio = theirs / ours
                    printf "%s: %s takes %.1f times as long (the collection %.1f times)%s\n", order, system_, ratio,
                        their_collect / our_collect, ratio < 3 ? ": LESS than 3" : ""
                }'
        fi
    done
done
exit "$failed"
