//! `countermark ca`: the certificate authority of a trust domain, in a directory or as a service.

mod bundle;
mod crl;
mod init;
mod invite;
mod list;
mod renew;
mod revoke;
mod serve;

use clap::{Args, Subcommand};

use crate::failure::{Exit, Outcome};

/// Run the certificate authority of a trust domain
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example:\n  countermark ca init --dir ca --trust-domain agents.internal"
)]
pub(crate) struct CaArgs {
    #[command(subcommand)]
    verb: CaVerb,
}

#[derive(Debug, Subcommand)]
enum CaVerb {
    /// Make an authority: root, intermediate, trust bundle, CRLs, inventory, profiles
    Init(init::InitArgs),
    /// List what was minted
    List(list::ListArgs),
    /// Revoke a certificate, or all of an identity, and sign a new CRL
    Revoke(revoke::RevokeArgs),
    /// Sign the CRL anew and write it
    Crl(crl::CrlArgs),
    /// Write the trust bundle: what others need to trust this authority
    Bundle(bundle::BundleArgs),
    /// Renew the intermediate: new key, same root
    Renew(renew::RenewArgs),
    /// Invite an agent or a server: write a one-time secret that enrols it
    Invite(Box<invite::InviteArgs>),
    /// Serve the authority: enrolment, renewal, revocation lists, administration
    Serve(Box<serve::ServeArgs>),
}

impl CaArgs {
    /// Whether it stays and serves.
    pub(crate) const fn is_serving(&self) -> bool {
        matches!(self.verb, CaVerb::Serve(_))
    }
}

pub(crate) fn run(args: CaArgs) -> Outcome<Exit> {
    match args.verb {
        CaVerb::Init(args) => init::run(&args),
        CaVerb::List(args) => list::run(&args),
        CaVerb::Revoke(args) => revoke::run(&args),
        CaVerb::Crl(args) => crl::run(&args),
        CaVerb::Bundle(args) => bundle::run(&args),
        CaVerb::Renew(args) => renew::run(&args),
        CaVerb::Invite(args) => invite::run(&args),
        CaVerb::Serve(args) => serve::run(*args),
    }
}
