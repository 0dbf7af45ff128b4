//! The benchmark driver: `run` one workload on one system, or `compare` them all.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lacuna_benches::compare::{self, Plan};
use lacuna_benches::driver;
use lacuna_benches::workload::{Kind, Length, Order, Workload};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Workloads with known answers, on lacuna and its peers.
#[derive(Parser)]
#[command(name = "lacuna-benches")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one workload on one system and print one line.
    #[command(after_help = workloads_and_systems())]
    Run(RunArgs),
    /// Run many workloads on many systems, interleaved, with both allocators, and compare.
    #[command(after_help = workloads_and_systems())]
    Compare(Plan),
}

#[derive(Args)]
struct RunArgs {
    /// The workload.
    workload: Kind,
    /// Its sizes.
    #[arg(value_name = "SIZE", required = true)]
    sizes: Vec<u64>,
    /// The order of insertion, for `ephemeron`.
    #[arg(long, default_value_t, value_enum)]
    order: Order,
    /// Seconds for which steps are made, for `pause`.
    #[arg(long, default_value_t, value_name = "SECONDS")]
    seconds: Length,
    /// The system.
    #[arg(long, value_name = "NAME")]
    system: String,
}

fn workloads_and_systems() -> String {
    let workloads: Vec<_> = Kind::ALL.into_iter().map(|kind| format!("  {}\n", kind.usage())).collect();
    let systems: Vec<_> = lacuna_benches::systems::ALL.into_iter().map(|system| system.name()).collect();
    format!(
        "Workloads:\n{}\nSystems: {}\nIn the build with the feature `mimalloc` their names end in `+mimalloc`.",
        workloads.concat(),
        systems.join(" "),
    )
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Compare(plan) => compare::compare(&plan).map_err(|error| error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> Result<(), String> {
    let workload = Workload::new(args.workload, &args.sizes).map_err(|error| error.to_string())?;
    let workload = workload.ordered(args.order).lasting(args.seconds);
    let system = driver::find_system(&args.system).map_err(|error| error.to_string())?;
    let report = driver::run_in_process(workload, system).map_err(|error| error.to_string())?;
    println!("{report}");
    Ok(())
}
