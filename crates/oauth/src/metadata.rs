//! What an authorization server and a protected resource say of themselves.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::http::{Http, HttpError, host, require_https};

/// Where an authorization server's endpoints are. [RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ServerMetadata {
    /// The issuer, exactly as it was asked for.
    pub issuer: String,
    /// Where keys are published.
    pub jwks_uri: Option<Url>,
    #[serde(flatten)]
    endpoints: Endpoints,
    /// The same endpoints where a client certificate is asked for ([RFC 8705 §5](https://www.rfc-editor.org/rfc/rfc8705#section-5)).
    #[serde(default)]
    mtls_endpoint_aliases: Endpoints,
    /// How clients may authenticate at the token endpoint.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// The algorithms that clients may sign their assertions with.
    #[serde(default)]
    pub token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    /// Whether tokens can be bound to certificates.
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Endpoints {
    token_endpoint: Option<Url>,
    introspection_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
}

/// Why an issuer is not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// It lacks what is needed.
    #[error("the metadata of {issuer} names no {what}")]
    Lacks {
        /// The issuer.
        issuer: String,
        /// The member.
        what: &'static str,
    },
    /// What is there is no metadata.
    #[error("{url} is no authorization server metadata (RFC 8414)")]
    Malformed {
        /// Where it was read.
        url: String,
    },
    /// None of the places where metadata may stand has any.
    #[error("{issuer} publishes no metadata; tried {tried}")]
    Nowhere {
        /// The issuer.
        issuer: String,
        /// The places.
        tried: String,
    },
    /// The issuer that was asked for is no URL for one.
    #[error("{issuer:?} is no issuer: an https:// URL without query and fragment is wanted")]
    NotIssuer {
        /// What was asked for.
        issuer: String,
    },
    /// Somebody else's metadata.
    #[error("the metadata at {url} is of {found:?}, not of {wanted}: the two must be equal to the letter")]
    OtherIssuer {
        /// Where it was read.
        url: String,
        /// Whom it is of.
        found: String,
        /// Whom it should be of.
        wanted: String,
    },
    /// An endpoint that is not the issuer's own.
    #[error(
        "{issuer}, which the called server has named, has an endpoint at {elsewhere} or with a query; configure the issuer to use it"
    )]
    Elsewhere {
        /// The issuer.
        issuer: String,
        /// The endpoint's host.
        elsewhere: String,
    },
    /// It could not be fetched.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl ServerMetadata {
    /// Finds and reads the metadata of `issuer`: at the places of RFC 8414 §3.1 and of OpenID Connect Discovery §4, in the
    /// order that MCP wants.
    ///
    /// > The "issuer" value returned MUST be identical to the authorization server's issuer identifier value into which the
    /// > well-known URI string was inserted to create the URL used to retrieve the metadata.
    ///
    /// # Errors
    /// [`DiscoveryError`] says where was looked and what was wrong.
    pub async fn discover(http: &Http, issuer: &str) -> Result<Self, DiscoveryError> {
        let places = places(issuer)?;
        for url in &places {
            match http.get(url, DOCUMENT).await {
                Ok(document) => return Self::read(&document, url, issuer),
                Err(HttpError::Status { status: 400..500, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let tried = places.iter().map(Url::as_str).collect::<Vec<_>>().join(", ");
        Err(DiscoveryError::Nowhere { issuer: issuer.to_owned(), tried })
    }

    fn read(document: &Bytes, url: &Url, issuer: &str) -> Result<Self, DiscoveryError> {
        let malformed = || DiscoveryError::Malformed { url: url.to_string() };
        let metadata: Self = serde_json::from_slice(document).map_err(|_| malformed())?;
        if metadata.issuer != issuer {
            let found = metadata.issuer.chars().take(200).collect();
            return Err(DiscoveryError::OtherIssuer { url: url.to_string(), found, wanted: issuer.to_owned() });
        }
        let named = [&metadata.endpoints, &metadata.mtls_endpoint_aliases];
        let all = named.into_iter().flat_map(Endpoints::all).chain(&metadata.jwks_uri);
        for endpoint in all {
            require_https(endpoint)?;
        }
        Ok(metadata)
    }

    /// Refuses endpoints on another host than the issuer's, or with a query: whoever named the issuer must not aim a client's
    /// certificate at whatever takes a POST.
    pub(crate) fn require_at_home(&self) -> Result<(), DiscoveryError> {
        let home = Url::parse(&self.issuer).ok();
        let is_home = |url: &&Url| url.query().is_none() && home.as_ref().is_some_and(|home| home.host() == url.host());
        let mut all = self.endpoints.all().chain(self.mtls_endpoint_aliases.all());
        match all.find(|url| !is_home(url)).map(host) {
            Some(elsewhere) => Err(DiscoveryError::Elsewhere { issuer: self.issuer.clone(), elsewhere }),
            None => Ok(()),
        }
    }

    /// The token endpoint; with a client certificate, its alias for that.
    pub(crate) fn token_endpoint(&self, with_certificate: bool) -> Result<&Url, DiscoveryError> {
        self.endpoint(with_certificate, "token_endpoint", |endpoints| endpoints.token_endpoint.as_ref())
    }

    pub(crate) fn introspection_endpoint(&self) -> Result<&Url, DiscoveryError> {
        self.endpoint(true, "introspection_endpoint", |endpoints| endpoints.introspection_endpoint.as_ref())
    }

    pub(crate) fn revocation_endpoint(&self) -> Result<&Url, DiscoveryError> {
        self.endpoint(true, "revocation_endpoint", |endpoints| endpoints.revocation_endpoint.as_ref())
    }

    pub(crate) fn jwks_uri(&self) -> Result<&Url, DiscoveryError> {
        self.jwks_uri.as_ref().ok_or_else(|| self.lacks("jwks_uri"))
    }

    fn endpoint(
        &self,
        with_certificate: bool,
        what: &'static str,
        of: impl Fn(&Endpoints) -> Option<&Url>,
    ) -> Result<&Url, DiscoveryError> {
        let alias = with_certificate.then(|| of(&self.mtls_endpoint_aliases)).flatten();
        alias.or_else(|| of(&self.endpoints)).ok_or_else(|| self.lacks(what))
    }

    fn lacks(&self, what: &'static str) -> DiscoveryError {
        DiscoveryError::Lacks { issuer: self.issuer.clone(), what }
    }
}

impl Endpoints {
    fn all(&self) -> impl Iterator<Item = &Url> {
        [&self.token_endpoint, &self.introspection_endpoint, &self.revocation_endpoint].into_iter().flatten()
    }
}

/// Where the metadata of an issuer may stand.
fn places(issuer: &str) -> Result<Vec<Url>, DiscoveryError> {
    let not_issuer = || DiscoveryError::NotIssuer { issuer: issuer.chars().take(200).collect() };
    // A URL's reader passes over line breaks; the reader of a log does not.
    if issuer.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return Err(not_issuer());
    }
    let base = Url::parse(issuer).map_err(|_| not_issuer())?;
    if require_https(&base).is_err() || base.query().is_some() {
        return Err(not_issuer());
    }
    let path = base.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url
    };
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        places.push(at(format!("{path}/.well-known/openid-configuration")));
    }
    Ok(places)
}

