//! The highest numbers that were accepted, below which nothing is accepted again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countermark_identity::{Thumbprint, TrustDomain};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::crl::{Crl, CrlNumber};
use crate::directory::{DeliveryError, Lock, replace_file};

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

impl Document {
    /// What the file holds; nothing if there is none.
    fn read(path: &Path) -> Result<Option<Self>, FloorError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FloorError::Io { path: path.to_owned(), source }),
        };
        let document: Option<Self> = serde_json::from_slice(&text).ok();
        match document {
            Some(document) if document.version == VERSION && document.numbers_parse() => Ok(Some(document)),
            _ => Err(FloorError::Broken { path: path.to_owned() }),
        }
    }

    fn numbers_parse(&self) -> bool {
        self.crls.values().flat_map(BTreeMap::values).all(|number| number.parse::<CrlNumber>().is_ok())
    }

    fn raise(&mut self, others: &Self) {
        for (trust_domain, sequence) in &others.bundles {
            self.raise_bundle(trust_domain, *sequence);
        }
        for (trust_domain, floors) in &others.crls {
            for (issuer, number) in floors {
                let _moved = number.parse().is_ok_and(|number| self.raise_crl(trust_domain, issuer, number));
            }
        }
    }

    /// Says whether that is higher than before.
    fn raise_bundle(&mut self, trust_domain: &TrustDomain, sequence: u64) -> bool {
        let floor = self.bundles.entry(trust_domain.clone()).or_default();
        let higher = sequence > *floor;
        *floor = sequence.max(*floor);
        higher
    }

    /// Says whether that is higher than before.
    fn raise_crl(&mut self, trust_domain: &TrustDomain, issuer: &str, number: CrlNumber) -> bool {
        let floors = self.crls.entry(trust_domain.clone()).or_default();
        let old = floors.get(issuer).and_then(|floor| floor.parse::<CrlNumber>().ok());
        let higher = old.is_none_or(|old| number > old);
        if higher {
            floors.insert(issuer.to_owned(), number.to_string());
        }
        higher
    }
}

impl Floor {
    /// Reads the state file; one that does not exist yet is an empty floor, one that is broken is an error.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, FloorError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let document = Document::read(&path)?.unwrap_or_default();
        Ok(Self { document, path: Some(path), dirty: false })
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

    /// Whether the floor lies below this list: none as new of its issuer was accepted.
    pub(super) fn is_below(&self, trust_domain: &TrustDomain, crl: &Crl) -> bool {
        let floor = self.document.crls.get(trust_domain).and_then(|floors| floors.get(&issuer_key(crl)));
        let floor = floor.and_then(|floor| floor.parse::<CrlNumber>().ok());
        crl.number().is_some_and(|number| floor.is_none_or(|floor| floor < number))
    }

    /// Raises the floor to an accepted bundle.
    pub(super) fn raise_bundle(&mut self, bundle: &Bundle) {
        let Some(sequence) = bundle.sequence() else { return };
        self.dirty |= self.document.raise_bundle(bundle.trust_domain(), sequence);
    }

    /// Raises the floor to an accepted revocation list.
    pub(super) fn raise_crl(&mut self, trust_domain: &TrustDomain, crl: &Crl) {
        let Some(number) = crl.number() else { return };
        self.dirty |= self.document.raise_crl(trust_domain, &issuer_key(crl), number);
    }

    /// Writes the state file, if something changed since; what could not be written is tried again.
    ///
    /// Several processes may follow one directory: under its lock each adds what it accepted to what the others did.
    pub(super) fn save(&mut self) -> Result<(), String> {
        let Some(path) = self.path.as_deref().filter(|_| self.dirty) else { return Ok(()) };
        let forgotten =
            |error: DeliveryError| format!("what was accepted cannot be remembered over a restart: {error}");
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let _lock = match Lock::acquire(folder) {
            // The lock is another user's: better written without than not at all.
            Err(DeliveryError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => None,
            lock => Some(lock.map_err(forgotten)?),
        };
        if let Ok(Some(others)) = Document::read(path) {
            self.document.raise(&others);
        }
        let text = serde_json::to_vec_pretty(&self.document).map_err(|error| error.to_string())?;
        replace_file(path, &text).map_err(forgotten)?;
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
