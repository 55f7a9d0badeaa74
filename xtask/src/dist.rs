//! `cargo xtask dist`: one archive with everything that is installed beside the binary.

mod glibc;
mod licences;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::command::Program;
use crate::context::Context;

/// What to pack.
#[derive(Debug, clap::Args)]
pub(crate) struct DistArguments {
    /// Build for this target instead of this machine
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

pub(crate) fn run(context: &Context, arguments: &DistArguments) -> Result<ExitCode> {
    let target = match &arguments.target {
        Some(target) => target.clone(),
        None => host()?,
    };
    let mut build = context.cargo(&["build", "--locked", "--profile", "dist", "--package", "countermark-cli"]);
    if arguments.target.is_some() {
        build = build.args(["--target", &target]);
    }
    build.run()?;
    let folder = if arguments.target.is_some() { context.target.join(&target) } else { context.target.clone() };
    let parts = Parts {
        binary: folder.join("dist/countermark"),
        manual: manual(context)?,
        third_parties: licences::collect(context, &target)?,
    };
    let archive = pack(context, &target, &parts)?;
    println!("{}\n{}", archive.display(), sum_file(&archive).display());
    Ok(ExitCode::SUCCESS)
}

/// What is made for the archive; the rest lies in the repository.
#[derive(Debug)]
struct Parts {
    binary: PathBuf,
    /// The directory that `countermark manual` has written.
    manual: PathBuf,
    third_parties: String,
}

/// Completions and manual pages, by a build with every feature: the one that the tests have made as well.
fn manual(context: &Context) -> Result<PathBuf> {
    let out = context.target.join("manual");
    std::fs::remove_dir_all(&out).ok();
    context.cargo(&["build", "--workspace", "--all-features", "--bin", "countermark"]).run()?;
    Program::new(context.target.join("debug/countermark")).args(["manual"]).arg_path("--out", &out).run()?;
    Ok(out)
}

/// Lays everything out as it is installed below /usr, and packs it. Two runs on one commit make the same bytes.
fn pack(context: &Context, target: &str, parts: &Parts) -> Result<PathBuf> {
    let name = name(target, &parts.binary)?;
    let home = context.target.join("dist");
    let staged = home.join(&name);
    std::fs::remove_dir_all(&staged).ok();
    install(&parts.binary, &staged.join("bin/countermark"))?;
    let completions = parts.manual.join("completions");
    for (from, to) in COMPLETIONS {
        install(&completions.join(from), &staged.join("share").join(to))?;
    }
    install_all(&parts.manual.join("man"), &staged.join("share/man/man1"))?;
    let packaging = context.root.join("packaging");
    for unit in entries(&packaging.join("systemd"))?.iter().filter(|file| is_unit(file)) {
        install(unit, &staged.join("lib/systemd/system").join(file_name(unit)?))?;
    }
    install(&packaging.join("systemd/sysusers.conf"), &staged.join("lib/sysusers.d/countermark.conf"))?;
    let documents = staged.join("share/doc/countermark");
    for file in DOCUMENTS {
        install(&context.root.join(file), &documents.join(file))?;
    }
    install_all(&packaging.join("kubernetes"), &documents.join("kubernetes"))?;
    std::fs::write(documents.join("THIRD-PARTIES"), &parts.third_parties)?;
    archive(context, &home, &name)
}

fn archive(context: &Context, home: &Path, name: &str) -> Result<PathBuf> {
    let archive = home.join(format!("{name}.tar.gz"));
    let committed = Program::new("git").args(["log", "-1", "--format=%ct"]).directory(&context.root).output()?;
    Program::new("tar")
        .args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"])
        .args([format!("--mtime=@{}", committed.trim())])
        .args(["--mode=u=rwX,go=rX", "--use-compress-program=gzip --no-name --best"])
        .arg_path("--file", &archive)
        .arg_path("--directory", home)
        .args([name])
        .run()?;
    let sum = Program::new("sha256sum").args([file_name(&archive)?]).directory(home).output()?;
    std::fs::write(sum_file(&archive), sum)?;
    Ok(archive)
}

/// `countermark-VERSION-TARGET`, where `-gnu` is followed by the oldest glibc that will do.
fn name(target: &str, binary: &Path) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    if !target.ends_with("-gnu") {
        return Ok(format!("countermark-{version}-{target}"));
    }
    let bytes = std::fs::read(binary).with_context(|| format!("{} cannot be read", binary.display()))?;
    let (major, minor) = glibc::needed(&bytes).context("the binary names no version of glibc")?;
    Ok(format!("countermark-{version}-{target}{major}.{minor}"))
}

fn sum_file(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

fn host() -> Result<String> {
    let said = Program::new("rustc").args(["--verbose", "--version"]).output()?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

fn install(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::copy(from, to).with_context(|| format!("{} cannot be packed", from.display()))?;
    Ok(())
}

fn install_all(from: &Path, to: &Path) -> Result<()> {
    let files = entries(from)?;
    if files.is_empty() {
        bail!("{} is empty", from.display());
    }
    files.iter().try_for_each(|file| install(file, &to.join(file_name(file)?)))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut entries: Vec<PathBuf> = read.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    Ok(entries)
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).with_context(|| format!("{} has no name", path.display()))
}

fn is_unit(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "service")
}

/// Where each shell looks.
const COMPLETIONS: [(&str, &str); 3] = [
    ("countermark.bash", "bash-completion/completions/countermark"),
    ("_countermark", "zsh/site-functions/_countermark"),
    ("countermark.fish", "fish/vendor_completions.d/countermark.fish"),
];

const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"];

#[cfg(test)]
mod tests;
