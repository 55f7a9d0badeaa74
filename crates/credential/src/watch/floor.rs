//! The highest numbers that were accepted, below which nothing is accepted again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countermark_identity::{Thumbprint, TrustDomain};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::crl::{Crl, CrlNumber};
use crate::directory::replace_file;

/// Bundle sequences by trust domain, CRL numbers by trust domain and issuer.
#[derive(Debug, Default)]
pub(super) struct Floor {
    document: Document,
    path: Option<PathBuf>,
    dirty: bool,
}

/// The state file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    bundles: BTreeMap<TrustDomain, u64>,
    crls: BTreeMap<TrustDomain, BTreeMap<String, String>>,
}

impl Default for Document {
    fn default() -> Self {
        Self { version: VERSION, bundles: BTreeMap::new(), crls: BTreeMap::new() }
    }
}

impl Floor {
    /// Reads the state file; one that does not exist yet is an empty floor, one that is broken is an error.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, FloorError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: Some(path), ..Self::default() });
            }
            Err(source) => return Err(FloorError::Io { path, source }),
        };
        let document: Option<Document> = serde_json::from_slice(&text).ok();
        let numbers_parse = |document: &Document| {
            document.crls.values().flat_map(BTreeMap::values).all(|number| number.parse::<CrlNumber>().is_ok())
        };
        match document {
            Some(document) if document.version == VERSION && numbers_parse(&document) => {
                Ok(Self { document, path: Some(path), dirty: false })
            }
            _ => Err(FloorError::Broken { path }),
        }
    }

    /// Refuses a bundle that is older than one that was accepted.
    pub(super) fn require_bundle(&self, bundle: &Bundle) -> Result<(), String> {
        let trust_domain = bundle.trust_domain();
        let Some(floor) = self.document.bundles.get(trust_domain) else { return Ok(()) };
        match bundle.sequence() {
            Some(sequence) if sequence >= *floor => Ok(()),
            Some(sequence) => {
                Err(format!("it has sequence {sequence}, and {floor} was accepted before{}", self.remedy()))
            }
            None => Err(format!("it has no sequence, and {floor} was accepted before{}", self.remedy())),
        }
    }

    /// Refuses a revocation list that is older than one of the same issuer that was accepted.
    pub(super) fn require_crl(&self, trust_domain: &TrustDomain, crl: &Crl) -> Result<(), String> {
        let floor = self.document.crls.get(trust_domain).and_then(|floors| floors.get(&issuer_key(crl)));
        let Some(floor) = floor.and_then(|floor| floor.parse::<CrlNumber>().ok()) else { return Ok(()) };
        let issuer = crl.issuer();
        match crl.number() {
            Some(number) if number >= floor => Ok(()),
            Some(number) => Err(format!(
                "the CRL of {issuer} has number {number}, and {floor} was accepted before{}",
                self.remedy()
            )),
            None => Err(format!("the CRL of {issuer} has no number, and {floor} was accepted before{}", self.remedy())),
        }
    }

    /// Raises the floor to an accepted bundle.
    pub(super) fn raise_bundle(&mut self, bundle: &Bundle) {
        let Some(sequence) = bundle.sequence() else { return };
        let floor = self.document.bundles.entry(bundle.trust_domain().clone()).or_default();
        self.dirty |= sequence > *floor;
        *floor = sequence.max(*floor);
    }

    /// Raises the floor to an accepted revocation list.
    pub(super) fn raise_crl(&mut self, trust_domain: &TrustDomain, crl: &Crl) {
        let Some(number) = crl.number() else { return };
        let floors = self.document.crls.entry(trust_domain.clone()).or_default();
        let old = floors.get(&issuer_key(crl)).and_then(|floor| floor.parse::<CrlNumber>().ok());
        if old.is_none_or(|old| number > old) {
            floors.insert(issuer_key(crl), number.to_string());
            self.dirty = true;
        }
    }

    /// Writes the state file, if something changed since; what could not be written is tried again.
    pub(super) fn save(&mut self) -> Result<(), String> {
        let Some(path) = self.path.as_deref().filter(|_| self.dirty) else { return Ok(()) };
        let text = serde_json::to_vec_pretty(&self.document).map_err(|error| error.to_string())?;
        replace_file(path, &text)
            .map_err(|error| format!("what was accepted cannot be remembered over a restart: {error}"))?;
        self.dirty = false;
        Ok(())
    }

    fn remedy(&self) -> String {
        match &self.path {
            Some(path) => format!("; if the authority was restored on purpose, stop, delete {}, start", path.display()),
            None => "; if the authority was restored on purpose, restart".to_owned(),
        }
    }
}

fn issuer_key(crl: &Crl) -> String {
    Thumbprint::of(crl.issuer_der()).to_hex()
}

/// Why the state file is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FloorError {
    /// Its content is not what was written.
    #[error("the state file {} is broken, so that an old CRL could not be told from a new one; delete it to begin anew", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the state file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FloorError {
    /// The state file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Broken { path } | Self::Io { path, .. } => path,
        }
    }
}

const VERSION: u32 = 1;
