//! Where the passphrase of a CA key comes from: a file, systemd's credentials, a terminal. Never an
//! argument, never the environment itself.

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::Args;

use countermark_identity::Secret;

use crate::failure::{Explain, Outcome, failed};

const NEXT: &str = "give --passphrase-file FILE (`-` reads stdin), or $CREDENTIALS_DIRECTORY/ca-passphrase \
                    (systemd LoadCredential=), or run it on a terminal";

/// The passphrase flag of every verb that opens a CA key.
#[derive(Debug, Clone, Args)]
pub(crate) struct PassphraseArgs {
    /// File with the passphrase of the CA keys; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase for an existing key.
    pub(crate) fn open(&self) -> Outcome<Secret<Vec<u8>>> {
        match self.configured()? {
            Some(passphrase) => Ok(passphrase),
            None => prompt("passphrase of the CA keys: "),
        }
    }

    /// The passphrase for new keys: asked for twice on a terminal.
    pub(crate) fn choose(&self) -> Outcome<Secret<Vec<u8>>> {
        if let Some(passphrase) = self.configured()? {
            return Ok(passphrase);
        }
        let first = prompt("passphrase for the new CA keys: ")?;
        if prompt("again: ")?.expose() == first.expose() {
            Ok(first)
        } else {
            Err(failed("the two passphrases differ", "run it again"))
        }
    }

    fn configured(&self) -> Outcome<Option<Secret<Vec<u8>>>> {
        if let Some(file) = &self.passphrase_file {
            return if file.as_os_str() == "-" { from_stdin() } else { from_file(file) }.map(Some);
        }
        let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(None) };
        let file = PathBuf::from(directory).join("ca-passphrase");
        if file.exists() { from_file(&file).map(Some) } else { Ok(None) }
    }
}

fn from_file(file: &Path) -> Outcome<Secret<Vec<u8>>> {
    let text = std::fs::read_to_string(file)
        .map(Secret::new)
        .or_failed(format!("cannot read the passphrase file {}", file.display()), NEXT)?;
    first_line(text.expose(), &file.display().to_string())
}

fn from_stdin() -> Outcome<Secret<Vec<u8>>> {
    let mut text = String::new();
    let read = std::io::stdin().take(64 * 1024).read_to_string(&mut text);
    let text = Secret::new(text);
    read.or_failed("cannot read the passphrase from stdin", NEXT)?;
    first_line(text.expose(), "stdin")
}

/// One line; the line end is not part of the passphrase.
fn first_line(text: &str, from: &str) -> Outcome<Secret<Vec<u8>>> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(failed(format!("the passphrase from {from} is empty"), NEXT));
    }
    if line.contains('\n') {
        return Err(failed(
            format!("the passphrase from {from} has more than one line"),
            "keep only the passphrase in it",
        ));
    }
    Ok(Secret::new(line.as_bytes().to_vec()))
}

fn prompt(question: &str) -> Outcome<Secret<Vec<u8>>> {
    if !std::io::stdin().is_terminal() {
        return Err(failed("the CA keys are encrypted and no passphrase was given", NEXT));
    }
    let passphrase = rpassword::prompt_password(question).or_failed("cannot ask for the passphrase", NEXT)?;
    if passphrase.is_empty() {
        return Err(failed("the passphrase is empty", NEXT));
    }
    Ok(Secret::new(passphrase.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_end_is_not_part_of_it() {
        assert_eq!(first_line("correct horse\n", "x").unwrap().expose(), b"correct horse");
        assert_eq!(first_line("correct horse\r\n", "x").unwrap().expose(), b"correct horse");
    }

    #[test]
    fn empty_and_several_lines_are_refused() {
        assert!(first_line("\n", "x").is_err());
        assert!(first_line("a\nb\n", "x").is_err());
    }
}
