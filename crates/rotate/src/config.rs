//! `rotate.toml`: which credentials, from whom, delivered where and how, read and refused as a whole.

mod document;
mod error;
mod owner;
mod resolve;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Revocation;
use countermark_credential::directory::Access;
use countermark_identity::SpiffeId;
use http::Uri;

pub use self::error::{ConfigError, Fault};
use self::resolve::Resolver;
use crate::name::Name;
use crate::request::KeyKind;

/// A configuration without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Where `ctl` finds the daemon, if the file says so.
    pub socket: Option<PathBuf>,
    /// Where it is otherwise, where no directory for run-time files is known: beside the file.
    pub socket_beside: PathBuf,
    /// How many renewals run at one time.
    pub concurrency: usize,
    /// The issuers, by name.
    pub issuers: BTreeMap<String, Arc<IssuerEntry>>,
    /// The credentials; those that others depend on come first.
    pub credentials: Vec<Arc<CredentialEntry>>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, line and column of the first fault.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// One credential of an authority of ours, renewed where it is used.
    #[must_use]
    pub fn one(directory: &Path, identity: SpiffeId, url: Uri) -> Self {
        let name: Arc<str> = Arc::from(identity.path().rsplit('/').next().unwrap_or_default());
        let kind = IssuerKind::Authority { url, server: None };
        let issuer = Arc::new(IssuerEntry { name: "authority".to_owned(), kind });
        let entry = CredentialEntry {
            name,
            identity: Name::Spiffe(identity),
            issuer: Arc::clone(&issuer),
            directory: directory.to_owned(),
            ttl: None,
            dns: Vec::new(),
            ip: Vec::new(),
            access: Access::default(),
            key: KeyKind::default(),
            reuse_key: false,
            rank: 0,
            after: Arc::default(),
            sinks: Sinks::default(),
            hooks: Vec::new(),
            probe: None,
        };
        Self {
            socket: None,
            socket_beside: PathBuf::new(),
            concurrency: 1,
            issuers: BTreeMap::from([(issuer.name.clone(), issuer)]),
            credentials: vec![Arc::new(entry)],
        }
    }

    /// Reads the text of a file; paths in it are relative to the file's directory.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Resolver::new(text, path).config()
    }
}

/// An issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuerEntry {
    /// Its name in the file.
    pub name: String,
    /// What it is.
    pub kind: IssuerKind,
}

/// What an issuer is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new kind must be made somewhere, or not build")]
pub enum IssuerKind {
    /// An authority that `countermark ca serve` runs.
    Authority {
        /// Its base URL.
        url: Uri,
        /// Who must answer; without it, the URL's host as a SAN.
        server: Option<SpiffeId>,
    },
    /// A local authority's directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The file with the passphrase of its keys.
        passphrase_file: Option<PathBuf>,
    },
    /// Any server of RFC 7030.
    Est {
        /// The URL above which `cacerts` and `simplereenroll` are.
        url: Uri,
        /// By what it is known.
        server: EstServer,
        /// The roots of the credentials that it issues; without it, those that the directory has.
        bundle: Option<PathBuf>,
        /// The revocation lists of the same.
        crl: Option<PathBuf>,
    },
}

/// By what an EST server is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a server is one of ours, or any other")]
pub enum EstServer {
    /// As every server is here: by a `/server/` identity of the credential's trust domain.
    Spiffe {
        /// Who must answer; without it, the URL's host as a SAN.
        server: Option<SpiffeId>,
        /// What it means that there is no list by which to judge it.
        revocation: Revocation,
    },
    /// As any https server is: by a chain under roots of its own that names the host of the URL. Nobody looks whether it is revoked.
    Host {
        /// The file with the roots.
        roots: PathBuf,
    },
}

