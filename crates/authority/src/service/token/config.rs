//! `enrol.toml`: whose tokens enrol, and as whom. Read and refused as a whole.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countermark_identity::{Clock, Role, SpiffeId, TrustDomain};
use countermark_oauth::{IssuerKeys, KeysAt};
use serde::Deserialize;
use serde_json::Value;

use super::Claims;

/// The issuers whose tokens enrol; none unless somebody wrote them down.
#[derive(Debug, Default)]
pub struct Enrolment {
    pub(super) issuers: Vec<TokenIssuer>,
    /// The files that this was read from.
    files: Vec<PathBuf>,
}

#[derive(Debug)]
pub(super) struct TokenIssuer {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) keys: IssuerKeys,
    /// Where they are fetched; none where a file holds them.
    source: Option<KeysAt>,
    pub(super) rules: Vec<Rule>,
}

/// Claims that stand for an identity.
#[derive(Debug)]
pub(crate) struct Rule {
    claims: BTreeMap<String, String>,
    kubernetes: Option<Kubernetes>,
    pub(crate) identity: SpiffeId,
    pub(crate) profile: Option<String>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) dns: Vec<String>,
    pub(crate) ip: Vec<IpAddr>,
}

impl Enrolment {
    /// Nobody enrols by a token.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Reads the file and the JWKS files that it names, relative to itself. Keys that were fetched for one that was read `before`
    /// are kept where they come from the same place.
    pub fn read(
        path: &Path,
        domain: &TrustDomain,
        before: &Self,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, EnrolmentError> {
        let text = read_text(path)?;
        let at = |offset: usize, message: String| EnrolmentError::at(path, &text, offset, message);
        let document: Document = toml::from_str(&text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        if document.version != 1 {
            return Err(at(0, format!("version {} is unknown; write version = 1", document.version)));
        }
        let mut read = Self { issuers: Vec::new(), files: vec![path.to_owned()] };
        for issuer in document.jwt_issuer {
            let span = issuer.span().start;
            let issuer = issuer.into_inner();
            if read.issuers.iter().any(|known| known.issuer == issuer.issuer) {
                return Err(at(span, format!("the issuer `{}` stands twice", issuer.issuer)));
            }
            let base = path.parent().unwrap_or_else(|| Path::new("."));
            let source = issuer.source(base).map_err(|message| at(span, message))?;
            let keys = match &source {
                Some(source) => before.keys(&issuer.issuer, source, clock),
                None => {
                    let file = base.join(&issuer.jwks);
                    let keys = IssuerKeys::fixed(read_text(&file)?.as_bytes())
                        .map_err(|cause| EnrolmentError::Keys { path: file.clone(), cause: cause.to_string() })?;
                    read.files.push(file);
                    keys
                }
            };
            let mut rules = Vec::with_capacity(issuer.rule.len());
            for rule in issuer.rule {
                let span = rule.span().start;
                rules.push(rule.into_inner().into_rule(domain).map_err(|message| at(span, message))?);
            }
            read.issuers.push(TokenIssuer { issuer: issuer.issuer, audience: issuer.audience, keys, source, rules });
        }
        Ok(read)
    }

    /// The keys of this issuer from there: those that are known, or none yet.
    fn keys(&self, issuer: &str, source: &KeysAt, clock: &Arc<dyn Clock>) -> IssuerKeys {
        let same = |known: &&TokenIssuer| known.issuer == issuer && known.source.as_ref() == Some(source);
        let known = self.issuers.iter().find(same).map(|known| known.keys.clone());
        known.unwrap_or_else(|| IssuerKeys::fresh(Box::new(source.clone()), Arc::clone(clock)))
    }

    /// The files that this was read from.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl Rule {
    /// Whether every condition holds; a rule without one is refused when it is read.
    pub(super) fn matches(&self, claims: &Claims) -> bool {
        let plain = self.claims.iter().all(|(name, wanted)| claims.text(name) == Some(wanted.as_str()));
        plain && self.kubernetes.as_ref().is_none_or(|account| account.matches(claims))
    }
}

/// An account of a Kubernetes cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kubernetes {
    namespace: String,
    service_account: String,
}

impl Kubernetes {
    /// Both places where the API server writes the account must say the same; the second is missing in old tokens only,
    /// which are bound to no pod and never end.
    fn matches(&self, claims: &Claims) -> bool {
        let subject = format!("system:serviceaccount:{}:{}", self.namespace, self.service_account);
        let bound = claims.0.get("kubernetes.io");
        let text = |pointer: &str| bound.and_then(|bound| bound.pointer(pointer)).and_then(Value::as_str);
        claims.text("sub") == Some(&subject)
            && text("/namespace") == Some(&self.namespace)
            && text("/serviceaccount/name") == Some(&self.service_account)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    jwt_issuer: Vec<toml::Spanned<IssuerDocument>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerDocument {
    issuer: String,
    audience: String,
    jwks: String,
    jwks_ca: Option<PathBuf>,
    jwks_bearer: Option<PathBuf>,
    rule: Vec<toml::Spanned<RuleDocument>>,
}

impl IssuerDocument {
    /// Where keys are fetched, if not from a file.
    fn source(&self, base: &Path) -> Result<Option<KeysAt>, String> {
        if !self.jwks.contains("://") {
            let stray = self.jwks_ca.is_some() || self.jwks_bearer.is_some();
            return if stray {
                Err("jwks_ca and jwks_bearer go with a jwks that is a URL".to_owned())
            } else {
                Ok(None)
            };
        }
        let ca = self.jwks_ca.as_ref().ok_or("a jwks that is a URL takes jwks_ca, the file with its server's CA")?;
        let bearer = self.jwks_bearer.as_ref().map(|file| base.join(file));
        KeysAt::new(&self.jwks, base.join(ca), bearer).map(Some).map_err(|error| format!("jwks: {error}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDocument {
    identity: String,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    kubernetes: Option<Kubernetes>,
    profile: Option<String>,
    ttl_seconds: Option<u64>,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    ip: Vec<IpAddr>,
}

impl RuleDocument {
    fn into_rule(self, domain: &TrustDomain) -> Result<Rule, String> {
        if self.claims.is_empty() && self.kubernetes.is_none() {
            return Err("a rule without claims would enrol everybody; write claims or kubernetes".to_owned());
        }
        let wrong =
            |cause: String| format!("`{}` is no identity: {cause}; write agent/NAME or server/NAME", self.identity);
        let (role, name) = self.identity.split_once('/').ok_or_else(|| wrong("it has no role".to_owned()))?;
        let role: Role = role.parse().map_err(|error| wrong(format!("{error}")))?;
        if role == Role::Admin {
            return Err(wrong("administrators are minted with the authority's directory alone".to_owned()));
        }
        let identity = SpiffeId::new(domain, role, name).map_err(|error| wrong(format!("{error}")))?;
        Ok(Rule {
            claims: self.claims,
            kubernetes: self.kubernetes,
            identity,
            profile: self.profile,
            ttl: self.ttl_seconds.map(Duration::from_secs),
            dns: self.dns,
            ip: self.ip,
        })
    }
}

fn read_text(path: &Path) -> Result<String, EnrolmentError> {
    fs::read_to_string(path).map_err(|source| EnrolmentError::Io { path: path.to_owned(), source })
}

/// Why an `enrol.toml` is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file does not say what it should.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// Cause and remedy.
        message: String,
    },
    /// The issuer's keys cannot be used.
    #[error("the JWKS {} cannot be used: {cause}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
}

impl EnrolmentError {
    fn at(path: &Path, text: &str, offset: usize, message: String) -> Self {
        let before = text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self::Document { path: path.to_owned(), line, column, message }
    }
}
