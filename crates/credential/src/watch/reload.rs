//! What the files say now, beside what was last good: no task, no clock, one reading a call.

use std::collections::BTreeMap;
use std::sync::Arc;

use countermark_identity::{SpiffeId, TrustDomain, UnixTime, Usage};

use super::ending::ending;
use super::fed::{Fed, Judged, Origin};
use super::floor::Floor;
use super::slot::Slot;
use super::status::{Health, Status};
use super::{DirectoryConfig, WatchError};
use crate::authority::Authority;
use crate::bundle::Bundle;
use crate::credential::Credential;
use crate::crl::Crl;
use crate::directory::{self, Broken, Generation, Held, LoadError, Material, RawFile, Whose};
use crate::trust::{ChainError, DomainTrust, Revocation, Trust};

/// Reads the files again and again, and keeps the last good of each.
#[derive(Debug)]
pub(super) struct Reloader {
    config: DirectoryConfig,
    floor: Floor,
    credential: Arc<Credential>,
    generation: Option<Generation>,
    bundles: BTreeMap<TrustDomain, Slot<Bundle>>,
    crls: BTreeMap<TrustDomain, Slot<Vec<Arc<Crl>>>>,
    /// Lists of the own trust domain that are fetched.
    fed: Option<Fed>,
    /// What is wrong with files that are nobody's.
    stray: Vec<String>,
    trust: Arc<Trust>,
    /// The trust lags behind what is good in the slots: making it failed, and is tried again.
    lags: bool,
}

/// The first reading.
#[derive(Debug)]
pub(super) struct First {
    pub(super) credential: Arc<Credential>,
    pub(super) trust: Arc<Trust>,
    pub(super) status: Status,
}

/// What a reading changed.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) credential: Option<Arc<Credential>>,
    pub(super) trust: Option<Arc<Trust>>,
    pub(super) status: Status,
}

impl Reloader {
    pub(super) fn start(config: DirectoryConfig, now: UnixTime) -> Result<(Self, First), WatchError> {
        let floor = Floor::open(config.state.clone())?;
        let held = directory::read_valid(&config.dir, now)?;
        let fed = config.feed.clone().map(Fed::open);
        let mut reloader = Self {
            config,
            floor,
            credential: Arc::clone(&held.credential),
            generation: held.generation,
            bundles: BTreeMap::new(),
            crls: BTreeMap::new(),
            fed,
            stray: Vec::new(),
            trust: Arc::new(Trust::nobody()),
            lags: true,
        };
        let mut material = directory::read_material(&reloader.config.dir)?;
        if material.bundles.is_empty() {
            let broken = material.broken.pop().map(|broken| broken.error);
            return Err(broken.unwrap_or(LoadError::NoTrust { dir: reloader.config.dir }).into());
        }
        reloader.take(material);
        let trust = reloader.publish_trust().map_err(|reason| WatchError::Trust { reason })?;
        let mut faults = reloader.faults();
        if trust.trust_domains().next().is_none() {
            return Err(WatchError::Trust { reason: faults.join("; ") });
        }
        let mut credential_fault = None;
        reloader.note_verdict(&mut credential_fault, &mut faults, now);
        let status = reloader.status(credential_fault, faults, now);
        Ok((reloader, First { credential: held.credential, trust, status }))
    }

    /// Reads everything again; `revocation` is what the policy says now.
    pub(super) fn reload(&mut self, revocation: BTreeMap<TrustDomain, Revocation>, now: UnixTime) -> Changes {
        self.raise_met();
        // The credential is read before the trust that it is judged by: whoever delivers switches the trust first.
        let held = directory::read_valid(&self.config.dir, now).map_err(|error| error.to_string());
        let (trust, mut faults) = self.reload_trust(revocation);
        let (credential, mut credential_fault) = match held.and_then(|held| self.take_credential(held, now)) {
            Ok(credential) => (credential, None),
            Err(fault) => (None, Some(fault)),
        };
        self.note_verdict(&mut credential_fault, &mut faults, now);
        Changes { credential, trust, status: self.status(credential_fault, faults, now) }
    }

    fn reload_trust(&mut self, revocation: BTreeMap<TrustDomain, Revocation>) -> (Option<Arc<Trust>>, Vec<String>) {
        let modes_changed = self.config.revocation != revocation;
        self.config.revocation = revocation;
        let mut faults = Vec::new();
        let moved = match directory::read_material(&self.config.dir) {
            Ok(material) => self.take(material),
            // Nothing is withdrawn because a directory cannot be read: that is no completed switch.
            Err(error) => {
                faults.push(error.to_string());
                false
            }
        };
        let mut trust = None;
        self.lags |= moved || modes_changed;
        if self.lags {
            match self.publish_trust() {
                Ok(new) => trust = Some(new),
                Err(fault) => faults.push(fault),
            }
        }
        faults.extend(self.faults());
        (trust, faults)
    }

