//! Where certificates are issued: decided, written down, signed, kept, and only then handed out.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use countermark_identity::{Role, Serial, SpiffeId, UnixTime};
use countermark_issue::{LeafRequest, Profile, PublicKey, SignError, Signer, SubjectError, ca_facts};
use rustls_pki_types::CertificateDer;
use tokio::sync::MutexGuard;

use crate::{
    authority::Authority,
    error::AuthorityError,
    record::{Act, IssuerKind, Outcome},
    service::{
        ledger::Ledger,
        lookup::{Lookup, Reader},
    },
    store::{AuditEntry, Reservation, Store, StoreError, StoredLeaf, Write, Written, sha256_hex},
};

/// Issues over one ledger; any number of requests at a time.
pub(crate) struct Desk {
    authority: Arc<Authority>,
    pub(crate) ledger: Ledger,
    reader: Reader,
    lookup: Lookup,
    signing: ArcSwap<Signing>,
    profiles: std::sync::Mutex<Profiles>,
}

/// The intermediate that signs, and those that have signed.
#[derive(Debug)]
pub(crate) struct Signing {
    pub(crate) signer: Arc<Signer>,
    pub(crate) key_id: String,
    pub(crate) issuers: Vec<KnownIssuer>,
}

/// A CA key that has been, or still is, in use.
#[derive(Clone, Debug)]
pub(crate) struct KnownIssuer {
    pub(crate) key_id: String,
    pub(crate) kind: IssuerKind,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key_identifier: Option<Vec<u8>>,
    pub(crate) not_after: UnixTime,
}

impl Signing {
    pub(crate) fn issuer(&self, key_id: &str) -> Option<&KnownIssuer> {
        self.issuers.iter().find(|issuer| issuer.key_id == key_id)
    }
}

/// What is to be certified, all of it decided by the authority's own material but the key.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) identity: SpiffeId,
    pub(crate) public_key: PublicKey,
    pub(crate) profile: Option<String>,
    pub(crate) life: Life,
    pub(crate) dns: Vec<String>,
    pub(crate) ip: Vec<IpAddr>,
}

/// How long a certificate is to live.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    /// The profile's default, or exactly this.
    Asked(Option<Duration>),
    /// As long as the one before it, within what the profile permits now.
    Like(Duration),
}

/// On whose word.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) act: Act,
    pub(crate) detail: Option<String>,
    /// The SHA-256 of the invite's secret that this redeems.
    pub(crate) invite: Option<String>,
    /// The certificate that this follows.
    pub(crate) after: Option<Serial>,
}

/// A certificate that is signed and durable.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) serial: Serial,
    pub(crate) not_after: UnixTime,
}

impl Desk {
    pub(crate) async fn new(
        authority: Arc<Authority>,
        ledger: Ledger,
        (reader, lookup): (Reader, Lookup),
    ) -> Result<Self, AuthorityError> {
        let signing = ArcSwap::from_pointee(read_signing(&authority).await?);
        Ok(Self { authority, ledger, reader, lookup, signing, profiles: std::sync::Mutex::default() })
    }

    /// Whoever signs now, as this process knows it.
    pub(crate) fn signing(&self) -> Arc<Signing> {
        self.signing.load_full()
    }

    /// Looks again who signs.
    pub(crate) async fn refresh(&self) -> Result<(), AuthorityError> {
        self.signing.store(Arc::new(read_signing(&self.authority).await?));
        Ok(())
    }

