//! `--crl FILE|URL`: where the revocation lists of the own trust domain come from, and how those of an authority are followed.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Trust;
use countermark_credential::watch::Fetched;
use countermark_identity::{Clock, SanMap, TrustDomain, UnixTime};
use countermark_mtls::{
    Client, ClientConfig, ExpectedServer, LongPoll, TrustGenerations, danger_fetch_unverified, provider,
};
use http::Uri;
use tokio::sync::watch;

use crate::identity::Identity;

/// The revocation lists that were fetched last.
pub(crate) type Raw = Option<Fetched>;

/// Where the revocation lists of the own trust domain come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers choose one of these")]
pub enum CrlSource {
    /// A file, instead of the one in the identity directory.
    File(PathBuf),
    /// An authority that serves, whose lists count beside those in the identity directory.
    Url(Uri),
}

impl FromStr for CrlSource {
    type Err = CrlSourceError;

    /// `https://HOST[:PORT]`, which stands for its `/v1/crl`, a URL with a path, or a file.
    fn from_str(text: &str) -> Result<Self, CrlSourceError> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let refused = || CrlSourceError { text: text.to_owned() };
        let url: Uri = text.parse().map_err(|_| refused())?;
        let plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if url.scheme_str() != Some("https") || !plain {
            return Err(refused());
        }
        if url.path_and_query().is_none_or(|path| path.as_str() == "/") {
            let url = format!("{}{PATH}", text.trim_end_matches('/'));
            return url.parse().map(Self::Url).map_err(|_| refused());
        }
        Ok(Self::Url(url))
    }
}

/// A place where no revocation lists are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is neither a file nor the URL of an authority; write --crl crl.pem or --crl https://ca.internal:8443"
)]
pub struct CrlSourceError {
    text: String,
}

/// Follows the lists at `url` for as long as somebody takes them from `out`.
///
/// Where no list holds, nobody is believed, the authority included: then the lists are first fetched from whoever answers, since
/// they prove themselves, and only then from the authority as it is known by them.
///
/// # Errors
/// No list holds, and none that does can be had, where `required` says that there must be one.
pub(crate) async fn follow(
    identity: &Identity,
    own: TrustDomain,
    url: Uri,
    out: watch::Sender<Raw>,
    required: bool,
    clock: Arc<dyn Clock>,
) -> Result<(), String> {
    let map = watch::Sender::new(Arc::new(SanMap::empty(own.clone()))).subscribe();
    let generations = TrustGenerations::join(identity.trust(), map).watch();
    let config = ClientConfig { pool_max_idle: 1, ..ClientConfig::default() };
    let client = identity.watch_credential();
    let client = Client::new(client, generations, ExpectedServer::Host, Arc::clone(&clock), config)
        .map_err(|error| error.to_string())?;
    let poll = LongPoll::new(client, url.clone(), LARGEST);
    let mut feed = Feed { url, own, trust: identity.trust(), out, clock, poll };
    if required && !holds(&feed.trust.borrow(), &feed.own, feed.clock.now()) {
        feed.begin(identity).await?;
    }
    tokio::spawn(feed.run());
    Ok(())
}

struct Feed {
    url: Uri,
    own: TrustDomain,
    trust: watch::Receiver<Arc<Trust>>,
    out: watch::Sender<Raw>,
    clock: Arc<dyn Clock>,
    poll: LongPoll,
}

/// Why there are no new lists, and how long the authority asks to be left alone.
type Failure = (String, Option<Duration>);

