//! Trust material as files, in a versioned directory of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countermark_identity::TrustDomain;

use super::access::Access;
use super::error::{DeliveryError, LoadError};
use super::load::{self, read_file};
use super::names::{
    CA_CRT, CURRENT, GENERATIONS, TLS_CRT, TRUST, VERSIONS, bundle_domain, bundle_name, crl_domain, crl_name,
};
use super::switch::{Files, Link, Switch};
use super::writer::Writer;
use super::{DomainCrls, disk, newer, partners};
use crate::bundle::Bundle;
use crate::crl::Crl;

/// Delivers trust material alone: the credential stays as it is.
///
/// Every trust domain that is not among `bundles` is withdrawn. Material that is already there is not written again. Whose bundle is
/// also `ca.crt` stays as it is: that of the credential's SPIFFE ID, or of whom it was delivered under where there is none.
pub fn deliver_trust(dir: &Path, bundles: &[Bundle], crls: &[DomainCrls]) -> Result<(), DeliveryError> {
    let writer = Writer::open(dir, Access::default())?;
    switch(dir, bundles, crls, of_leaf(dir).or_else(|| own_domain(dir)).as_ref(), writer.access).map(|_| ())
}

impl Writer {
    /// Delivers the trust material of one trust domain. That of every other stays as it is there, and what is there stays where what is
    /// delivered is older. Says whether anything is other than before.
    ///
    /// # Errors
    /// As [`deliver_trust`](super::deliver_trust), and where the trust material of others cannot be read.
    pub fn deliver_own_trust(&self, bundle: Bundle, crls: Vec<Arc<Crl>>) -> Result<bool, DeliveryError> {
        let (dir, trust_domain) = (self.dir.as_path(), bundle.trust_domain().clone());
        let (bundles, crls) = ([bundle], [DomainCrls { trust_domain: trust_domain.clone(), crls }]);
        // By the chain that is there: which intermediate signs now is not known yet to who was not renewed since.
        let held = load::read(dir).ok();
        let chain = held.as_ref().map_or(&[][..], |held| held.credential.chain());
        let (bundles, crls) = partners::beside(dir, &trust_domain, &bundles, &crls)?;
        let (bundles, crls) = newer::or_those_there(dir, &bundles, &crls, chain);
        switch(dir, &bundles, &crls, Some(&of_leaf(dir).unwrap_or(trust_domain)), self.access)
    }
}

/// The number of the trust material that is there, by which it is told from what was there before.
#[must_use]
pub fn trust_version(dir: &Path) -> Option<u64> {
    Switch::new(&dir.join(TRUST), VERSIONS).current()
}

/// Whose roots vouch for the credential that is there, by what was delivered with it: whose bundle is also `ca.crt`.
#[must_use]
pub fn own_domain(dir: &Path) -> Option<TrustDomain> {
    resolve(dir).ok().and_then(|base| own_at(&base))
}

fn own_at(base: &Path) -> Option<TrustDomain> {
    bundle_domain(fs::read_link(base.join(CA_CRT)).ok()?.to_str()?)?.ok()
}

/// The trust domain of the credential that is there, if its SPIFFE ID says one.
fn of_leaf(dir: &Path) -> Option<TrustDomain> {
    let number = Switch::new(dir, GENERATIONS).current()?;
    let leaf = load::leaf_of(&Switch::new(dir, GENERATIONS).path(number).join(TLS_CRT))?;
    leaf.spiffe_id().map(|id| id.trust_domain().clone())
}

/// Switches the trust material under a lock that is held; `own` is whose bundle is also `ca.crt`. Says whether it was another.
pub(super) fn switch(
    dir: &Path,
    bundles: &[Bundle],
    crls: &[DomainCrls],
    own: Option<&TrustDomain>,
    access: Access,
) -> Result<bool, DeliveryError> {
    let base = dir.join(TRUST);
    disk::create_dir(&base, access)?;
    let switch = Switch::new(&base, VERSIONS).for_access(access);
    let files = files(bundles, crls);
    // A link, so that it says whose it is, and a hand that edits the one has edited the other.
    let own_bundle = bundles.iter().find(|bundle| Some(bundle.trust_domain()) == own);
    let link = own_bundle.map(|bundle| (CA_CRT, bundle_name(bundle.trust_domain())));
    let current = switch.current();
    let moved = !current.is_some_and(|number| holds(&switch.path(number), &files, link.as_ref(), access));
    if moved {
        let before = current.map(|number| switch.path(number));
        // The version before stays for readers that are in it.
        switch.sweep(|path| Some(path) != before.as_deref());
        switch.advance(&files, link.as_ref())?;
    }
    link_stable_names(dir, bundles, own)?;
    Ok(moved)
}

