//! `--renew-from URL` of `guard` and `connect`: the identity directory is kept fresh by the process that uses it.

use std::{path::Path, sync::Arc, time::Duration};

use countermark_credential::directory;
use countermark_identity::{Clock, SystemClock};
use countermark_rotate::{Config, Event, Handle, Observe, Rotation, Setup, Told, enrol::authority_url, issuer::Remote};
use tokio_util::sync::CancellationToken;

use crate::failure::{Explain, Outcome, failed, usage};

/// Renews the credential in `identity` from the authority at `url` until `ended`; returns when it can be used.
pub(crate) async fn start(url: &str, identity: &Path, ended: CancellationToken) -> Outcome<()> {
    let held = directory::read(identity).or_failed(
        format!("there is nothing to renew in {}", identity.display()),
        "make the first credential with `countermark join` or `countermark mint`",
    )?;
    let id = held.credential.spiffe_id().cloned().ok_or_else(|| {
        failed(
            format!("the certificate in {} has no spiffe:// URI", identity.display()),
            "`countermark mint` and `countermark join` make one that has",
        )
    })?;
    let url = authority_url(url).map_err(|error| usage(format!("--renew-from: {error}"), ""))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let setup = Setup {
        config: Config::one(identity, id, url),
        stations: Arc::new(Remote::new(Arc::clone(&clock))),
        clock,
        observers: vec![Arc::new(Log)],
    };
    let (rotation, handle) = Rotation::start(setup)
        .or_failed("--renew-from cannot keep the identity fresh", "without --renew-from it is left to that process")?;
    tokio::spawn(rotation.run(ended));
    usable(&handle, identity).await
}

/// Waits for a credential that had expired to be renewed.
async fn usable(handle: &Handle, identity: &Path) -> Outcome<()> {
    let wait = async {
        loop {
            let status = handle.status().await.or_failed("the renewal has ended", "")?;
            if status.ready {
                return Ok(());
            }
            let failure = status.credentials.first().and_then(|credential| credential.failure.as_ref());
            if let Some(failure) = failure {
                let what = format!("the credential in {} has expired and is not renewed", identity.display());
                return Err(failed(format!("{what}: {}", failure.cause), "mend that, or mint or enrol anew"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let late = || failed("the authority does not answer", "check --renew-from, and that the authority runs");
    tokio::time::timeout(PATIENCE, wait).await.map_err(|_| late())?
}

/// What happens goes to the log; that all is well, only for those who look closely.
#[derive(Debug)]
struct Log;

impl Observe for Log {
    fn told(&self, told: &Told) {
        if !matches!(told.event, Event::Found { .. }) {
            told.log();
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