impl Feed {
    /// The first lists, without which nothing is served: judged, and then confirmed by the authority as it is known by them.
    async fn begin(&mut self, identity: &Identity) -> Result<(), String> {
        let (own, url) = (self.own.clone(), self.url.clone());
        let none = |cause: String| {
            format!(
                "no revocation list of {own} holds, and {url} gives none: {cause}; start the authority, or deliver the lists with `countermark rotate` or `--crl FILE`"
            )
        };
        self.fetch_unverified().await.map_err(none)?;
        let (mut trust, clock) = (self.trust.clone(), Arc::clone(&self.clock));
        let good = trust.wait_for(|trust| holds(trust, &own, clock.now()));
        if tokio::time::timeout(JUDGED, good).await.is_err() {
            return Err(none(identity.problems().join("; ")));
        }
        let mut last = format!("no answer within {FIRST:?}");
        let confirmed = async {
            loop {
                match self.poll.next().await {
                    Ok(lists) => return lists,
                    Err(error) => last = error.to_string(),
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        let confirmed = tokio::time::timeout(FIRST, confirmed).await;
        self.publish(confirmed.map_err(|_| none(last))?.as_deref(), true);
        Ok(())
    }

    async fn run(mut self) {
        let (out, mut failures) = (self.out.clone(), 0);
        loop {
            let outcome = tokio::select! {
                () = out.closed() => return,
                outcome = self.next() => outcome,
            };
            let Err((cause, after)) = outcome else {
                failures = 0;
                continue;
            };
            failures += 1;
            let pause = pause(failures, after);
            tracing::warn!(url = %self.url, %cause, failures, ?pause, "the revocation lists are not fetched; the last good ones count until their nextUpdate");
            tokio::select! {
                () = out.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn next(&mut self) -> Result<(), Failure> {
        let stale = !holds(&self.trust.borrow(), &self.own, self.clock.now());
        if stale {
            // After a long sleep: without lists the authority is not believed either. These prove themselves.
            self.fetch_unverified().await.map_err(|cause| (cause, None))?;
            tokio::time::sleep(AGAIN).await;
        }
        match self.poll.next().await {
            Ok(lists) => self.publish(lists.as_deref(), true),
            Err(error) => {
                // What was revoked may be our own certificate, or the intermediate of the authority's, which only lists that are not
                // here yet make known. They prove themselves.
                let _down = self.fetch_unverified().await;
                return Err((error.to_string(), error.retry_after()));
            }
        }
        Ok(())
    }

    /// Has what whoever answers gives judged. What the authority says next counts instead, even if it is what it said before.
    async fn fetch_unverified(&mut self) -> Result<(), String> {
        let lists = danger_fetch_unverified(&self.url, LARGEST, &ClientConfig::default()).await;
        self.publish(Some(&lists.map_err(|error| error.to_string())?), false);
        self.poll.forget();
        Ok(())
    }

    fn publish(&self, lists: Option<&[u8]>, verified: bool) {
        if let Some(lists) = lists {
            self.out.send_replace(Some(Fetched { lists: Arc::from(lists), verified }));
        }
    }
}

/// Whether there are lists of a trust domain, and none of them is stale.
fn holds(trust: &Trust, own: &TrustDomain, now: UnixTime) -> bool {
    let crls = trust.crls(own);
    !crls.is_empty() && crls.iter().all(|crl| crl.next_update() >= now)
}

/// 1 s, doubled with each failure in a row up to a minute, ±20 %; longer where the authority asks for it, five minutes at most.
fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let nominal = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST);
    let mut die = [0];
    // Without a roll all come at the nominal time, which is no worse than that.
    let rolled = provider().secure_random.fill(&mut die).is_ok();
    let percent = if rolled { 80 + u32::from(die[0] % 41) } else { 100 };
    (nominal * percent / 100).max(asked.unwrap_or_default().min(MOST_ASKED))
}

const PATH: &str = "/v1/crl";
/// A list of 100,000 entries has 5 MB.
const LARGEST: usize = 64 * 1024 * 1024;
/// How long the first lists may take to be judged, and then to be confirmed.
const JUDGED: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
const MOST_ASKED: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_an_authority_stands_for_its_lists() {
        let url = |text: &str| CrlSource::Url(text.parse().unwrap());
        let of = |text: &str| text.parse::<CrlSource>();
        assert_eq!(of("https://ca.internal:8443").unwrap(), url("https://ca.internal:8443/v1/crl"));
        assert_eq!(of("https://ca.internal:8443/").unwrap(), url("https://ca.internal:8443/v1/crl"));
        assert_eq!(of("https://ca.internal/other.crl").unwrap(), url("https://ca.internal/other.crl"));
        assert_eq!(of("ca/crl.pem").unwrap(), CrlSource::File("ca/crl.pem".into()));
        for wrong in ["http://ca.internal", "ftp://x", "https://", "https://user@ca.internal"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn failures_are_spread_and_bounded() {
        for (failures, asked, least, most) in [
            (1, 0, 800, 1200),
            (3, 0, 3200, 4800),
            (40, 0, 48_000, 72_000),
            (1, 20, 20_000, 20_000),
            (1, 9999, 300_000, 300_000),
        ] {
            let pause = pause(failures, Some(Duration::from_secs(asked))).as_millis();
            assert!((least..=most).contains(&pause), "{failures}: {pause}");
        }
    }
}
