//! A request that its issuer has taken and decides on later
//! ([RFC 7030 §4.2.3](https://www.rfc-editor.org/rfc/rfc7030#section-4.2.3), status 202).
//!
//! What somebody approves is the request that was sent. Its key and its bytes are therefore kept beside the credential, and sent again
//! until they are answered, or until there is another certificate to renew.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countermark_credential::Credential;
use countermark_credential::directory::replace_file;
use countermark_identity::{Secret, Thumbprint};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateSigningRequestDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::config::{CredentialEntry, IssuerKind};
use crate::request::CertificateRequest;

/// A request and its key.
pub(crate) struct Pending {
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) request: CertificateRequest,
}

impl Pending {
    /// The request that was taken for what follows this credential at this issuer, if there is one.
    pub(crate) fn read(entry: &CredentialEntry, credential: Option<&Credential>) -> Option<Self> {
        let (path, credential) = (path(&entry.directory), credential?);
        let text = std::fs::read(&path).map(Secret::new).ok()?;
        let found = Self::parse(entry, credential, text.expose());
        if found.is_none() {
            forget(&entry.directory);
        }
        found
    }

    fn parse(entry: &CredentialEntry, credential: &Credential, text: &[u8]) -> Option<Self> {
        let about = text.split(|byte| *byte == b'\n').next()?;
        if about != mark(entry, credential).as_bytes() {
            return None;
        }
        let key =
            if entry.reuse_key { credential.key().clone_key() } else { PrivateKeyDer::from_pem_slice(text).ok()? };
        let request = CertificateSigningRequestDer::from_pem_slice(text).ok()?;
        Some(Self { key, request: CertificateRequest::from_der(&request).ok()? })
    }

    /// Keeps it for the next attempt: for nobody but its owner, and by one rename.
    ///
    /// # Errors
    /// What the file system said.
    pub(crate) fn keep(&self, entry: &CredentialEntry, credential: &Credential) -> Result<(), String> {
        let mut text = Zeroizing::new(mark(entry, credential));
        text.push('\n');
        if !entry.reuse_key {
            // Ours are PKCS#8.
            section(&mut text, "PRIVATE KEY", self.key.secret_der());
        }
        section(&mut text, "CERTIFICATE REQUEST", &self.request.der);
        replace_file(&path(&entry.directory), text.as_bytes()).map_err(|error| error.to_string())
    }
}

/// Keeps no request any more.
pub(crate) fn forget(directory: &Path) {
    // What cannot be removed is not for the certificate that is there then, and is not taken up.
    let _best_effort = std::fs::remove_file(path(directory));
}

/// What the request is about: the certificate that it follows, who was asked, and for which kind of key.
fn mark(entry: &CredentialEntry, credential: &Credential) -> String {
    let asked = match &entry.issuer.kind {
        IssuerKind::Authority { url, .. } | IssuerKind::Est { url, .. } => url.to_string(),
        IssuerKind::Directory { path, .. } => path.display().to_string(),
    };
    let after = credential.leaf().thumbprint().to_hex();
    let what = format!("{after} {:?} {} {asked}", entry.key, entry.reuse_key);
    format!("request after {after}, {}", Thumbprint::of(what.as_bytes()).to_hex())
}

fn section(text: &mut String, label: &str, der: &[u8]) {
    let flat = Zeroizing::new(STANDARD.encode(der));
    // Room for all of it, so that nothing is moved and left behind.
    text.reserve(flat.len() + 2 * label.len() + 64);
    for part in ["-----BEGIN ", label, "-----\n", &flat, "\n-----END ", label, "-----\n"] {
        text.push_str(part);
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

const FILE: &str = ".renewal.pem";