/// What a protected resource says of itself. [RFC 9728 §2](https://www.rfc-editor.org/rfc/rfc9728#section-2)
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a document that servers write out")]
pub struct ResourceMetadata {
    /// The resource: what tokens for it are asked with.
    pub resource: String,
    /// The issuers whose tokens it takes.
    #[serde(default)]
    pub authorization_servers: Vec<String>,
    /// The scopes that its policy speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// Where a token may stand: in the header.
    #[serde(default)]
    pub bearer_methods_supported: Vec<String>,
    /// Whether tokens must be bound to the client's certificate.
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
}

impl ResourceMetadata {
    /// The path at which the metadata of a resource stands: the well-known name before the resource's own path
    /// ([RFC 9728 §3.1](https://www.rfc-editor.org/rfc/rfc9728#section-3.1)).
    #[must_use]
    pub fn path(resource: &Url) -> String {
        format!("/.well-known/oauth-protected-resource{}", resource.path().trim_end_matches('/'))
    }

    /// Reads the metadata of `resource`.
    ///
    /// > the "resource" value returned MUST be identical to the protected resource's resource identifier value into which
    /// > the well-known URI path suffix was inserted to create the URL used to retrieve the metadata
    ///
    /// # Errors
    /// It is no such document, or another resource's.
    pub fn read(document: &[u8], resource: &str) -> Result<Self, ResourceMetadataError> {
        let mut read: Self = serde_json::from_slice(document).map_err(|_| ResourceMetadataError::Malformed)?;
        read.scopes_supported.retain(|scope| is_scope(scope));
        if read.resource != resource {
            let found = read.resource.chars().take(200).collect();
            return Err(ResourceMetadataError::OtherResource { found, wanted: resource.to_owned() });
        }
        Ok(read)
    }
}

/// A `scope-token` of [RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3).
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'))
}

