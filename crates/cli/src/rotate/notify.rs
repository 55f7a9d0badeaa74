//! What systemd is told, where it started this process with `Type=notify`.

use std::time::Duration;

use countermark_rotate::Handle;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Everything is claimed and listened to.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end has come.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the rotation lives, as long as it answers.
pub(super) async fn watchdog(handle: Handle, ended: CancellationToken) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let every = (within / 3).max(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let Ok(Ok(status)) = tokio::time::timeout(within, handle.status()).await else { return };
        let unusable = status.credentials.iter().filter(|credential| !credential.usable).count();
        let text = format!("{} credentials, {unusable} unusable", status.credentials.len());
        tell(&[NotifyState::Watchdog, NotifyState::Status(&text)]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Without a NOTIFY_SOCKET nothing is sent; one that is gone is systemd's to miss.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
