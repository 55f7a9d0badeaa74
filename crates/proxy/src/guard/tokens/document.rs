//! `tokens.toml`, read and refused as a whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countermark_oauth::{Binding, ClientAuthentication, Profile};
use serde::Deserialize;
use toml::Spanned;

use super::{Introspection, TokenIssuer, TokenMode, TokensConfig, UpstreamTokens};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    tokens: Mode,
    audience: Option<String>,
    #[serde(default)]
    issuer: Vec<Spanned<Issuer>>,
    #[serde(default)]
    client: Vec<Spanned<Client>>,
    upstream: Option<Upstream>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upstream {
    issuer: String,
    ca: Option<PathBuf>,
    client_id: String,
    #[serde(default)]
    authentication: AuthenticationName,
    resource: String,
    #[serde(default)]
    scopes: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Forbidden,
    Optional,
    Required,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issuer {
    issuer: String,
    ca: Option<PathBuf>,
    #[serde(default)]
    profile: ProfileName,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    binding: BindingName,
    leeway_seconds: Option<u64>,
    actors: Option<usize>,
    introspection: Option<Asked>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProfileName {
    #[default]
    Rfc9068,
    Keycloak,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BindingName {
    #[default]
    Certificate,
    DangerBearer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    client_id: String,
    #[serde(default)]
    authentication: AuthenticationName,
    #[serde(default)]
    every_token: bool,
    cache_seconds: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuthenticationName {
    #[default]
    Certificate,
    PrivateKeyJwt,
}

impl From<AuthenticationName> for ClientAuthentication {
    fn from(name: AuthenticationName) -> Self {
        match name {
            AuthenticationName::Certificate => Self::Certificate,
            AuthenticationName::PrivateKeyJwt => Self::PrivateKeyJwt { key: None, id: None },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    issuer: Option<String>,
    client_id: String,
    agent: String,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<TokensConfig, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    parse(&text, path.parent().unwrap_or_else(|| Path::new(".")))
        .map_err(|(offset, message)| format!("{shown}{}: {message}", position(&text, offset)))
}

type Wrong = (usize, String);

fn parse(text: &str, beside: &Path) -> Result<TokensConfig, Wrong> {
    let document: Document = toml::from_str(text)
        .map_err(|error| (error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    if document.version != 1 {
        return Err((0, format!("version {} is unknown; write version = 1", document.version)));
    }
    let mode = match document.tokens {
        Mode::Forbidden => TokenMode::Forbidden,
        Mode::Optional => TokenMode::Optional,
        Mode::Required => TokenMode::Required,
    };
    let mut issuers: Vec<TokenIssuer> = Vec::with_capacity(document.issuer.len());
    for issuer in document.issuer {
        let at = issuer.span().start;
        let issuer = issuer.into_inner().read(beside).map_err(|message| (at, message))?;
        if issuers.iter().any(|known| known.issuer == issuer.issuer) {
            return Err((at, format!("the issuer `{}` stands twice", issuer.issuer)));
        }
        issuers.push(issuer);
    }
    for client in document.client {
        let at = client.span().start;
        let client = client.into_inner();
        let of = match (&client.issuer, issuers.as_mut_slice()) {
            (None, [only]) => Some(only),
            (None, _) => return Err((at, "with several issuers a client says whose it is: issuer = \"…\"".to_owned())),
            (Some(named), all) => all.iter_mut().find(|issuer| issuer.issuer == *named),
        };
        let of = of.ok_or_else(|| (at, "the client's issuer is none of the [[issuer]]s".to_owned()))?;
        of.clients.push((client.client_id, client.agent));
    }
    let upstream = document.upstream.map(|upstream| UpstreamTokens {
        issuer: upstream.issuer,
        ca: upstream.ca.map(|ca| beside.join(ca)),
        client: upstream.client_id,
        authentication: upstream.authentication.into(),
        resource: upstream.resource,
        scopes: upstream.scopes,
    });
    Ok(TokensConfig { mode, audience: document.audience, issuers, upstream })
}

impl Issuer {
    fn read(self, beside: &Path) -> Result<TokenIssuer, String> {
        let mut read = TokenIssuer::new(self.issuer);
        read.ca = self.ca.map(|ca| beside.join(ca));
        read.profile = match self.profile {
            ProfileName::Rfc9068 => Profile::Rfc9068,
            ProfileName::Keycloak => Profile::Keycloak,
        };
        for role in &self.roles {
            read.roles.push(role.parse().map_err(|error| format!("roles: `{role}`: {error}"))?);
        }
        read.binding = match self.binding {
            BindingName::Certificate => Binding::Certificate,
            BindingName::DangerBearer => Binding::DangerBearer,
        };
        if let Some(leeway) = self.leeway_seconds {
            if leeway > MOST_LEEWAY {
                return Err(format!("leeway_seconds = {leeway} is more than {MOST_LEEWAY}; set the clocks instead"));
            }
            read.leeway = Duration::from_secs(leeway);
        }
        read.actors = self.actors.unwrap_or(read.actors);
        read.introspection = self.introspection.map(Asked::read);
        Ok(read)
    }
}

impl Asked {
    fn read(self) -> Introspection {
        Introspection {
            client: self.client_id,
            authentication: self.authentication.into(),
            every_token: self.every_token,
            cache: Duration::from_secs(self.cache_seconds.unwrap_or(CACHE)),
        }
    }
}

/// `:line:column` of a byte offset.
fn position(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!(":{line}:{column}")
}

/// Seconds; beyond them a token's time says nothing.
const MOST_LEEWAY: u64 = 300;
/// Seconds that an answer of an issuer holds.
const CACHE: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 1
tokens = "required"
audience = "https://ledger.internal:8443/mcp"

[[issuer]]
issuer = "https://sso.internal/realms/mcp"
ca = "sso-ca.pem"
profile = "keycloak"
roles = ["realm_access.roles"]
introspection = { client_id = "guard-ledger", every_token = true, cache_seconds = 3 }

[[client]]
client_id = "agent-a"
agent = "billing-bot"
"#;

    fn wrong(text: &str) -> String {
        let (offset, message) = parse(text, Path::new("/etc")).unwrap_err();
        format!("{}: {message}", position(text, offset))
    }

    #[test]
    fn the_whole_file_is_read() {
        let config = parse(GOOD, Path::new("/etc")).unwrap();
        let issuer = &config.issuers[0];
        assert_eq!((config.mode, issuer.profile), (TokenMode::Required, Profile::Keycloak));
        assert_eq!(issuer.ca.as_deref(), Some(Path::new("/etc/sso-ca.pem")));
        assert_eq!(issuer.clients, [("agent-a".to_owned(), "billing-bot".to_owned())]);
        let asked = issuer.introspection.as_ref().unwrap();
        assert_eq!((asked.every_token, asked.cache), (true, Duration::from_secs(3)));
    }

    #[test]
    fn each_fault_has_its_place() {
        for (from, to, expected) in [
            ("version = 1", "version = 2", ":1:1: version 2 is unknown"),
            ("\"required\"", "\"sometimes\"", ":3:10: unknown variant `sometimes`"),
            ("audience", "audiense", ":4:1: unknown field `audiense`"),
            ("\"keycloak\"", "\"auth0\"", ":9:11: unknown variant `auth0`"),
            ("realm_access.roles", "realm_access..roles", ":6:1: roles: `realm_access..roles`"),
            ("ca = \"sso-ca.pem\"", "leeway_seconds = 301", ":6:1: leeway_seconds = 301 is more than 300"),
            (
                "client_id = \"agent-a\"",
                "issuer = \"https://x\"\nclient_id = \"a\"",
                ":13:1: the client's issuer is none",
            ),
        ] {
            let found = wrong(&GOOD.replacen(from, to, 1));
            assert!(found.starts_with(expected), "{found}\nwanted {expected}");
        }
        let twice = format!("{GOOD}\n[[issuer]]\nissuer = \"https://sso.internal/realms/mcp\"\n");
        assert!(wrong(&twice).contains("stands twice"));
        let two = format!("{GOOD}\n[[issuer]]\nissuer = \"https://other.internal\"\n");
        assert!(wrong(&two).contains("with several issuers"));
    }
}