    /// The inventory, for reading.
    pub(crate) async fn reader(&self) -> MutexGuard<'_, Box<dyn Store>> {
        self.reader.lock().await
    }

    /// A certificate with what a renewal repeats.
    pub(crate) async fn leaf(&self, serial: &Serial) -> Result<Option<StoredLeaf>, DeskError> {
        self.lookup.leaf(serial).await
    }

    /// Whether nobody reads or writes the inventory any more.
    pub(crate) fn is_over(&self) -> bool {
        self.ledger.is_over() || self.lookup.is_over()
    }

    /// Issues. Whoever goes away in between leaves a row without a certificate, and no certificate without a row.
    pub(crate) async fn issue(&self, wanted: Wanted, ground: Ground, now: UnixTime) -> Result<Handed, DeskError> {
        let signing = self.signing();
        let plan = {
            let (role, _) = wanted.identity.role().ok_or(AuthorityError::Subject(SubjectError::NoRole))?;
            let profile = self.profile(wanted.profile.as_deref(), role, now)?;
            let ttl = wanted.life.within(&profile);
            let request = LeafRequest {
                identity: &wanted.identity,
                public_key: &wanted.public_key,
                ttl,
                dns: &wanted.dns,
                ip: &wanted.ip,
            };
            signing.signer.plan(&profile, &request, now)?
        };
        let serial = plan.serial().clone();
        let reservation = Box::new(Reservation {
            serial: serial.clone(),
            issuer: signing.key_id.clone(),
            identity: wanted.identity,
            issued_at: plan.issued_at(),
            not_before: plan.not_before(),
            not_after: plan.not_after(),
            spki_sha256: sha256_hex(wanted.public_key.spki_der()),
            profile: wanted.profile,
            dns: wanted.dns,
            ip: wanted.ip,
        });
        let audit = AuditEntry {
            identity: Some(reservation.identity.to_string()),
            serial: Some(serial.to_string()),
            detail: ground.detail,
            ..AuditEntry::new(now, ground.act, Outcome::Done)
        };
        let write = match ground.invite {
            Some(secret_sha256) => Write::Redeem { secret_sha256, at: now, reservation, audit },
            None => Write::Reserve { reservation, after: ground.after, audit },
        };
        match self.ledger.write(write).await? {
            Written::Done => {}
            Written::Revoked => return Err(DeskError::Revoked),
            Written::Spent => return Err(DeskError::Spent),
        }
        let leaf = signing.signer.sign(&plan)?;
        self.ledger.write(Write::Keep { serial: serial.clone(), certificate: leaf.to_vec() }).await?;
        let chain = vec![leaf, signing.signer.certificate().clone()];
        Ok(Handed { chain, serial, not_after: plan.not_after() })
    }

    /// The profile, read again when the clock has moved on.
    pub(crate) fn profile(
        &self,
        name: Option<&str>,
        role: Role,
        now: UnixTime,
    ) -> Result<Arc<Profile>, AuthorityError> {
        let key = (name.unwrap_or_else(|| role.as_str()).to_owned(), role);
        let mut profiles = self.profiles.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if profiles.read_at.as_secs().abs_diff(now.as_secs()) > PROFILES_HOLD {
            *profiles = Profiles { read_at: now, known: HashMap::new() };
        }
        if let Some(profile) = profiles.known.get(&key) {
            return Ok(Arc::clone(profile));
        }
        let profile = Arc::new(match name {
            Some(name) => self.authority.named_profile(name, role)?,
            None => self.authority.profile(role)?,
        });
        profiles.known.insert(key, Arc::clone(&profile));
        Ok(profile)
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Life {
    fn within(self, profile: &Profile) -> Option<Duration> {
        match self {
            Self::Asked(ttl) => ttl,
            Self::Like(life) => Some(life.max(profile.min_ttl()).min(profile.max_ttl())),
        }
    }
}

#[derive(Debug, Default)]
struct Profiles {
    read_at: UnixTime,
    known: HashMap<(String, Role), Arc<Profile>>,
}

async fn read_signing(authority: &Authority) -> Result<Signing, AuthorityError> {
    let signer = authority.current_signer().await?;
    let issuers = authority.issuers().await?.into_iter().map(|record| {
        let facts = ca_facts(&record.certificate)?;
        Ok(KnownIssuer {
            key_id: record.key_id,
            kind: record.kind,
            certificate: record.certificate.into(),
            key_identifier: facts.key_identifier,
            not_after: record.not_after,
        })
    });
    let issuers = issuers.collect::<Result<_, AuthorityError>>()?;
    Ok(Signing { key_id: signer.key_id(), signer, issuers })
}

/// Why nothing was issued.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// The authority refuses, or cannot.
    #[error(transparent)]
    Authority(Arc<AuthorityError>),
    /// The profile or the issuer does not permit it.
    #[error(transparent)]
    Sign(Arc<SignError>),
    /// What was to be written could not be.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// Too much waits to be written.
    #[error("too much is waiting to be written")]
    Busy,
    /// What was to be followed is revoked.
    #[error("the certificate is revoked")]
    Revoked,
    /// The invite is not this caller's to redeem.
    #[error("the invite has been used or has expired")]
    Spent,
}

impl From<AuthorityError> for DeskError {
    fn from(error: AuthorityError) -> Self {
        Self::Authority(Arc::new(error))
    }
}

impl From<SignError> for DeskError {
    fn from(error: SignError) -> Self {
        Self::Sign(Arc::new(error))
    }
}

impl From<StoreError> for DeskError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// How many seconds a profile is believed before its file is read again.
const PROFILES_HOLD: u64 = 2;