/// Removes what a switch that was cut off left behind.
pub(super) fn sweep(dir: &Path) {
    let base = dir.join(TRUST);
    let switch = Switch::new(&base, VERSIONS);
    if switch.current().is_some() {
        switch.sweep(|_| false);
    }
}

fn files<'a>(bundles: &[Bundle], crls: &[DomainCrls]) -> Files<'a> {
    let mut files = Files::new();
    for bundle in bundles {
        files.push((bundle_name(bundle.trust_domain()), Cow::Owned(bundle.to_pem().into_bytes())));
    }
    for domain in crls.iter().filter(|domain| !domain.crls.is_empty()) {
        let text: String = domain.crls.iter().map(|crl| crl.to_pem()).collect();
        files.push((crl_name(&domain.trust_domain), Cow::Owned(text.into_bytes())));
    }
    files
}

/// Whether a directory holds exactly these files, for these readers.
fn holds(path: &Path, files: &Files<'_>, link: Option<&Link>, access: Access) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    let leads = |(name, target): &Link| fs::read_link(path.join(name)).is_ok_and(|link| link == Path::new(target));
    entries.flatten().count() == files.len() + usize::from(link.is_some())
        && link.is_none_or(leads)
        && files.iter().all(|(name, content)| {
            let file = path.join(name);
            let readable = access.is_plain() || fs::metadata(&file).is_ok_and(|found| access.holds(&found));
            readable && fs::read(file).is_ok_and(|found| found == **content)
        })
}

/// Links the bundles into the directory, and removes the links of bundles that are gone.
fn link_stable_names(dir: &Path, bundles: &[Bundle], own: Option<&TrustDomain>) -> Result<(), DeliveryError> {
    let target = Path::new(TRUST).join(CURRENT);
    let mut names: Vec<String> = bundles.iter().map(|bundle| bundle_name(bundle.trust_domain())).collect();
    names.extend(own.map(|_| CA_CRT.to_owned()));
    let mut moved = false;
    for name in &names {
        moved |= disk::relink(&dir.join(name), &target.join(name))?;
    }
    for name in stable_links(dir).into_iter().filter(|name| !names.contains(name)) {
        disk::remove_file(&dir.join(name))?;
        moved = true;
    }
    if moved { disk::sync_dir(dir) } else { Ok(()) }
}

/// The names in a directory that lead into the current version.
fn stable_links(dir: &Path) -> Vec<String> {
    let target = Path::new(TRUST).join(CURRENT);
    let names =
        fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| fs::read_link(dir.join(name)).is_ok_and(|link| link == target.join(name))).collect()
}

/// The trust material of a directory.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadedTrust {
    /// The trust bundles.
    pub bundles: Vec<Bundle>,
    /// The revocation lists.
    pub crls: Vec<DomainCrls>,
}

/// Loads the trust material of a directory; all of it must be good, and there must be a bundle.
pub fn load_trust(dir: &Path) -> Result<LoadedTrust, LoadError> {
    let material = read_material(dir)?;
    if material.bundles.is_empty() && material.broken.is_empty() {
        return Err(LoadError::NoTrust { dir: dir.to_owned() });
    }
    material.parse()
}

/// As [`load_trust`], but for what is of `own`, which may be broken or missing: a delivery brings it anew.
pub fn load_partners(dir: &Path, own: &TrustDomain) -> Result<LoadedTrust, LoadError> {
    let mut material = read_material(dir)?;
    material.bundles.remove(own);
    material.crls.remove(own);
    let (bundle, crls) = (Whose::Bundle(own.clone()), Whose::Crls(own.clone()));
    material.broken.retain(|broken| broken.whose != bundle && broken.whose != crls);
    material.parse()
}

/// Loads what is there of `own` alone, of which there may be nothing: what somebody broke of others is in nobody's way.
pub fn load_own_trust(dir: &Path, own: &TrustDomain) -> Result<LoadedTrust, LoadError> {
    let mut material = read_material(dir)?;
    material.bundles.retain(|trust_domain, _| trust_domain == own);
    material.crls.retain(|trust_domain, _| trust_domain == own);
    let (bundle, crls) = (Whose::Bundle(own.clone()), Whose::Crls(own.clone()));
    material.broken.retain(|broken| broken.whose == bundle || broken.whose == crls);
    material.parse()
}

