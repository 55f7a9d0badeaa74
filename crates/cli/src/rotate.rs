//! `countermark rotate`: keeps credentials fresh.

mod local;
mod reload;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use countermark_identity::{Clock, SystemClock, UnixTime};
use countermark_rotate::{
    Config, Handle, Observe, Rotation, Setup, Status, Told, admin, config::ConfigError, ctl::Control, metrics::Metrics,
    run::raise_descriptors,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::local::Local;
use crate::{
    failure::{Exit, Explain, Outcome, failed, usage},
    notify::Notify,
    output::{self, JsonFlag, line},
    runtime::{self, shutdown},
};

/// Keep any number of credentials fresh, deliver them, and prove that they are served
///
/// Renews each credential of the configuration in its time, delivers it by one rename, runs its hooks
/// and looks at what its consumer serves. SIGHUP, or a change of the file, reads it again.
#[derive(Debug, Args)]
#[command(after_help = "Example (rotate.toml):\n  \
    version = 1\n\n  \
    [[issuer]]\n  name = \"authority\"\n  kind = \"authority\"\n  url = \"https://ca.internal:8443\"\n\n  \
    [[credential]]\n  name = \"ledger\"\n  identity = \"spiffe://agents.internal/server/ledger\"\n  \
    issuer = \"authority\"\n  directory = \"/var/lib/countermark/ledger\"\n  probe = { address = \"127.0.0.1:8443\" }\n\n    \
    [[credential.hook]]\n    run = [\"nginx\", \"-s\", \"reload\"]\n\n  \
    countermark rotate --config rotate.toml --admin 127.0.0.1:9464")]
pub(crate) struct RotateArgs {
    /// The configuration: which credentials, from whom, delivered where and how
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Renew what is due, try every hook and probe once, and end
    #[arg(long, conflicts_with = "admin")]
    once: bool,
    /// Serve healthz, readyz and metrics here, in plain HTTP
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    json: JsonFlag,
}

