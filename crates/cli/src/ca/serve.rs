//! `ca serve`: the authority as a service.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use countermark_authority::{RateLimits, Service, ServiceConfig};

use crate::{
    failure::{Exit, Explain, Outcome},
    files,
    issuing::{CaDir, SERVICE_FILE, Served},
    notify::Notify,
    passphrase::PassphraseArgs,
    runtime::{self, shutdown},
};

/// Serve the authority: enrolment, renewal, revocation lists, administration
///
/// It answers EST (RFC 7030) and JSON over TLS, with a certificate of its own that it renews by itself.
/// It signs its revocation lists anew every 12 hours, and its intermediate while root.key is there.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countermark ca serve --dir ca --listen 0.0.0.0:8440 --dns ca.internal --admin 127.0.0.1:9440"
)]
pub(super) struct ServeArgs {
    /// TOML file with these flags as keys; what is typed wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the authority, from `countermark ca init`
    #[arg(long = "dir", visible_alias = "ca", value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Address for clients; port 0 is the kernel's choice
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Name by which clients reach it; the first is in its URL (may be given several times)
    #[arg(long, value_name = "NAME", required = true)]
    dns: Vec<String>,
    /// IP address by which clients reach it, beside the one that it listens on
    #[arg(long, value_name = "ADDR")]
    ip: Vec<IpAddr>,
    /// Its name: it is /server/NAME of the trust domain
    #[arg(long, value_name = "NAME", default_value = "authority")]
    name: String,
    /// Serve healthz, readyz and metrics here, in plain HTTP
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Whose tokens enrol, and as whom [default: enrol.toml in the directory, if it is there]
    #[arg(long, value_name = "FILE")]
    enrol: Option<PathBuf>,
    /// Certificates that one identity may ask for in a minute
    #[arg(long, value_name = "N", default_value_t = RateLimits::default().identity_per_minute)]
    max_per_identity: u32,
    /// Enrolments that one address may ask for in a minute
    #[arg(long, value_name = "N", default_value_t = RateLimits::default().address_per_minute)]
    max_per_address: u32,
    /// Connections that one address (of IPv6, one /64) may hold; 0 sets no bound, for a balancer that hides addresses
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_connections_per_address: usize,
    /// Requests in flight may take this long to end after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::args::duration)]
    drain: Duration,
}

pub(super) fn run(args: ServeArgs) -> Outcome<Exit> {
    let ca = CaDir { ca: args.dir.clone(), passphrase: args.passphrase.clone() };
    let authority = ca.open()?;
    let config = config(args);
    runtime::long(async move {
        // Before anything is said: whoever hears that it serves may end it.
        let ended = shutdown()?;
        let note = authority.path().join(SERVICE_FILE);
        let service = Service::bind(authority, config).await.or_failed("the authority did not start", "")?;
        // `ca invite --ca DIR` finds here what an invite must say.
        let served = Served { url: service.url().to_owned(), authority: service.identity().to_string() };
        files::replace(&note, toml::to_string(&served)?.as_bytes())?;
        tracing::info!(url = service.url(), identity = %service.identity(), "the authority serves");
        if let Some(admin) = service.admin_addr() {
            tracing::info!(url = %format_args!("http://{admin}/"), "healthz, readyz and metrics");
        }
        let notify = Notify::from_environment();
        notify.ready();
        let watchdog = notify.clone().watchdog();
        let ending = ended.clone();
        let stopping = tokio::spawn(async move {
            ending.cancelled().await;
            notify.stopping();
        });
        service.serve(ended).await;
        stopping.abort();
        watchdog.abort();
        tracing::info!("the authority has drained and ends");
        Ok(Exit::Done)
    })
}

fn config(args: ServeArgs) -> ServiceConfig {
    let beside = args.dir.join("enrol.toml");
    ServiceConfig {
        ip: args.ip,
        name: args.name,
        admin: args.admin,
        enrol: args.enrol.or_else(|| beside.exists().then_some(beside)),
        rates: RateLimits {
            identity_per_minute: args.max_per_identity,
            address_per_minute: args.max_per_address,
            ..RateLimits::default()
        },
        connections_per_source: Some(args.max_connections_per_address).filter(|most| *most > 0),
        drain: args.drain,
        ..ServiceConfig::new(args.listen, args.dns)
    }
}
