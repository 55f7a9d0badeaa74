//! By what a credential is named, and whether a certificate is named so.

use std::collections::BTreeSet;
use std::fmt;

use countermark_identity::{Leaf, Role, San, SpiffeId, TrustDomain, Usage};

/// By what a credential is named: what its certificate must say, no more and no less.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a certificate has a SPIFFE ID, or it has none")]
pub enum Name {
    /// By a SPIFFE ID. What stands beside it in the certificate, the issuer decides.
    Spiffe(SpiffeId),
    /// By these subject alternative names alone.
    Sans {
        /// Whose roots vouch for it.
        trust_domain: TrustDomain,
        /// The names.
        sans: BTreeSet<San>,
    },
}

impl Name {
    /// The trust domain whose roots vouch for the credential.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::Spiffe(id) => id.trust_domain(),
            Self::Sans { trust_domain, .. } => trust_domain,
        }
    }

    /// Whether a certificate is named so.
    ///
    /// # Errors
    /// [`Misnamed`] says in what it is not.
    pub fn require(&self, leaf: &Leaf) -> Result<(), Misnamed> {
        let sans = match (self, leaf.spiffe_id()) {
            (Self::Spiffe(wanted), Some(found)) if wanted == found => return Ok(()),
            (Self::Spiffe(wanted), _) => {
                return Err(Misnamed::Other { found: leaf.called(), wanted: wanted.clone() });
            }
            (Self::Sans { .. }, Some(found)) => return Err(Misnamed::Svid { found: found.clone() }),
            (Self::Sans { sans, .. }, None) => sans,
        };
        let found: BTreeSet<San> = leaf.sans().iter().cloned().collect();
        let missing: Vec<San> = sans.difference(&found).cloned().collect();
        let more: Vec<San> = found.difference(sans).cloned().collect();
        match (missing.is_empty(), more.is_empty(), leaf.unread_names()) {
            (true, true, 0) => Ok(()),
            (true, true, count) => Err(Misnamed::Unread { count }),
            (true, false, _) => Err(Misnamed::More { more }),
            (false, ..) => Err(Misnamed::Missing { missing, found: leaf.called() }),
        }
    }

    /// Whether a certificate is named so, for those who need no reason.
    #[must_use]
    pub fn is_of(&self, leaf: &Leaf) -> bool {
        self.require(leaf).is_ok()
    }

    /// In which directions a certificate so named must verify: an agent calls and a server answers and calls; what no SPIFFE ID says
    /// is what the certificate itself is for.
    ///
    /// # Errors
    /// [`Misnamed::Useless`] if it is for neither direction.
    pub fn usages(&self, leaf: &Leaf) -> Result<Vec<Usage>, Misnamed> {
        let both = [Usage::Client, Usage::Server];
        let usages: Vec<Usage> = match self {
            Self::Spiffe(id) if matches!(id.role(), Some((Role::Server, _))) => both.into(),
            Self::Spiffe(_) => vec![Usage::Client],
            Self::Sans { .. } => both.into_iter().filter(|usage| leaf.permits(*usage).is_ok()).collect(),
        };
        if usages.is_empty() { Err(Misnamed::Useless) } else { Ok(usages) }
    }

    /// The common name in a first request.
    pub(crate) fn common_name(&self) -> String {
        match self {
            Self::Spiffe(id) => id.path().rsplit('/').next().unwrap_or_default().to_owned(),
            Self::Sans { sans, .. } => {
                let first = sans.first().map(ToString::to_string).unwrap_or_default();
                first.split_once(':').map(|(_, name)| name.to_owned()).unwrap_or(first)
            }
        }
    }

    /// What a first request asks for, where no certificate says it yet.
    pub(crate) fn sans(&self) -> Vec<San> {
        match self {
            Self::Spiffe(id) => vec![San::Uri(id.as_str().to_owned())],
            Self::Sans { sans, .. } => sans.iter().cloned().collect(),
        }
    }
}