    fn take_credential(&mut self, held: Held, now: UnixTime) -> Result<Option<Arc<Credential>>, String> {
        let (old, new) = (self.credential.leaf(), held.credential.leaf());
        if old.thumbprint() == new.thumbprint() {
            self.generation = held.generation;
            return Ok(None);
        }
        if !new.is_named_as(old) {
            let (old, new) = (old.called(), new.called());
            return Err(format!("{} now holds {new} instead of {old}; restart to become it", held.path.display()));
        }
        self.require_own(&held.credential, now).map_err(|fault| format!("{}: {fault}", held.path.display()))?;
        self.generation = held.generation;
        self.credential = Arc::clone(&held.credential);
        Ok(Some(held.credential))
    }

    /// Refuses a credential that no peer with the same bundle could believe.
    fn require_own(&self, credential: &Credential, now: UnixTime) -> Result<(), String> {
        match self.verdict(credential, now) {
            Ok(()) | Err(ChainError::Revoked { .. } | ChainError::RevocationUnknown { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Notes what our own verifier says about the credential that is published: a list that it misses, every peer's chain misses.
    fn note_verdict(&self, credential_fault: &mut Option<String>, trust_faults: &mut Vec<String>, now: UnixTime) {
        match self.verdict(&self.credential, now) {
            Ok(()) => {}
            Err(error @ ChainError::RevocationUnknown { .. }) => trust_faults.push(error.to_string()),
            Err(error) => drop(credential_fault.get_or_insert_with(|| error.to_string())),
        }
    }

    /// What a peer with our trust says about a credential of ours. Where the bundle for it is not here, nobody can say.
    fn verdict(&self, credential: &Credential, now: UnixTime) -> Result<(), ChainError> {
        let leaf = credential.leaf();
        let Some(own) = leaf.spiffe_id().map(SpiffeId::trust_domain) else { return Ok(()) };
        let usage = if leaf.permits(Usage::Server).is_ok() { Usage::Server } else { Usage::Client };
        match self.trust.verify(credential.chain(), leaf, own, usage, now) {
            Ok(_) | Err(ChainError::UnknownTrustDomain { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes over what is good in the material, and withdraws what is not in it. Says whether the trust changed.
    fn take(&mut self, mut material: Material) -> bool {
        let before = (self.bundles.len(), self.crls.len());
        let broken = |whose: Whose| material.broken.iter().any(|broken| broken.whose == whose);
        self.bundles.retain(|td, _| material.bundles.contains_key(td) || broken(Whose::Bundle(td.clone())));
        let overridden = self.own().filter(|_| self.config.crl.is_some());
        self.crls.retain(|td, _| {
            material.crls.contains_key(td) || broken(Whose::Crls(td.clone())) || Some(td) == overridden.as_ref()
        });
        let mut moved = before != (self.bundles.len(), self.crls.len());
        for (trust_domain, file) in std::mem::take(&mut material.bundles) {
            moved |= self.take_bundle(&trust_domain, &file);
        }
        self.note_broken(std::mem::take(&mut material.broken), overridden.as_ref());
        if let (Some(own), Some(path)) = (overridden, self.config.crl.clone()) {
            material.crls.remove(&own);
            match RawFile::read_crls(&path) {
                Ok(file) => drop(material.crls.insert(own, file)),
                Err(error) => self.crls.entry(own).or_default().fail(error.to_string()),
            }
        }
        // Before the delivered ones, which may be newer than what was fetched before a restart.
        moved |= self.take_fed();
        for (trust_domain, file) in material.crls {
            moved |= self.take_crls(&trust_domain, &file);
        }
        moved
    }

    /// Takes over what was fetched.
    fn take_fed(&mut self) -> bool {
        let Some(own) = self.own() else { return false };
        let (ours, signers) = (self.known_authorities(&own), self.signers(&own));
        let (Some(fed), floor) = (&mut self.fed, &mut self.floor) else { return false };
        fed.take(|file, origin, before| {
            let place = |fault: String| format!("{}: {fault}", file.path.display());
            let mut crls = file.crls().map_err(|error| error.to_string())?;
            let mut hints = Vec::new();
            match origin {
                Origin::Authority => {}
                Origin::Kept => crls.retain(|crl| floor.require_crl(&own, crl).is_ok()),
                Origin::Anybody => {
                    hints = crls.extract_if(.., |crl| !is_named(crl, &signers)).collect();
                    crls.retain(|crl| require_signature(crl, &signers).is_ok());
                }
            }
            if crls.is_empty() {
                return Err(place("none of its CRLs is of an authority that is known here".to_owned()));
            }
            require_all(&crls, &own, &signers, floor).map_err(place)?;
            require_known(&crls, &ours, before).map_err(place)?;
            accepted(&crls, &own, &signers, floor);
            if origin == Origin::Anybody {
                let others =
                    before.iter().filter(|other| crls.iter().all(|crl| crl.issuer_der() != other.issuer_der()));
                let others: Vec<_> = others.cloned().collect();
                crls.extend(others);
            }
            Ok(Judged { good: crls, hints })
        })
    }

    /// What cannot be read keeps its last good, and shows. The lists that `--crl` stands in for are not looked at.
    fn note_broken(&mut self, broken: Vec<Broken>, overridden: Option<&TrustDomain>) {
        self.stray.clear();
        for Broken { whose, error } in broken {
            match whose {
                Whose::Bundle(td) => self.bundles.entry(td).or_default().fail(error.to_string()),
                Whose::Crls(td) if Some(&td) == overridden => {}
                Whose::Crls(td) => self.crls.entry(td).or_default().fail(error.to_string()),
                Whose::Nobody => self.stray.push(error.to_string()),
            }
        }
    }

    fn take_bundle(&mut self, trust_domain: &TrustDomain, file: &RawFile) -> bool {
        let floor = &mut self.floor;
        self.bundles.entry(trust_domain.clone()).or_default().update(&file.content, || {
            let bundle = file.bundle(trust_domain.clone()).map_err(|error| error.to_string())?;
            floor.require_bundle(&bundle).map_err(|fault| format!("{}: {fault}", file.path.display()))?;
            floor.raise_bundle(&bundle);
            Ok(bundle)
        })
    }

    fn take_crls(&mut self, trust_domain: &TrustDomain, file: &RawFile) -> bool {
        let signers = self.signers(trust_domain);
        let floor = &mut self.floor;
        self.crls.entry(trust_domain.clone()).or_default().update(&file.content, || {
            let crls = file.crls().map_err(|error| error.to_string())?;
            require_all(&crls, trust_domain, &signers, floor)
                .map_err(|fault| format!("{}: {fault}", file.path.display()))?;
            accepted(&crls, trust_domain, &signers, floor);
            Ok(crls)
        })
    }

    /// Raises the floor to the lists of intermediates that were met only after their lists had come.
    fn raise_met(&mut self) {
        for trust_domain in self.bundles.keys() {
            let met = self.trust.met(trust_domain);
            for crl in self.trust.crls(trust_domain) {
                if self.floor.is_below(trust_domain, crl) && is_named(crl, &met) && require_signature(crl, &met).is_ok()
                {
                    self.floor.raise_crl(trust_domain, crl);
                }
            }
        }
    }

    /// Whoever may have signed a list of a trust domain, as far as we know.
    fn signers(&self, trust_domain: &TrustDomain) -> Vec<Arc<Authority>> {
        let mut signers = self.known_authorities(trust_domain);
        signers.extend(self.trust.met(trust_domain));
        signers
    }

    /// The authorities of a trust domain that are known without a peer: its roots, and our own intermediates.
    fn known_authorities(&self, trust_domain: &TrustDomain) -> Vec<Arc<Authority>> {
        let bundle = self.bundles.get(trust_domain).and_then(Slot::good);
        let mut known = bundle.map_or_else(Vec::new, |bundle| bundle.authorities().to_vec());
        let intermediates = self.credential.chain().iter().skip(1);
        known.extend(intermediates.filter_map(|der| Authority::parse(der, trust_domain).ok().map(Arc::new)));
        known
    }

    /// Makes the trust of what is good, and remembers the highest numbers before anybody acts on them.
    fn publish_trust(&mut self) -> Result<Arc<Trust>, String> {
        let mut domains = Vec::with_capacity(self.bundles.len());
        for (trust_domain, slot) in &self.bundles {
            let Some(bundle) = slot.good() else { continue };
            let mut crls = self.crls.get(trust_domain).and_then(Slot::good).cloned().unwrap_or_default();
            if let Some(fed) = self.fed.as_ref().filter(|_| self.own().as_ref() == Some(trust_domain)) {
                crls = fed.beside(crls);
            }
            let revocation = self.config.revocation.get(trust_domain).copied().unwrap_or_default();
            domains.push(DomainTrust { bundle: bundle.clone(), crls, revocation });
        }
        let trust = self.trust.succeed(domains).map_err(|error| error.to_string())?;
        self.trust = Arc::new(trust);
        self.lags = false;
        Ok(Arc::clone(&self.trust))
    }

    /// What is wrong with the trust material, file by file; also writes the floor.
    fn faults(&mut self) -> Vec<String> {
        let bundles = self.bundles.values().filter_map(Slot::fault);
        // Delivered lists that are older than those that were fetched are in nobody's way.
        let fed = self.fed.as_ref().filter(|fed| fed.is_good()).and_then(|_| self.own());
        let crls = self.crls.iter().filter(|(trust_domain, _)| Some(*trust_domain) != fed.as_ref());
        let crls = crls.filter_map(|(_, slot)| slot.fault()).chain(self.fed.as_ref().and_then(Fed::fault));
        let mut faults: Vec<String> = bundles.chain(crls).chain(&self.stray).cloned().collect();
        faults.extend(self.floor.save().err());
        faults.extend(self.fed.as_mut().and_then(|fed| fed.save().err()));
        if self.bundles.is_empty() {
            faults.push("every trust bundle was withdrawn, nobody is believed".to_owned());
        }
        faults
    }

    fn status(&self, credential_fault: Option<String>, trust_faults: Vec<String>, now: UnixTime) -> Status {
        let authorities = self.own().map_or_else(Vec::new, |own| self.known_authorities(&own));
        Status {
            generation: self.generation,
            credential: Health::of(credential_fault.as_slice()),
            trust: Health::of(&trust_faults),
            ending: ending(&authorities, now),
        }
    }

    /// The trust domain of the credential.
    fn own(&self) -> Option<TrustDomain> {
        self.credential.spiffe_id().map(|id| id.trust_domain().clone())
    }
}

/// Refuses lists unless all of them can be believed as far as anybody can tell, and none is older than what was accepted.
fn require_all(
    crls: &[Arc<Crl>],
    trust_domain: &TrustDomain,
    known: &[Arc<Authority>],
    floor: &Floor,
) -> Result<(), String> {
    for crl in crls {
        require_signature(crl, known)?;
        floor.require_crl(trust_domain, crl)?;
    }
    Ok(())
}

/// From now on nothing older than these is, where somebody known has signed them: what a stranger made up must not shut out what
/// is genuine. [`require_all`] has passed.
fn accepted(crls: &[Arc<Crl>], trust_domain: &TrustDomain, known: &[Arc<Authority>], floor: &mut Floor) {
    for crl in crls.iter().filter(|crl| is_named(crl, known)) {
        floor.raise_crl(trust_domain, crl);
    }
}

/// Whether a list names one of these as its issuer.
fn is_named(crl: &Crl, known: &[Arc<Authority>]) -> bool {
    known.iter().any(|authority| authority.subject_der() == crl.issuer_der())
}

/// Refuses fetched lists that leave out an authority that we know and had a list of, and first lists of strangers alone.
fn require_known(crls: &[Arc<Crl>], known: &[Arc<Authority>], before: &[Arc<Crl>]) -> Result<(), String> {
    let has =
        |lists: &[Arc<Crl>], authority: &Authority| lists.iter().any(|crl| crl.issuer_der() == authority.subject_der());
    if let Some(lost) = known.iter().find(|authority| has(before, authority) && !has(crls, authority)) {
        return Err(format!("it has no CRL of {}, and the one before had", lost.subject()));
    }
    if before.is_empty() && !known.is_empty() && !known.iter().any(|authority| has(crls, authority)) {
        return Err("none of its CRLs is of an authority that is known here".to_owned());
    }
    Ok(())
}

/// Refuses a list that names an authority that we know and is not signed by it.
fn require_signature(crl: &Crl, known: &[Arc<Authority>]) -> Result<(), String> {
    let mut named = known.iter().filter(|authority| authority.subject_der() == crl.issuer_der()).peekable();
    if named.peek().is_none() || named.any(|authority| crl.verify(authority.spki_der()).is_ok()) {
        return Ok(());
    }
    Err(format!("the CRL that names {} as its issuer is not signed by it", crl.issuer()))
}
