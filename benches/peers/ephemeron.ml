(* `ephemeron ENTRIES [ORDER]` on the ephemeron tables of OCaml: the same workload as in ../src/systems, and the same line
   of output.

       ocamlopt -I +unix unix.cmxa ephemeron.ml -o ephemeron && ./ephemeron 1000000 random *)

type node = { id : int }

module Table = Ephemeron.K1.Make (struct
  type t = node

  let equal = ( == )
  let hash node = node.id * 0x9E3779B1 land max_int
end)

(* The numbers below [count] in an order; random ones by another generator than in ../src/workload.rs, since integers have
   63 bits here. *)
let numbers count = function
  | "forward" -> Array.init count Fun.id
  | "reverse" -> Array.init count (fun i -> count - 1 - i)
  | "random" ->
      let all = Array.init count Fun.id in
      let random = Random.State.make [| 88172645 |] in
      for i = count - 1 downto 1 do
        let other = Random.State.full_int random (i + 1) in
        let number = all.(i) in
        all.(i) <- all.(other);
        all.(other) <- number
      done;
      all
  | order -> failwith ("there is no order " ^ order ^ "; there are forward, reverse, random")

let timed step =
  let started = Unix.gettimeofday () in
  step ();
  Unix.gettimeofday () -. started

let fill table order =
  let all = Array.init (Array.length order + 1) (fun id -> { id }) in
  Array.iter (fun i -> Table.replace table all.(i) all.(i + 1)) order;
  ref (Some all.(0))
[@@inline never]

(* Follows the chain; the sum of the ids. *)
let sum table head =
  let rec from node sum =
    match Table.find_opt table node with Some next -> from next (sum + next.id) | None -> sum
  in
  match !head with Some node -> from node 0 | None -> 0
[@@inline never]

let () =
  let entries = if Array.length Sys.argv > 1 then int_of_string Sys.argv.(1) else 100_000 in
  let name = if Array.length Sys.argv > 2 then Sys.argv.(2) else "random" in
  let order = numbers entries name in
  let started = Unix.gettimeofday () in
  let table = Table.create 16 in
  let head = fill table order in
  let kept = timed Gc.full_major in
  let sum = sum table head in
  if sum <> entries * (entries + 1) / 2 then failwith (Printf.sprintf "sum %d" sum);
  head := None;
  let cleared = timed Gc.full_major in
  let left = (Table.stats_alive table).Hashtbl.num_bindings in
  if left <> 0 then failwith (Printf.sprintf "%d entries are left when their keys are gone" left);
  let seconds = Unix.gettimeofday () -. started in
  let size = if name = "random" then string_of_int entries else Printf.sprintf "%dx%s" entries name in
  Printf.printf "workload=ephemeron system=ocaml-%s size=%s seconds=%.6f check=%d collect_ms=%.3f clear_ms=%.3f\n"
    Sys.ocaml_version size seconds sum (kept *. 1e3) (cleared *. 1e3)
