//! Reading the configuration again: at SIGHUP, and when its file is another.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countermark_rotate::{Config, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::local::Local;
use crate::failure::sentence;

/// Follows the file until `ended`. A configuration with a fault is refused as a whole.
pub(super) async fn follow(path: PathBuf, stations: Arc<Local>, handle: Handle, ended: CancellationToken) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be caught; the configuration is read again when its file changes");
            None
        }
    };
    let mut seen = stamp(&path);
    loop {
        let asked = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ended.cancelled() => return,
            _ = asked => {}
            () = tokio::time::sleep(POLL) => {
                let found = stamp(&path);
                // A file that is gone is being replaced.
                if found.is_none() || found == seen {
                    continue;
                }
            }
        }
        seen = stamp(&path);
        reload(&path, &stations, &handle).await;
    }
}

async fn reload(path: &Path, stations: &Local, handle: &Handle) {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return handle.refuse(error.to_string()).await,
    };
    if let Err(error) = stations.open(&config) {
        return handle.refuse(sentence(&error)).await;
    }
    // A refusal is told to the log as every event is.
    let _told = handle.reload(config).await;
}

/// What a file looks like from outside.
fn stamp(path: &Path) -> Option<(u64, i64, i64, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
}

const POLL: Duration = Duration::from_secs(2);