/// As [`load_own_trust`], but without lists, whatever somebody broke of those.
pub fn load_own_bundle(dir: &Path, own: &TrustDomain) -> Result<LoadedTrust, LoadError> {
    let mut material = read_material(dir)?;
    material.bundles.retain(|trust_domain, _| trust_domain == own);
    material.crls.clear();
    let bundle = Whose::Bundle(own.clone());
    material.broken.retain(|broken| broken.whose == bundle);
    material.parse()
}

/// Reads a file of revocation lists, in PEM or DER: what `--crl FILE` names.
pub fn read_crls(path: &Path) -> Result<Vec<Arc<Crl>>, LoadError> {
    RawFile::read_crls(path)?.crls()
}

/// The trust material of one moment, unparsed, by the trust domain of its file names.
#[derive(Debug, Default)]
pub(crate) struct Material {
    pub(crate) bundles: BTreeMap<TrustDomain, RawFile>,
    pub(crate) crls: BTreeMap<TrustDomain, RawFile>,
    /// Whose bundle is also `ca.crt`.
    pub(crate) own: Option<TrustDomain>,
    /// What is there and cannot be read: not withdrawn, and in nobody else's way.
    pub(crate) broken: Vec<Broken>,
}

impl Material {
    fn parse(self) -> Result<LoadedTrust, LoadError> {
        if let Some(broken) = self.broken.into_iter().next() {
            return Err(broken.error);
        }
        let mut loaded = LoadedTrust::default();
        for (trust_domain, file) in self.bundles {
            loaded.bundles.push(file.bundle(trust_domain)?);
        }
        for (trust_domain, file) in self.crls {
            loaded.crls.push(DomainCrls { trust_domain, crls: file.crls()? });
        }
        Ok(loaded)
    }
}

/// A file of trust material that cannot be read.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) whose: Whose,
    pub(crate) error: LoadError,
}

/// What the name of a file says that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Bundle(TrustDomain),
    Crls(TrustDomain),
    /// What stands before the suffix is no trust domain.
    Nobody,
}

impl Whose {
    /// None for a file that has nothing to do with trust.
    fn of(name: &str) -> Option<Self> {
        match (bundle_domain(name), crl_domain(name)) {
            (Some(Ok(domain)), _) => Some(Self::Bundle(domain)),
            (None, Some(Ok(domain))) => Some(Self::Crls(domain)),
            (None, None) => None,
            _ => Some(Self::Nobody),
        }
    }
}

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct RawFile {
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
}

impl RawFile {
    /// Reads a file of revocation lists as it stands.
    pub(crate) fn read_crls(path: &Path) -> Result<Self, LoadError> {
        Ok(Self { content: read_file(path, MAX_CRL)?, path: path.to_owned() })
    }

    pub(super) fn read_bundle(path: &Path) -> Result<Self, LoadError> {
        Ok(Self { content: read_file(path, MAX_BUNDLE)?, path: path.to_owned() })
    }

    pub(crate) fn bundle(&self, trust_domain: TrustDomain) -> Result<Bundle, LoadError> {
        Bundle::from_pem(trust_domain, &self.content)
            .map_err(|source| LoadError::Bundle { path: self.path.clone(), source })
    }

    pub(crate) fn crls(&self) -> Result<Vec<Arc<Crl>>, LoadError> {
        Crl::many_from_pem(&self.content)
            .map(|crls| crls.into_iter().map(Arc::new).collect())
            .map_err(|source| LoadError::Crl { path: self.path.clone(), source })
    }
}

/// Reads the trust material of a directory as it stands, from one version of it.
pub(crate) fn read_material(dir: &Path) -> Result<Material, LoadError> {
    settled(|| resolve(dir), read_from)?
}

/// Reads until what was read is what counts.
///
/// A version that was switched away meanwhile may have been swept half way, and what is missing then was not withdrawn.
pub(super) fn settled<T>(
    mut resolve: impl FnMut() -> Result<PathBuf, LoadError>,
    mut read: impl FnMut(&Path) -> T,
) -> Result<T, LoadError> {
    let mut base = resolve()?;
    loop {
        let material = read(&base);
        let now = resolve()?;
        if now == base {
            return Ok(material);
        }
        base = now;
    }
}

