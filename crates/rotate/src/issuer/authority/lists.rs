//! The revocation lists of an authority, as it publishes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::directory::{CURRENT, trust_version};
use countermark_credential::{Credential, Crl, IssuerError};
use countermark_identity::{Clock, SpiffeId, UnixTime};
use countermark_mtls::{Client, ExpectedServer, LongPoll};
use http::Uri;

use super::{LARGEST_CRL, crls, fetch_crls};
use crate::config::CredentialEntry;
use crate::issuer::wire::{self, Wire, WireError, expected};
use crate::issuer::{Coming, Listing, Lists, OwnTrust, Present, StationError, same_lists};
use crate::name::Name;
use crate::renew::{blocking, present};

/// The revocation lists of an authority of ours, by its long poll, as who the credential is that is there.
pub(in crate::issuer) async fn lists(
    url: &Uri,
    server: Option<&SpiffeId>,
    entry: &CredentialEntry,
    present: &Present,
    clock: Arc<dyn Clock>,
    now: UnixTime,
) -> Result<Published, IssuerError> {
    let credential = present.credential.clone().filter(|credential| credential.leaf().not_after() >= now);
    let credential = credential.ok_or_else(|| StationError::no_credential(entry, present))?;
    let mut own = wire::known(present, entry.identity.trust_domain(), &entry.directory)?;
    if !wire::lists_hold(&own, now) {
        own.crls.extend(fetch_crls(url).await?);
    }
    let (directory, identity) = (entry.directory.clone(), entry.identity.clone());
    let expected = expected(server);
    let way = Way { directory, identity, credential, own, place: Place::default(), expected, clock, url: url.clone() };
    Ok(Published { poll: way.poll(Vec::new())?, way, unverified: None })
}

/// How the authority is asked for its lists.
struct Way {
    directory: PathBuf,
    identity: Name,
    credential: Arc<Credential>,
    own: OwnTrust,
    /// Where the two are from, at the latest.
    place: Place,
    expected: ExpectedServer,
    clock: Arc<dyn Clock>,
    url: Uri,
}

/// The generation and the version of the trust material that a directory leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    generation: Option<PathBuf>,
    trust: Option<u64>,
}

impl Place {
    fn of(directory: &Path) -> Self {
        Self { generation: std::fs::read_link(directory.join(CURRENT)).ok(), trust: trust_version(directory) }
    }
}

impl Way {
    /// Goes by what the directory holds now. Says whether that is something else; what cannot be used is nothing else.
    async fn follow(&mut self) -> Result<bool, IssuerError> {
        let (directory, identity) = (self.directory.clone(), self.identity.clone());
        // What is switched while it is read is another place than this.
        let read = move || Ok((Place::of(&directory), present(&directory, &identity)));
        let (place, present) = blocking(read).await?;
        self.place = place;
        let now = self.clock.now();
        let credential = present.credential.clone().filter(|credential| credential.leaf().not_after() >= now);
        let own = present.own(self.identity.trust_domain()).filter(|own| wire::lists_hold(own, now));
        let (Some(credential), Some(own)) = (credential, own) else { return Ok(false) };
        let same = credential.leaf().thumbprint() == self.credential.leaf().thumbprint()
            && own.bundle.to_pem() == self.own.bundle.to_pem()
            && same_lists(&own.crls, &self.own.crls);
        (self.credential, self.own) = (credential, own);
        Ok(!same)
    }

    /// Ends once the directory leads to other trust material or to another credential than those that are gone by.
    async fn moved(&self) {
        loop {
            let directory = self.directory.clone();
            if blocking(move || Ok(Place::of(&directory))).await.is_ok_and(|place| place != self.place) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A client that knows the authority by the lists that are there and by these, none of which is delivered for that.
    fn client(&self, also: Vec<Arc<Crl>>) -> Result<Client, IssuerError> {
        let mut own = self.own.clone();
        own.crls.extend(also);
        let (credential, clock) = (Arc::clone(&self.credential), Arc::clone(&self.clock));
        Ok(wire::client(credential, own, self.expected.clone(), clock)?)
    }

    /// The lists of the authority itself, as it is known by these, without a certificate of our own.
    async fn as_nobody(&self, also: Vec<Arc<Crl>>) -> Result<Vec<Arc<Crl>>, IssuerError> {
        let mut own = self.own.clone();
        own.crls.extend(also);
        let wire = Wire::anonymous(own, self.expected.clone(), Arc::clone(&self.clock))?;
        crls(&wire.get(&self.url, "/v1/crl").await?.success()?)
    }

    fn poll(&self, also: Vec<Arc<Crl>>) -> Result<LongPoll, IssuerError> {
        let client = self.client(also)?;
        let at = wire::join(&self.url, "/v1/crl").parse().map_err(|_| WireError::Unexpected("a URL"))?;
        Ok(LongPoll::new(client, at, LARGEST_CRL))
    }
}

/// The lists of an authority, as it publishes them.
pub(in crate::issuer) struct Published {
    poll: LongPoll,
    way: Way,
    /// What whoever answers gave last.
    unverified: Option<Vec<Arc<Crl>>>,
}

impl Lists for Published {
    fn next(&mut self) -> Coming<'_, Option<Listing>> {
        Box::pin(async move {
            let found = loop {
                if self.way.follow().await? {
                    self.poll.ask_by(self.way.client(self.unverified.clone().unwrap_or_default())?);
                }
                tokio::select! {
                    found = self.poll.next() => break found,
                    () = self.way.moved() => {}
                }
            };
            let error = match found {
                Ok(Some(lists)) => {
                    return Ok(Some(Listing { crls: crls(&lists)?, verified: true, polled: true }));
                }
                Ok(None) => return Ok(None),
                Err(error) => error,
            };
            // What was revoked may be our own certificate, or the authority's may be of an intermediate that only lists which
            // are not here yet make known. They prove themselves.
            let given = fetch_crls(&self.way.url).await?;
            if self.unverified.as_ref().is_some_and(|before| same_lists(before, &given)) {
                return Err(error.into());
            }
            self.poll = self.way.poll(given.clone())?;
            self.unverified = Some(given.clone());
            // As nobody: a certificate of ours that is revoked is refused, and lists are everybody's.
            Ok(Some(match self.way.as_nobody(given.clone()).await {
                Ok(crls) => Listing { crls, verified: true, polled: false },
                Err(_) => Listing { crls: given, verified: false, polled: false },
            }))
        })
    }
}

/// How often it is looked whether the directory leads elsewhere: two links are read.
const LOOK: Duration = Duration::from_secs(1);
