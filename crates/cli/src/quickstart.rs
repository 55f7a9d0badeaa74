//! `countermark quickstart`: the whole loop on loopback, narrated, every step a real call over real
//! mTLS to a real MCP server.

mod agent;
mod audit;
mod cut_off;
mod estate;
mod ledger;
mod next;
mod plain;
mod steps;
mod story;
mod tokens;
mod traffic;
mod wire;

use std::path::PathBuf;

use clap::Args;
use tempfile::TempDir;

use self::{estate::Estate, story::Story};
use crate::{
    failure::{Exit, Explain, Outcome, failed},
    output::line,
    runtime,
};

/// Show the whole loop on loopback: mint, connect, be authorised, call, be refused
///
/// A development authority, an MCP server behind guard, two agents, and the evidence. It needs no
/// network, no root and no other program; all ports are the kernel's choice.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  countermark quickstart --once\n  countermark quickstart --dir demo")]
pub(crate) struct QuickstartArgs {
    /// Keep everything in this new directory [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End after the last step: exit code 0 only if every step held
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(args: &QuickstartArgs) -> Outcome<Exit> {
    let home = Home::open(args.dir.as_deref())?;
    runtime::long(async {
        let shutdown = runtime::shutdown()?;
        tokio::select! {
            exit = tell(&home, args.once, &shutdown) => exit,
            () = interrupted(&shutdown, args.once) => {
                Err(failed("interrupted before the last step", "run it again"))
            }
        }
    })
}

/// Completes only where being interrupted is the end of the story.
async fn interrupted(shutdown: &tokio_util::sync::CancellationToken, once: bool) {
    shutdown.cancelled().await;
    if !once {
        std::future::pending::<()>().await;
    }
}

async fn tell(home: &Home, once: bool, shutdown: &tokio_util::sync::CancellationToken) -> Outcome<Exit> {
    let mut story = Story::default();
    let mut estate = Estate::build(home.path()?, shutdown.child_token()).await?;
    estate.introduce()?;
    steps::tell(&mut story, &mut estate).await?;
    story.end()?;
    if !story.held() {
        return Ok(Exit::Failed);
    }
    if !once {
        next::tell(&estate)?;
        estate.stay(shutdown).await;
        line("\nended")?;
    }
    Ok(Exit::Done)
}

/// Where everything is kept.
#[derive(Debug)]
enum Home {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Home {
    fn open(dir: Option<&std::path::Path>) -> Outcome<Self> {
        let Some(dir) = dir else {
            let next = "set TMPDIR to a directory that can be written, or give --dir";
            let home = tempfile::Builder::new().prefix("countermark-").tempdir();
            return home.map(Self::Temporary).or_failed("cannot make a temporary directory", next);
        };
        let next = "give a new or empty directory";
        std::fs::create_dir_all(dir).or_failed(format!("cannot make {}", dir.display()), next)?;
        let mut entries = std::fs::read_dir(dir).or_failed(format!("cannot read {}", dir.display()), next)?;
        if entries.next().is_some() {
            return Err(failed(format!("{} is not empty", dir.display()), next));
        }
        Ok(Self::Given(dir.to_owned()))
    }

    fn path(&self) -> Outcome<PathBuf> {
        let path = match self {
            Self::Given(path) => path.as_path(),
            Self::Temporary(home) => home.path(),
        };
        path.canonicalize().or_failed(format!("cannot resolve {}", path.display()), "")
    }
}
