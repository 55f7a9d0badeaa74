//! What systemd wants to hear of a service (`Type=notify`): ready, alive, ending. Without `$NOTIFY_SOCKET` nothing is said.

use std::{
    ffi::OsString,
    os::linux::net::SocketAddrExt as _,
    os::unix::{
        ffi::OsStrExt as _,
        net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

/// Where to say it, and how often to say that we live.
#[derive(Debug, Clone)]
pub(crate) struct Notify {
    socket: Option<OsString>,
    alive: Option<Duration>,
}

impl Notify {
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| std::env::var_os(name)?.into_string().ok()?.parse::<u64>().ok();
        // The watchdog may be meant for another process.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let alive = number("WATCHDOG_USEC").filter(|_| ours).map(Duration::from_micros);
        Self { socket: std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()), alive }
    }

    /// Everything that is needed is there.
    pub(crate) fn ready(&self) {
        self.say("READY=1");
    }

    /// It lives; to be said within [`Notify::period`].
    pub(crate) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// Within what time the manager wants to hear that it lives.
    pub(crate) fn period(&self) -> Option<Duration> {
        self.alive.filter(|period| !period.is_zero())
    }

    /// It is ending in good order.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Says twice in each period that the runtime still runs tasks.
    pub(crate) fn watchdog(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let Some(period) = self.alive.filter(|period| !period.is_zero()) else { return };
            let mut tick = tokio::time::interval(period / 2);
            loop {
                tick.tick().await;
                self.say("WATCHDOG=1");
            }
        })
    }

    fn say(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        let bytes = socket.as_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(socket),
        };
        let said = address.and_then(|address| {
            let unbound = UnixDatagram::unbound()?;
            unbound.set_nonblocking(true)?;
            unbound.send_to_addr(state.as_bytes(), &address)
        });
        if let Err(error) = said {
            tracing::warn!(%error, state, "the service manager could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { socket: Some(path.into()), alive: None };
        notify.ready();
        notify.stopping();
        let mut buffer = [0; 64];
        for expected in ["READY=1", "STOPPING=1"] {
            let length = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }

    #[test]
    fn without_a_manager_nothing_is_said() {
        Notify { socket: None, alive: None }.ready();
        Notify { socket: Some("/nowhere/at/all".into()), alive: None }.ready();
    }
}
