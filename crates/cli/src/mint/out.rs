//! Whether `--out` can take what will be minted: asked before anything is signed, for a certificate that cannot be
//! delivered would stand in the inventory.

use std::path::{Path, PathBuf};

use countermark_credential::directory::{self, LoadError};
use countermark_identity::{Leaf, SpiffeId};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tempfile::NamedTempFile;

use crate::failure::{Explain, Outcome, failed};

/// What will be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A key with its chain: the next generation.
    Generation,
    /// The chain for a key that is elsewhere.
    Chain,
}

/// Refuses a directory of another identity, one that nobody can tell whose it is, and one that cannot be written.
pub(super) fn require_receptive(out: &Path, identity: &SpiffeId, what: What) -> Outcome<()> {
    require_writable(out)?;
    let shown = out.display();
    match directory::read(out) {
        Ok(held) if held.credential.spiffe_id() != Some(identity) => {
            let found = held.credential.spiffe_id().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            return Err(failed(
                format!("{shown} holds the credential of {found}, not of {identity}"),
                "deliver to another directory",
            ));
        }
        Ok(held) if what == What::Chain && held.generation.is_some() => return Err(has_generations(out)),
        Ok(_) | Err(LoadError::NoCredential { .. }) => {}
        // A chain goes beside a key that may be missing, or newer than the chain that is there.
        Err(_) if what == What::Chain && out.join("generations").exists() => return Err(has_generations(out)),
        Err(_) if what == What::Chain => match holder(out) {
            Some(found) if found != *identity => {
                return Err(failed(
                    format!("{shown} holds the certificate of {found}, not of {identity}"),
                    "deliver to another directory",
                ));
            }
            _ => {}
        },
        Err(error) => {
            return Err(error).or_failed(
                format!("{shown} holds a credential that cannot be read"),
                "move the directory away, or deliver to another",
            );
        }
    }
    Ok(())
}

/// Whose certificate an earlier request got.
fn holder(out: &Path) -> Option<SpiffeId> {
    let pem = std::fs::read(out.join("tls.crt")).ok()?;
    let leaf = Leaf::parse(&CertificateDer::from_pem_slice(&pem).ok()?).ok()?;
    leaf.spiffe_id().cloned()
}

/// A certificate put over one file of a generation would stand beside the key of another.
fn has_generations(out: &Path) -> anyhow::Error {
    failed(
        format!(
            "{} holds generations, each with its key; the certificate of --csr belongs to none of them",
            out.display()
        ),
        "deliver to another directory, or mint without --csr",
    )
}

/// Tries it, and leaves nothing behind.
fn require_writable(out: &Path) -> Outcome<()> {
    let folder = nearest(out);
    NamedTempFile::new_in(&folder)
        .map(drop)
        .or_failed(format!("cannot write to {}", out.display()), "check that --out can be written, and is not full")
}

/// The directory itself, or the nearest one above it that exists.
fn nearest(out: &Path) -> PathBuf {
    let found = out.ancestors().find(|path| path.as_os_str().is_empty() || path.symlink_metadata().is_ok());
    match found {
        Some(path) if !path.as_os_str().is_empty() => path.to_owned(),
        _ => PathBuf::from("."),
    }
}