/// Starts a rotation inside this process; it runs until `ended`.
pub(crate) fn start(config: &std::path::Path, ended: CancellationToken) -> Outcome<Handle> {
    let config = load(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stations = Arc::new(Local::new(Arc::clone(&clock)));
    stations.open(&config)?;
    let setup = Setup { config, stations, clock, observers: vec![Arc::new(Log)] };
    let (rotation, handle) = Rotation::start(setup).or_failed("rotate did not start", "")?;
    tokio::spawn(rotation.run(ended));
    Ok(handle)
}

pub(crate) fn run(args: RotateArgs) -> Outcome<Exit> {
    let config = load(&args.config)?;
    runtime::long(async move {
        let ended = shutdown()?;
        raise_descriptors();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stations = Arc::new(Local::new(Arc::clone(&clock)));
        stations.open(&config)?;
        let metrics = Arc::new(Metrics::new());
        let socket = socket(&config);
        let setup = Setup {
            config,
            stations: Arc::clone(&stations) as _,
            clock: Arc::clone(&clock),
            observers: vec![Arc::new(Log), Arc::clone(&metrics) as _],
        };
        let (rotation, handle) = Rotation::start(setup).or_failed("rotate did not start", "")?;
        if args.once {
            let status = rotation.once().await;
            return tell(&args, &status, clock.now());
        }
        let control = Control::bind(&socket).or_failed(
            format!("cannot listen at {}", socket.display()),
            "set `socket` in the configuration to a path that can be written, such as /run/countermark/rotate.sock",
        )?;
        let admin = match args.admin {
            Some(address) => {
                let listener = TcpListener::bind(address)
                    .await
                    .or_failed(format!("cannot listen at {address} (--admin)"), "give another port, or 0 for any")?;
                let address = listener.local_addr().or_failed("the --admin address is unknown", "")?;
                tracing::info!(url = %format_args!("http://{address}/"), "healthz, readyz and metrics");
                Some(listener)
            }
            None => None,
        };
        let side = Side { control, admin, metrics, clock, stations, config: args.config };
        serve(rotation, handle, side, ended).await;
        Ok(Exit::Done)
    })
}

/// Where `ctl` finds the rotation of a configuration: where its `socket` says; else in `$RUNTIME_DIRECTORY`, which systemd gives to
/// a unit; else beside the configuration.
pub(crate) fn socket(config: &Config) -> PathBuf {
    if let Some(socket) = &config.socket {
        return socket.clone();
    }
    let given = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    // Several are given in one variable, with colons.
    let given = given.and_then(|given| std::env::split_paths(&given).next()).filter(|given| given.is_absolute());
    given.map_or_else(|| config.socket_beside.clone(), |given| given.join(SOCKET))
}

/// What runs beside the rotation.
struct Side {
    control: Control,
    admin: Option<TcpListener>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    stations: Arc<Local>,
    config: PathBuf,
}

async fn serve(rotation: Rotation, handle: Handle, side: Side, ended: CancellationToken) {
    let control = tokio::spawn(side.control.serve(handle.clone(), side.clock, ended.clone()));
    if let Some(listener) = side.admin {
        tokio::spawn(admin::serve(listener, handle.clone(), side.metrics, ended.clone()));
    }
    tokio::spawn(reload::follow(side.config, side.stations, handle.clone(), ended.clone()));
    let notify = Notify::from_environment();
    tokio::spawn(watchdog(notify.clone(), handle.clone(), ended.clone()));
    tokio::spawn(ready(notify.clone(), handle));
    tracing::info!("rotate runs");
    rotation.run(ended).await;
    notify.stopping();
    // It takes its socket away; whoever still hangs on it does not keep the process.
    let _hung = tokio::time::timeout(FAREWELL, control).await;
    tracing::info!("rotate ends");
}

/// Says that it is ready once every credential can be used, or after a while: what comes after it must not wait for an authority
/// that is down.
async fn ready(notify: Notify, handle: Handle) {
    let usable = async {
        while handle.status().await.is_ok_and(|status| !status.ready) {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(PATIENCE, usable).await.is_err() {
        tracing::warn!("not every credential can be used yet; see `countermark ctl status`");
    }
    notify.ready();
}

/// Says that the rotation lives, as long as it answers.
async fn watchdog(notify: Notify, handle: Handle, ended: CancellationToken) {
    let Some(period) = notify.period() else { return };
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(period / 3) => {}
        }
        if let Ok(Ok(_)) = tokio::time::timeout(period, handle.status()).await {
            notify.alive();
        }
    }
}

/// Reads the configuration.
fn load(path: &std::path::Path) -> Outcome<Config> {
    Config::load(path).map_err(|error| match error {
        ConfigError::Io { .. } => failed(error.to_string(), "see `countermark rotate --help` for an example"),
        _ => usage(error.to_string(), "mend that line; nothing was started"),
    })
}

fn tell(args: &RotateArgs, status: &Status, now: UnixTime) -> Outcome<Exit> {
    if args.json.json {
        output::json(status)?;
    }
    let mut exit = Exit::Done;
    for credential in &status.credentials {
        let undone = credential.duties.iter().find(|duty| !duty.done);
        let trouble = match (&credential.failure, undone) {
            (Some(failure), _) if credential.failures > 0 => Some(format!("{}: {}", failure.step, failure.cause)),
            (_, Some(duty)) => {
                Some(format!("{}: {}", duty.what, duty.cause.as_deref().unwrap_or("it has not ended yet")))
            }
            _ => None,
        };
        if trouble.is_some() {
            exit = Exit::Failed;
        }
        if !args.json.json {
            let held = held(credential.not_after.map(UnixTime::from_secs), now);
            let waiting = credential.awaiting_approval.then(|| "waiting for the issuer's approval".to_owned());
            let trouble = trouble.or(waiting).map(|trouble| format!("; {trouble}")).unwrap_or_default();
            line(format!("{}: {held}{trouble}", credential.name))?;
        }
    }
    Ok(exit)
}

/// What a directory holds, by the end of its certificate.
fn held(not_after: Option<UnixTime>, now: UnixTime) -> String {
    match not_after {
        Some(end) if end < now => format!("expired at {end}"),
        Some(end) => format!("good until {end}"),
        None => "nothing that can be used".to_owned(),
    }
}

/// Everything that happens goes to the log.
#[derive(Debug)]
struct Log;

impl Observe for Log {
    fn told(&self, told: &Told) {
        told.log();
    }
}

pub(crate) const SOCKET: &str = "rotate.sock";
/// How often, and how long, usable credentials are waited for.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// How long the control socket may take to close.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_not_said_to_be_good() {
        let at = UnixTime::from_secs;
        assert_eq!(held(Some(at(100)), at(100)), format!("good until {}", at(100)));
        assert_eq!(held(Some(at(100)), at(101)), format!("expired at {}", at(100)));
        assert_eq!(held(None, at(101)), "nothing that can be used");
    }
}
