//! `cargo xtask bench`: criterion for the pure parts, and whole processes on loopback, taking turns in one run.
//!
//! What is compared is CPU time per operation of the server's process tree, as the median of the ratios to `limit` within each
//! round: rates on a shared machine drift by a factor of two, such ratios drift little.

mod authority;
mod estate;
mod process;
mod servers;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use self::estate::Estate;
use self::process::Server;
use self::servers::Kind;
use self::table::{Table, WHAT};
use crate::command::Skip;
use crate::context::Context;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArguments {
    /// Skip the criterion benchmarks of the pure parts
    #[arg(long)]
    processes_only: bool,
    /// Measure the authority alone: issuing beside cfssl, a full inventory, a long revocation list
    #[arg(long)]
    authority: bool,
    /// Rows of the full inventory
    #[arg(long, default_value_t = 200_000)]
    rows: usize,
    /// Entries of the long revocation list
    #[arg(long, default_value_t = 100_000)]
    revoked: usize,
    /// The profile of every binary of ours, the bare proxy among them: what is shipped, unless told otherwise
    #[arg(long, default_value = "dist")]
    profile: String,
    /// Take the binaries as they are
    #[arg(long)]
    built: bool,
    /// Rounds in which every server has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each turn
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// The binaries of this workspace that are measured or measure.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) countermark: PathBuf,
    pub(crate) bench: PathBuf,
}

impl Binaries {
    /// As cargo leaves them, built unless they are to be taken as they are.
    fn new(context: &Context, arguments: &BenchArguments) -> Result<Self> {
        let profile = arguments.profile.as_str();
        if !arguments.built {
            for package in ["countermark-cli", "countermark-bench"] {
                context.cargo(&["build", "--profile", profile, "--package", package]).run()?;
            }
        }
        let of = |name: &str| context.target.join(profile).join(name);
        Ok(Self { countermark: of("countermark"), bench: of("countermark-bench") })
    }
}

pub(crate) fn run(context: &Context, arguments: &BenchArguments) -> Result<ExitCode> {
    if !arguments.processes_only && !arguments.authority {
        context.cargo(&["bench", "--workspace", "--all-features", "--benches"]).run()?;
    }
    let binaries = Binaries::new(context, arguments)?;
    if arguments.authority {
        authority::run(context, binaries, arguments)?;
        return Ok(ExitCode::SUCCESS);
    }
    let estate = Estate::new(context, binaries)?;
    let mut started = Vec::new();
    for kind in Kind::ALL {
        match kind.start(context, &estate) {
            Ok(server) => started.push(server),
            Err(error) if error.is::<Skip>() => println!("SKIP {}: {error:#}", kind.name()),
            Err(error) => return Err(error.context(kind.name())),
        }
    }
    for server in &started {
        is_right(&estate, server)?;
    }
    print!("{}", measure(&estate, &started, arguments)?);
    Ok(ExitCode::SUCCESS)
}

/// A server that permits what it should refuse is not worth measuring.
fn is_right(estate: &Estate, server: &Server) -> Result<()> {
    let answers =
        |agent: &str, tool: &str| -> Result<bool> { Ok(estate.call(server, agent, tool)?.contains("\"result\"")) };
    if !answers("billing-bot", "read_balance")? {
        bail!("{} does not answer the permitted call", server.name);
    }
    if server.kind.is_some_and(Kind::knows_tools) && answers("billing-bot", "drop_ledger")? {
        bail!("{} answers the denied tool", server.name);
    }
    if server.kind.is_some_and(Kind::knows_agents) && answers("intern-bot", "read_balance")? {
        bail!("{} answers the denied agent", server.name);
    }
    Ok(())
}

fn measure(estate: &Estate, servers: &[Server], arguments: &BenchArguments) -> Result<Table> {
    let mut table = Table::new(servers);
    for round in 0..arguments.rounds {
        for what in WHAT {
            for server in servers {
                let before = server.cpu()?;
                let done = estate.load(server, what, arguments.seconds)?;
                let spent = server.cpu()? - before;
                let each = spent.as_secs_f64() / done.max(1) as f64;
                println!("round {round}: {} {what}: {done}, {:.1} µs each", server.name, each * 1e6);
                table.add(what, server, each);
            }
        }
    }
    for server in servers {
        table.set_idle(server, estate.idle(server)?);
    }
    Ok(table)
}
