//! What guard wants of access tokens: a file, or flags for the one issuer that most have.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use countermark_oauth::Profile;
use countermark_proxy::guard::{TokenIssuer, TokenMode, TokensConfig};

use crate::failure::{Explain, Outcome, usage};

/// Access tokens that agents must, or may, present beside their certificate.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access tokens")]
pub(crate) struct TokenArgs {
    /// File with issuers, clients and what is wanted of tokens (tokens.toml)
    #[arg(long, value_name = "FILE", conflicts_with = "issuer")]
    pub(crate) tokens: Option<PathBuf>,
    /// Require certificate-bound tokens of this authorization server (OAuth 2.1, RFC 8705)
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// CA of the authorization server's own certificate [default: the roots of this trust domain]
    #[arg(long, value_name = "FILE", requires = "issuer")]
    pub(crate) issuer_ca: Option<PathBuf>,
    /// How its tokens look: rfc9068, or keycloak for Keycloak's older form, too
    #[arg(long, value_name = "PROFILE", requires = "issuer", value_enum, default_value_t = ProfileArg::Rfc9068)]
    pub(crate) issuer_profile: ProfileArg,
    /// Audience that tokens must name [default: the URL that agents call]
    #[arg(long, value_name = "URI", requires = "issuer")]
    pub(crate) audience: Option<String>,
    /// Which client of the issuer may be which agent; may be repeated, and who is not listed is refused
    #[arg(long, value_name = "CLIENT_ID=AGENT", requires = "issuer")]
    pub(crate) client: Vec<String>,
}

/// How an issuer writes access tokens.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProfileArg {
    /// RFC 9068
    Rfc9068,
    /// Keycloak
    Keycloak,
}

/// The configuration that the flags stand for.
pub(super) fn config(args: &TokenArgs) -> Outcome<TokensConfig> {
    if let Some(file) = &args.tokens {
        return TokensConfig::read(file).or_failed("guard did not start", "");
    }
    let Some(url) = &args.issuer else { return Ok(TokensConfig::default()) };
    let mut issuer = TokenIssuer::new(url.clone());
    issuer.ca.clone_from(&args.issuer_ca);
    issuer.profile = match args.issuer_profile {
        ProfileArg::Rfc9068 => Profile::Rfc9068,
        ProfileArg::Keycloak => Profile::Keycloak,
    };
    for client in &args.client {
        let pair = client.rsplit_once('=').filter(|(client, agent)| !client.is_empty() && !agent.is_empty());
        let (client, agent) = pair.ok_or_else(|| {
            usage(
                format!("--client {client} is no pair"),
                "write --client CLIENT_ID=AGENT, as in --client billing=billing-bot",
            )
        })?;
        issuer.clients.push((client.to_owned(), agent.to_owned()));
    }
    Ok(TokensConfig {
        mode: TokenMode::Required,
        audience: args.audience.clone(),
        issuers: vec![issuer],
        upstream: None,
    })
}