impl fmt::Display for Name {
    /// Writes the SPIFFE ID, or the names with a space between them: `dns:… email:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => id.fmt(f),
            Self::Sans { sans, .. } => f.write_str(&San::list(sans)),
        }
    }
}

impl From<SpiffeId> for Name {
    fn from(id: SpiffeId) -> Self {
        Self::Spiffe(id)
    }
}

/// Why a certificate is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misnamed {
    /// A name is not in it.
    #[error("it is a certificate of {found}, and lacks {}", San::list(missing))]
    Missing {
        /// What it lacks.
        missing: Vec<San>,
        /// Whose it is.
        found: String,
    },
    /// More is in it than was asked for.
    #[error("the certificate also names {}, which nobody asked for", San::list(more))]
    More {
        /// What nobody asked for.
        more: Vec<San>,
    },
    /// It is somebody else's.
    #[error("it is a certificate of {found}, not of {wanted}")]
    Other {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: SpiffeId,
    },
    /// It has a SPIFFE ID, by which alone it would be judged.
    #[error("the certificate is that of {found}, where names without a SPIFFE ID were asked for")]
    Svid {
        /// Whose it is.
        found: SpiffeId,
    },
    /// It has names of kinds that cannot be asked for.
    #[error("the certificate has {count} more names, of kinds that nobody asked for (neither dns, ip, email nor uri)")]
    Unread {
        /// How many.
        count: usize,
    },
    /// It authenticates nobody.
    #[error("the extended key usage of the certificate has neither clientAuth nor serverAuth")]
    Useless,
}

#[cfg(test)]
mod tests {
    use countermark_testkit::{Spec, TestCa, Wrong};
    use rcgen::{CertificateParams, KeyPair, OtherNameValue, SanType};

    use super::*;

    fn name() -> Name {
        let sans = BTreeSet::from([San::dns("etl.corp").unwrap()]);
        Name::Sans { trust_domain: "agents.internal".parse().unwrap(), sans }
    }

    fn leaf(spec: &Spec) -> Leaf {
        Leaf::parse(&TestCa::new("agents.internal").mint(spec).chain[0]).unwrap()
    }

    #[test]
    fn a_name_of_a_kind_that_cannot_be_asked_for_is_one_too_many() {
        let leaf = |more: Option<SanType>| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::DnsName("etl.corp".try_into().unwrap())];
            params.subject_alt_names.extend(more);
            Leaf::parse(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
        };
        assert_eq!(name().require(&leaf(None)), Ok(()));
        let principal = OtherNameValue::Utf8String("admin@corp".to_owned());
        let principal = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], principal));
        assert_eq!(name().require(&leaf(Some(principal))), Err(Misnamed::Unread { count: 1 }));
    }

    #[test]
    fn what_no_spiffe_id_says_is_what_the_certificate_is_for() {
        let spec = || Spec::nameless().dns("etl.corp");
        let usages = |name: &Name, spec: &Spec| name.usages(&leaf(spec));
        assert_eq!(usages(&name(), &spec()), Ok(vec![Usage::Client, Usage::Server]));
        assert_eq!(usages(&name(), &spec().wrong(Wrong::NoClientAuth)), Ok(vec![Usage::Server]));
        assert_eq!(usages(&name(), &spec().wrong(Wrong::NoServerAuth)), Ok(vec![Usage::Client]));
        let neither = spec().wrong(Wrong::NoServerAuth).wrong(Wrong::NoClientAuth);
        assert_eq!(usages(&name(), &neither), Err(Misnamed::Useless));
        for (path, wanted) in [("agent/etl", vec![Usage::Client]), ("server/etl", vec![Usage::Client, Usage::Server])] {
            let id: SpiffeId = format!("spiffe://agents.internal/{path}").parse().unwrap();
            assert_eq!(usages(&id.into(), &spec()), Ok(wanted));
        }
    }
}