/// A credential to keep fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialEntry {
    /// Its name in the file, in status and in metrics.
    pub name: Arc<str>,
    /// Whose it is.
    pub identity: Name,
    /// From whom.
    pub issuer: Arc<IssuerEntry>,
    /// Where it is delivered.
    pub directory: PathBuf,
    /// How long it should live; the issuer's profile decides without it.
    pub ttl: Option<Duration>,
    /// DNS names beside its identity, where the issuer is a directory.
    pub dns: Vec<String>,
    /// Addresses beside its identity, where the issuer is a directory.
    pub ip: Vec<IpAddr>,
    /// For whom its files are.
    pub access: Access,
    /// The kind of its key.
    pub key: KeyKind,
    /// Whether a renewal keeps the key.
    pub reuse_key: bool,
    /// How deep it stands in the chains of `after`.
    pub rank: usize,
    /// The credentials that are renewed before this one, when both are due; those that they come after, too.
    pub after: Arc<[Arc<str>]>,
    /// Further forms.
    pub sinks: Sinks,
    /// What is done after a switch, in this order; further places of delivery come first.
    pub hooks: Vec<HookEntry>,
    /// Where the consumer is looked at.
    pub probe: Option<ProbeEntry>,
}

/// Further forms that are delivered beside the usual ones, each optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sinks {
    /// Writes `combined.pem`: leaf, intermediates, key.
    pub combined: bool,
    /// Writes `keystore.p12`, under the password in this file.
    pub keystore_password: Option<PathBuf>,
}

/// Where a Secret manifest is written, and as whose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretSink {
    /// The file.
    pub path: PathBuf,
    /// The name of the Secret.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookEntry {
    /// What it does.
    pub kind: HookKind,
    /// How long it may take.
    pub timeout: Duration,
    /// After what it is run.
    pub on: HookOccasion,
}

/// After what a hook is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two things that are delivered")]
pub enum HookOccasion {
    /// After either: its consumer reads certificates and roots or revocation lists.
    #[default]
    Both,
    /// After the next generation alone.
    Credential,
}

impl HookOccasion {
    /// Whether other roots or lists are an occasion.
    #[must_use]
    pub const fn trust(self) -> bool {
        matches!(self, Self::Both)
    }
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new kind must be run somewhere, or not build")]
pub enum HookKind {
    /// `keystore.p12` written anew where the roots in it are no longer those of the directory.
    Keystore,
    /// Delivery to a directory as Kubernetes projects volumes.
    Projected {
        /// The directory.
        dir: PathBuf,
    },
    /// Delivery as a Kubernetes Secret manifest.
    Secret(SecretSink),
    /// An HTTP request to this machine.
    Request {
        /// The method.
        method: http::Method,
        /// The URL.
        url: Uri,
    },
    /// A command.
    Run {
        /// The program and its arguments.
        command: Vec<String>,
        /// Its environment beside what every command gets.
        env: BTreeMap<String, String>,
    },
    /// A signal to the process of a pid file.
    SignalPid {
        /// The file.
        pid_file: PathBuf,
        /// The signal's name.
        signal: SignalName,
    },
    /// A signal to a systemd unit.
    SignalUnit {
        /// The unit.
        unit: String,
        /// The signal's name.
        signal: SignalName,
    },
    /// A file whose time changes.
    Touch {
        /// The file.
        path: PathBuf,
    },
}

impl HookKind {
    /// Whether it is a further place of delivery.
    #[must_use]
    pub const fn delivers(&self) -> bool {
        matches!(self, Self::Keystore | Self::Projected { .. } | Self::Secret(_))
    }
}

/// The signals by which programs are told to read their files again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "signals that end a program are none of them")]
pub enum SignalName {
    /// SIGHUP
    Hup,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
}

impl SignalName {
    /// As `kill` knows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
        }
    }
}

/// Where and how the consumer is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeEntry {
    /// HOST:PORT.
    pub address: String,
    /// The name that is asked for.
    pub server_name: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether the hooks run again while it keeps finding another certificate.
    pub repeat_hooks: bool,
}

#[cfg(test)]
mod tests;