fn read_from(base: &Path) -> Result<Material, LoadError> {
    let mut material = Material { own: own_at(base), ..Material::default() };
    for entry in fs::read_dir(base).map_err(LoadError::io(base))? {
        let path = entry.map_err(LoadError::io(base))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let Some(whose) = Whose::of(name) else { continue };
        let content = match &whose {
            Whose::Bundle(_) => read_file(&path, MAX_BUNDLE),
            Whose::Crls(_) => read_file(&path, MAX_CRL),
            Whose::Nobody => Err(LoadError::FileName { path: path.clone() }),
        };
        match (whose, content) {
            (Whose::Bundle(domain), Ok(content)) => drop(material.bundles.insert(domain, RawFile { path, content })),
            (Whose::Crls(domain), Ok(content)) => drop(material.crls.insert(domain, RawFile { path, content })),
            (whose, Err(error)) => material.broken.push(Broken { whose, error }),
            (Whose::Nobody, Ok(_)) => {}
        }
    }
    Ok(material)
}

/// Whether no trust material was ever switched to, as before the first delivery and where that was cut off.
///
/// Trust is switched before the credential and before the stable names, and what is next has the next number.
pub(super) fn was_never_there(dir: &Path) -> bool {
    let base = dir.join(TRUST);
    if is_absent(&base) {
        return true;
    }
    let first_or_none = || match fs::read_dir(base.join(VERSIONS)) {
        Ok(versions) => versions.flatten().all(|version| is_aside_or_first(&version)),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    base.is_dir()
        && !base.join(CURRENT).is_symlink()
        && Switch::new(dir, GENERATIONS).current().is_none()
        && first_or_none()
        && stable_links(dir).is_empty()
}

fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn is_aside_or_first(version: &fs::DirEntry) -> bool {
    let number = version.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
    number.is_none_or(|number| number == 1)
}

/// The directory whose files count: the current version of `trust`, `trust` itself, or where the credential stands.
///
/// A link of ours that is missing is a fault, as is one that leads nowhere and whatever else is no directory: what stands elsewhere
/// may be what was withdrawn. Where a first delivery was cut off before it switched, that counts which counted before it.
fn resolve(dir: &Path) -> Result<PathBuf, LoadError> {
    let base = dir.join(TRUST);
    // Before what was made first is looked for: somebody may be making all of it.
    let delivered = Switch::new(dir, GENERATIONS).current().is_some();
    let never = was_never_there(dir);
    if is_absent(&base) {
        return if delivered { Err(LoadError::TrustGone { path: base }) } else { load::resolve(dir) };
    }
    if !base.is_dir() {
        return Err(LoadError::Io { path: base, source: io::ErrorKind::NotADirectory.into() });
    }
    match Switch::new(&base, VERSIONS).current() {
        Some(number) => Ok(Switch::new(&base, VERSIONS).path(number)),
        None if never && is_bare(&base)? => load::resolve(dir),
        None if !never && base.join(VERSIONS).is_dir() => Err(missing(base.join(CURRENT))),
        None => load::resolve(&base),
    }
}

/// Whether a directory of trust material holds nothing but what a switch begins with.
fn is_bare(base: &Path) -> Result<bool, LoadError> {
    for entry in fs::read_dir(base).map_err(LoadError::io(base))? {
        let name = entry.map_err(LoadError::io(base))?.file_name();
        if name != VERSIONS && name != disk::aside(CURRENT) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn missing(path: PathBuf) -> LoadError {
    LoadError::Io { path, source: io::ErrorKind::NotFound.into() }
}

/// The directories in which a change may mean other material.
pub(crate) fn followed(dir: &Path) -> Vec<PathBuf> {
    let trust = dir.join(TRUST);
    let mut paths = vec![dir.to_owned(), trust.clone()];
    paths.extend(load::resolve(dir).ok());
    paths.extend(load::resolve(&trust).ok());
    paths
}

/// Where a file stands, and where it leads to if it is a link.
pub(crate) fn target_parent(file: &Path) -> Vec<PathBuf> {
    let target = fs::canonicalize(file).ok();
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    };
    [Some(parent(file)), target.as_deref().map(parent)].into_iter().flatten().collect()
}

const MAX_BUNDLE: u64 = 4 * 1024 * 1024;
const MAX_CRL: u64 = 128 * 1024 * 1024;