/// Why a resource's metadata is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceMetadataError {
    /// No such document.
    #[error("the server's metadata is not that of a protected resource (RFC 9728)")]
    Malformed,
    /// Somebody else's.
    #[error("the server's metadata is of the resource {found:?}, not of {wanted}")]
    OtherResource {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

/// Bytes of a metadata document; Keycloak's has 8 KiB.
pub(crate) const DOCUMENT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<ServerMetadata, DiscoveryError> {
        let url = Url::parse("https://as.test/.well-known/x").unwrap();
        ServerMetadata::read(&Bytes::copy_from_slice(document.as_bytes()), &url, "https://as.test/realms/mcp")
    }

    #[test]
    fn metadata_is_looked_for_where_both_specifications_put_it() {
        let at = |issuer| places(issuer).map(|urls| urls.iter().map(Url::to_string).collect::<Vec<_>>());
        assert_eq!(
            at("https://as.test/realms/mcp").unwrap(),
            [
                "https://as.test/.well-known/oauth-authorization-server/realms/mcp",
                "https://as.test/.well-known/openid-configuration/realms/mcp",
                "https://as.test/realms/mcp/.well-known/openid-configuration",
            ]
        );
        assert_eq!(at("https://as.test").unwrap().len(), 2);
        for wrong in [
            "http://as.test",
            "as.test",
            "https://as.test?x=1",
            "https://as.test#x",
            "https://u:p@as.test",
            "https://as.test/\n2026-11-27T00:00:00Z  INFO all is well",
            " https://as.test",
        ] {
            let refused = at(wrong).unwrap_err();
            assert!(matches!(refused, DiscoveryError::NotIssuer { .. }), "{wrong}");
            assert!(!refused.to_string().contains('\n'), "one line of a log: {refused}");
        }
    }

    #[test]
    fn what_a_server_says_of_itself_begins_no_line_of_a_log() {
        let document = r#"{"resource":"https://ledger.test","scopes_supported":["a","a\n2026 INFO","","b c","d:e"]}"#;
        let read = ResourceMetadata::read(document.as_bytes(), "https://ledger.test").unwrap();
        assert_eq!(read.scopes_supported, ["a", "d:e"]);
        let other = document.replace("//ledger", "//other\\n2026 INFO ");
        let refused = ResourceMetadata::read(other.as_bytes(), "https://ledger.test").unwrap_err();
        assert!(matches!(refused, ResourceMetadataError::OtherResource { .. }));
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }

    #[test]
    fn the_issuer_is_equal_to_the_letter() {
        for other in ["https://as.test/realms/mcp/", "https://AS.test/realms/mcp", "https://evil.test"] {
            let document = format!(r#"{{"issuer":"{other}","token_endpoint":"https://as.test/t"}}"#);
            assert!(matches!(read(&document), Err(DiscoveryError::OtherIssuer { .. })), "{other}");
        }
        assert!(matches!(read("<html>"), Err(DiscoveryError::Malformed { .. })));
    }

    #[test]
    fn aliases_are_preferred_with_a_certificate_and_nothing_is_in_clear() {
        let document = |alias: &str| {
            format!(
                r#"{{"issuer":"https://as.test/realms/mcp","token_endpoint":"https://as.test/t",
                    "mtls_endpoint_aliases":{{"token_endpoint":"{alias}"}}}}"#
            )
        };
        let metadata = read(&document("https://mtls.as.test/t")).unwrap();
        assert_eq!(metadata.token_endpoint(true).unwrap().as_str(), "https://mtls.as.test/t");
        assert_eq!(metadata.token_endpoint(false).unwrap().as_str(), "https://as.test/t");
        assert!(matches!(metadata.jwks_uri(), Err(DiscoveryError::Lacks { what: "jwks_uri", .. })));
        assert!(matches!(
            read(&document("http://mtls.as.test/t")),
            Err(DiscoveryError::Http(HttpError::NotHttps { .. }))
        ));
    }

    #[test]
    fn a_resource_answers_for_itself_alone() {
        let resource = "https://ledger.test/mcp";
        assert_eq!(ResourceMetadata::path(&Url::parse(resource).unwrap()), "/.well-known/oauth-protected-resource/mcp");
        assert!(ResourceMetadata::read(br#"{"resource":"https://ledger.test/mcp"}"#, resource).is_ok());
        let other = ResourceMetadata::read(br#"{"resource":"https://evil.test/mcp"}"#, resource);
        assert!(matches!(other, Err(ResourceMetadataError::OtherResource { .. })));
        assert_eq!(ResourceMetadata::read(b"x", resource), Err(ResourceMetadataError::Malformed));
    }
}
