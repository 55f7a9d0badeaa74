//! `countermark token`: asks for a token and says what it is.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use countermark_credential::directory;
use countermark_identity::{Clock, SystemClock, UnixTime};
use countermark_oauth::{Bound, BoundToken, Question, Registration, TokenError, Tokens};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    failure::{Exit, Explain, Outcome, failed, usage},
    output::{self, BAD, GOOD, JsonFlag, WARN, line, styled},
    runtime,
    token_client::ClientArgs,
};

/// Ask for an access token as this agent, and say what it is
///
/// Says issuer, audience, scopes, expiry and binding, and whether the binding is this certificate's. The token itself
/// is printed with --print alone. Exit code 1 when the server gives none, 3 when it cannot be asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countermark token --issuer https://sso.internal/realms/mcp --client-id billing \\\n      --identity id/billing-bot --resource https://ledger.internal:8443/mcp --scope ledger.read"
)]
pub(crate) struct TokenArgs {
    /// The authorization server
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// This agent's client id there
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// Identity directory of this agent
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// What the token is for (RFC 8707): the MCP server's URL
    #[arg(long, value_name = "URI")]
    resource: String,
    /// A scope to ask for; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Print the token itself: whoever reads it can use it as far as its binding permits
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// Revoke it again at once (RFC 7009)
    #[arg(long, conflicts_with = "print")]
    revoke: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    json: JsonFlag,
}

/// What the token says of itself.
#[derive(Debug, Serialize)]
struct Facts {
    issuer: Option<String>,
    audience: Option<Value>,
    client: Option<String>,
    subject: Option<String>,
    scopes: Vec<String>,
    expires: String,
    binding: &'static str,
    matches_certificate: Option<bool>,
}

pub(crate) fn run(args: TokenArgs) -> Outcome<Exit> {
    if !args.resource.starts_with("https://") {
        return Err(usage(format!("--resource {} is no https:// URL", args.resource), "write the MCP server's URL"));
    }
    let now = SystemClock.now();
    let shown = args.identity.display();
    let loaded = directory::load(&args.identity, now)
        .or_failed(format!("cannot use the identity {shown}"), "see `countermark inspect` of it")?;
    let domain = loaded.credential.spiffe_id().map(|id| id.trust_domain().clone());
    let own = loaded.bundles.iter().find(|bundle| Some(bundle.trust_domain()) == domain.as_ref());
    let roots = args.client.roots(own.or_else(|| loaded.bundles.first()))?;
    let mut registration = Registration::new(args.issuer.clone(), args.client_id.clone(), roots);
    registration.authentication = args.client.authentication()?;
    registration.dpop = args.client.dpop;
    let question = Question::of(args.resource.trim_end_matches('/')).with_scopes(args.scope.clone());
    let credential = loaded.credential;
    runtime::short(async {
        let tokens = Tokens::new(Arc::new(registration), credential, Arc::new(SystemClock))
            .or_failed("no token can be asked for", "")?;
        let token = match tokens.token(&question).await {
            Ok(token) => token,
            Err(error @ TokenError::Refused { .. }) => {
                line(format!("{}: {error}", styled(BAD, "denied")))?;
                return Ok(Exit::Denied);
            }
            Err(error) => return Err(failed(error.to_string(), "compare --issuer, --issuer-ca and the server's log")),
        };
        show(&args, &token)?;
        if args.revoke {
            tokens.revoke_all().await.or_failed("the token could not be revoked", "it ends by itself")?;
            line("revoked")?;
        }
        Ok(Exit::Done)
    })
}

fn show(args: &TokenArgs, token: &BoundToken) -> Outcome<()> {
    if args.print {
        return output::raw(&format!("{}\n", token.expose()));
    }
    let facts = Facts::new(token);
    if args.json.json {
        return output::json(&facts);
    }
    let unknown = || "not said; only the server knows".to_owned();
    let matches = match token.binding() {
        Bound::Certificate(_) => styled(GOOD, "bound to this certificate (cnf.x5t#S256)"),
        Bound::Key => styled(GOOD, "bound to a key of this process (cnf.jkt)"),
        Bound::Unknown => styled(WARN, "opaque, and the server does not tell this client what it is bound to"),
    };
    output::facts([
        ("issuer", facts.issuer.unwrap_or_else(unknown)),
        ("audience", facts.audience.map_or_else(unknown, |audience| audience.to_string().replace('"', ""))),
        ("client", facts.client.unwrap_or_else(unknown)),
        ("subject", facts.subject.unwrap_or_else(unknown)),
        ("scopes", if facts.scopes.is_empty() { "none".to_owned() } else { facts.scopes.join(" ") }),
        ("expires", facts.expires),
        ("binding", matches),
    ])
}

impl Facts {
    fn new(token: &BoundToken) -> Self {
        let claims = token.unverified_claims().unwrap_or_default();
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            issuer: text("iss"),
            audience: claims.get("aud").cloned(),
            client: text("client_id").or_else(|| text("azp")),
            subject: text("sub"),
            scopes: token.scopes().to_vec(),
            expires: ends(&claims).unwrap_or_else(|| token.not_after()).to_string(),
            binding: match token.binding() {
                Bound::Certificate(_) => "certificate",
                Bound::Key => "key",
                Bound::Unknown => "unknown",
            },
            matches_certificate: match token.binding() {
                Bound::Certificate(_) => Some(true),
                Bound::Unknown => None,
                Bound::Key => Some(false),
            },
        }
    }
}

fn ends(claims: &Map<String, Value>) -> Option<UnixTime> {
    claims.get("exp").and_then(Value::as_u64).map(UnixTime::from_secs)
}
