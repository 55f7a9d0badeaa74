//! From the file as written to what it means.

mod hook;
mod naming;
mod order;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Revocation;
use countermark_credential::directory::Access;
use countermark_identity::SpiffeId;
use http::Uri;
use toml::Spanned;

use self::naming::Naming;
use self::order::Order;
use self::value::{label, time, value};
use super::document::{Credential, Document, Issuer, Probe, Secret};
use super::{
    Config, ConfigError, CredentialEntry, EstServer, Fault, IssuerEntry, IssuerKind, ProbeEntry, SecretSink, Sinks,
    owner,
};
use crate::request::KeyKind;

/// A fault and where it is.
type Located<T> = Result<T, (Range<usize>, Fault)>;

pub(super) struct Resolver<'a> {
    text: &'a str,
    path: &'a Path,
    /// The directory of the file, absolute: paths are told to others.
    base: PathBuf,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(text: &'a str, path: &'a Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { text, path, base: absolute.parent().map(Path::to_owned).unwrap_or_default() }
    }

    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let document: Document = toml::from_str(self.text)
            .map_err(|error| self.fault(error.span().unwrap_or_default(), Fault::Syntax(error.message().to_owned())))?;
        self.resolve(document).map_err(|(span, fault)| self.fault(span, fault))
    }

    fn fault(&self, span: Range<usize>, fault: Fault) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigError::Fault { path: self.path.to_owned(), line, column, fault }
    }

    fn resolve(&self, document: Document) -> Located<Config> {
        if *document.version.get_ref() != 1 {
            return Err((document.version.span(), Fault::Version { found: *document.version.get_ref() }));
        }
        let concurrency = match &document.concurrency {
            Some(number) if !(1..=1024).contains(number.get_ref()) => {
                let text = number.get_ref().to_string();
                let fault = Fault::Value { text, what: "number of renewals at one time", example: "1 to 1024" };
                return Err((number.span(), fault));
            }
            number => number.as_ref().map_or(CONCURRENCY, |number| *number.get_ref()),
        };
        let mut issuers = BTreeMap::new();
        for issuer in &document.issuer {
            let (entry, name) = (self.issuer(issuer)?, issuer.get_ref().name().to_owned());
            if issuers.insert(name.clone(), Arc::new(entry)).is_some() {
                return Err((issuer.span(), Fault::Duplicate { what: "the issuer", value: name }));
            }
        }
        if document.credential.is_empty() {
            return Err((0..0, Fault::Nothing));
        }
        let credentials = self.credentials(&document.credential, &issuers)?;
        let socket = document.socket.as_deref().map(|socket| self.rooted(socket));
        Ok(Config { socket, socket_beside: self.rooted("rotate.sock"), concurrency, issuers, credentials })
    }

    fn issuer(&self, issuer: &Spanned<Issuer>) -> Located<IssuerEntry> {
        let span = issuer.span();
        let kind = match issuer.get_ref() {
            Issuer::Authority { url, server, .. } => {
                IssuerKind::Authority { url: https(url, &span)?, server: server_id(server.as_deref(), &span)? }
            }
            Issuer::Directory { path, passphrase_file, .. } => IssuerKind::Directory {
                path: self.rooted(path),
                passphrase_file: passphrase_file.as_deref().map(|file| self.rooted(file)),
            },
            Issuer::Est { url, server, roots, bundle, crl, revocation, .. } => IssuerKind::Est {
                url: https(url, &span)?,
                server: self.est_server(server.as_deref(), roots.as_deref(), revocation.as_deref(), &span)?,
                bundle: bundle.as_deref().map(|file| self.rooted(file)),
                crl: crl.as_deref().map(|file| self.rooted(file)),
            },
        };
        Ok(IssuerEntry { name: issuer.get_ref().name().to_owned(), kind })
    }

    /// By what an EST server is known.
    fn est_server(
        &self,
        server: Option<&str>,
        roots: Option<&str>,
        revocation: Option<&str>,
        span: &Range<usize>,
    ) -> Located<EstServer> {
        let revocation = match revocation {
            None | Some("required") => Revocation::Required,
            Some("danger_none") => Revocation::DangerNone,
            Some(other) => {
                let (text, example) = (other.to_owned(), "\"required\" or \"danger_none\"");
                return Err((span.clone(), Fault::Value { text, what: "meaning of a missing list", example }));
            }
        };
        match (server, roots, revocation) {
            (Some(_), Some(_), _) => Err((span.clone(), Fault::TwoServers)),
            (None, Some(_), Revocation::Required) => Err((span.clone(), Fault::Unlisted)),
            (None, Some(roots), Revocation::DangerNone) => Ok(EstServer::Host { roots: self.rooted(roots) }),
            (server, None, revocation) => Ok(EstServer::Spiffe { server: server_id(server, span)?, revocation }),
        }
    }

    fn credentials(
        &self,
        written: &[Spanned<Credential>],
        issuers: &BTreeMap<String, Arc<IssuerEntry>>,
    ) -> Located<Vec<Arc<CredentialEntry>>> {
        let order = Order::of(written)?;
        let (mut names, mut directories) = (BTreeSet::new(), BTreeSet::new());
        let mut entries = Vec::with_capacity(written.len());
        for credential in written {
            let credential = credential.get_ref();
            let entry = self.credential(credential, issuers, &order)?;
            if !names.insert(Arc::clone(&entry.name)) {
                let value = entry.name.to_string();
                return Err((credential.name.span(), Fault::Duplicate { what: "the credential", value }));
            }
            if !directories.insert(entry.directory.clone()) {
                let value = entry.directory.display().to_string();
                return Err((credential.directory.span(), Fault::Duplicate { what: "the directory", value }));
            }
            // Each would be replaced by the other in turn; nor does anything else belong into an identity directory.
            if let Some((place, span)) = self.places(credential).find(|(place, _)| !directories.insert(place.clone())) {
                let value = place.display().to_string();
                return Err((span, Fault::Duplicate { what: "the place of delivery", value }));
            }
            entries.push(Arc::new(entry));
        }
        entries.sort_by_key(|entry| entry.rank);
        Ok(entries)
    }

    fn credential(
        &self,
        written: &Credential,
        issuers: &BTreeMap<String, Arc<IssuerEntry>>,
        order: &Order<'_>,
    ) -> Located<CredentialEntry> {
        let issuer = issuers.get(written.issuer.get_ref()).ok_or_else(|| {
            (written.issuer.span(), Fault::Unknown { what: "issuer", name: written.issuer.get_ref().clone() })
        })?;
        if let (Some(ttl), false) = (&written.ttl, matches!(issuer.kind, IssuerKind::Directory { .. })) {
            return Err((ttl.span(), Fault::Meaningless { key: "ttl" }));
        }
        let Naming { identity, dns, ip } = Naming::of(written, issuer)?;
        let key = written.key.as_ref().map(|key| value(key, "kind of key", "p256, p384 or ed25519", KeyKind::parse));
        Ok(CredentialEntry {
            name: name(&written.name)?,
            identity,
            issuer: Arc::clone(issuer),
            directory: self.rooted(written.directory.get_ref()),
            ttl: written.ttl.as_ref().map(time).transpose()?,
            dns,
            ip,
            access: access(written)?,
            key: key.transpose()?.unwrap_or_default(),
            reuse_key: written.reuse_key,
            rank: order.rank(written.name.get_ref()),
            after: order.after(written.name.get_ref()),
            sinks: self.sinks(written)?,
            hooks: self.hooks(written)?,
            probe: written.probe.as_ref().map(probe).transpose()?,
        })
    }

    fn sinks(&self, written: &Credential) -> Located<Sinks> {
        if let Some(file) = written.keystore_password_file.as_ref().filter(|_| !cfg!(feature = "pkcs12")) {
            let fault = Fault::Syntax("this build writes no PKCS#12 keystores".to_owned());
            return Err((file.span(), fault));
        }
        Ok(Sinks {
            combined: written.combined,
            keystore_password: written.keystore_password_file.as_ref().map(|file| self.rooted(file.get_ref())),
        })
    }

    pub(super) fn secret(&self, written: &Secret) -> Located<SecretSink> {
        let dns = |text: &Spanned<String>| value(text, "name of a Kubernetes object", "billing-bot", label);
        Ok(SecretSink {
            path: self.rooted(written.path.get_ref()),
            name: dns(&written.name)?,
            namespace: written.namespace.as_ref().map(dns).transpose()?,
        })
    }

    fn rooted(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }
}

