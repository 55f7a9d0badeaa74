//! `countermark manual`: shell completions and manual pages, written from the command line's own description. Only in builds
//! with the feature `manual`, which is what `cargo xtask dist` asks; nobody else needs it.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{
    args::Cli,
    failure::{Exit, Explain, Outcome},
};

#[derive(Debug, Args)]
pub(crate) struct ManualArgs {
    /// Directory to write `completions/` and `man/` into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &ManualArgs) -> Outcome<Exit> {
    let (completions, man) = (args.out.join("completions"), args.out.join("man"));
    for directory in [&completions, &man] {
        let next = "give --out a directory that can be written";
        std::fs::create_dir_all(directory).or_failed(format!("cannot make {}", directory.display()), next)?;
    }
    write(&completions, &man).or_failed(format!("cannot write below {}", args.out.display()), "")?;
    Ok(Exit::Done)
}

fn write(completions: &Path, man: &Path) -> std::io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut public(), "countermark", completions)?;
    }
    clap_mangen::generate_to(public(), man)
}

/// The command line without this verb.
fn public() -> clap::Command {
    let whole = Cli::command();
    let verbs: Vec<_> = whole.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    let mut public = clap::Command::new("countermark").version(env!("CARGO_PKG_VERSION")).subcommands(verbs);
    public = public.args(whole.get_arguments().cloned()).max_term_width(100).subcommand_required(true);
    public = match whole.get_about() {
        Some(about) => public.about(about.clone()),
        None => public,
    };
    match whole.get_after_help() {
        Some(text) => public.after_help(text.clone()),
        None => public,
    }
}