fn access(written: &Credential) -> Located<Access> {
    let (user, group) = match &written.owner {
        Some(owner) => owner::parse(owner.get_ref()).map_err(|fault| (owner.span(), fault))?,
        None => (None, None),
    };
    let octal = |text: &str| u32::from_str_radix(text, 8).ok();
    let mode = written.mode.as_ref().map(|mode| value(mode, "mode", "\"0640\"", octal)).transpose()?.unwrap_or(0o600);
    let span = written.mode.as_ref().map(Spanned::span).unwrap_or_default();
    Access::new(user, group, mode).map_err(|error| (span, error.into()))
}

fn name(written: &Spanned<String>) -> Located<Arc<str>> {
    let good = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        (!text.is_empty() && text.len() <= 200 && text.chars().all(plain)).then(|| Arc::from(text))
    };
    value(written, "name of a credential", "letters, digits, `-`, `_`, `.` and `/`", good)
}

fn server_id(text: Option<&str>, span: &Range<usize>) -> Located<Option<SpiffeId>> {
    let parse =
        |text: &str| text.parse().map_err(|source| (span.clone(), Fault::Identity { text: text.to_owned(), source }));
    text.map(parse).transpose()
}

fn https(text: &str, span: &Range<usize>) -> Located<Uri> {
    let trimmed = text.trim_end_matches('/');
    let uri: Option<Uri> = trimmed.parse().ok();
    uri.filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some() && uri.query().is_none()).ok_or_else(
        || {
            let fault = Fault::Value { text: text.to_owned(), what: "https URL", example: "https://ca.internal:8443" };
            (span.clone(), fault)
        },
    )
}

fn probe(written: &Probe) -> Located<ProbeEntry> {
    let host_port = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_owned())
    };
    Ok(ProbeEntry {
        address: value(&written.address, "address", "127.0.0.1:8443", host_port)?,
        server_name: written.server_name.clone(),
        timeout: written.timeout.as_ref().map(time).transpose()?.unwrap_or(PROBE_TIMEOUT),
        repeat_hooks: written.repeat_hooks.unwrap_or(true),
    })
}

const CONCURRENCY: usize = 16;
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
