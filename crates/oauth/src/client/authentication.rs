//! How a client proves to an authorization server who it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use countermark_identity::Secret;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde_json::json;
use ulid::Ulid;
use url::{Url, form_urlencoded};

use super::Asking;
use crate::http::{HttpError, uri};
use crate::jose::SigningKey;

/// How a client proves to an authorization server who it is.
#[derive(Clone)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// By the certificate of the connection: `tls_client_auth` or `self_signed_tls_client_auth`
    /// ([RFC 8705 §2](https://www.rfc-editor.org/rfc/rfc8705#section-2)); which of the two is the server's registration.
    Certificate,
    /// By a signature: `private_key_jwt` ([RFC 7523 §2.2](https://www.rfc-editor.org/rfc/rfc7523#section-2.2)). The audience is
    /// the issuer alone.
    PrivateKeyJwt {
        /// The key; without one, that of the certificate.
        key: Option<Arc<SigningKey>>,
        /// What the server calls the key, if it has several.
        id: Option<String>,
    },
    /// By a JWT-SVID in a file that somebody keeps fresh (draft-ietf-oauth-spiffe-client-auth).
    JwtSvid {
        /// The file.
        file: PathBuf,
    },
    /// By a secret that both know. It can be stolen where the others cannot; sent in the header (`client_secret_basic`).
    Secret(Arc<Secret<String>>),
}

impl ClientAuthentication {
    /// The name at the server: one of its `token_endpoint_auth_methods_supported`.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Certificate => "tls_client_auth",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
            Self::JwtSvid { .. } => "spiffe_jwt",
            Self::Secret(_) => "client_secret_basic",
        }
    }

    /// Whether whoever receives the proof could use it elsewhere: so with what is no signature over its receiver.
    #[must_use]
    pub const fn can_be_replayed(&self) -> bool {
        matches!(self, Self::JwtSvid { .. } | Self::Secret(_))
    }

    /// The form's members that prove who asks; none where the connection or a header does.
    fn members(&self, asking: &Asking<'_>) -> Result<Vec<Member>, HttpError> {
        let (kind, assertion) = match self {
            Self::Certificate | Self::Secret(_) => return Ok(Vec::new()),
            Self::PrivateKeyJwt { key: Some(key), id } => (JWT_BEARER, asking.assertion(key, id.as_deref())?),
            Self::PrivateKeyJwt { key: None, id } => {
                let key = SigningKey::new(asking.credential.key()).map_err(|error| unable(error.to_string()))?;
                (JWT_BEARER, asking.assertion(&key, id.as_deref())?)
            }
            Self::JwtSvid { file } => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| unable(format!("the JWT-SVID {} cannot be read: {error}", file.display())))?;
                (JWT_SPIFFE, text.trim().to_owned())
            }
        };
        Ok(vec![("client_assertion_type", Secret::new(kind.to_owned())), ("client_assertion", Secret::new(assertion))])
    }
}

/// A form's member; its value is wiped with it.
pub(crate) type Member = (&'static str, Secret<String>);

impl Asking<'_> {
    /// The form's members that prove who asks.
    pub(super) fn proof(&self) -> Result<Vec<Member>, HttpError> {
        self.authentication.members(self)
    }

    /// [RFC 7523 §3](https://www.rfc-editor.org/rfc/rfc7523#section-3), with the audience that rfc7523bis demands: the issuer,
    /// and not the endpoint, which another server could name.
    fn assertion(&self, key: &SigningKey, id: Option<&str>) -> Result<String, HttpError> {
        let mut header = json!({"typ": "JWT"});
        if let (Some(id), Some(members)) = (id, header.as_object_mut()) {
            members.insert("kid".to_owned(), id.into());
        }
        let (client, now) = (self.client, self.now.as_secs());
        let claims = json!({
            "iss": client, "sub": client, "aud": self.issuer, "jti": Ulid::new().to_string(), "iat": now, "exp": now + LIFE,
        });
        key.sign_for(self.algorithms, header, &claims).map_err(|error| unable(error.to_string()))
    }

    /// A form POST that proves who sends it.
    pub(crate) fn form(&self, endpoint: &Url, form: &[Member]) -> Result<http::Request<Vec<u8>>, HttpError> {
        let proof = self.proof()?;
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form.iter().chain(&proof) {
            body.append_pair(name, value.expose());
        }
        let mut request = http::Request::new(Vec::new());
        if let ClientAuthentication::Secret(secret) = self.authentication {
            request.headers_mut().insert(AUTHORIZATION, basic(self.client, secret.expose())?);
        } else {
            // RFC 8705 §2: with a certificate, the client's id must be there.
            body.append_pair("client_id", self.client);
        }
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri(endpoint)?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        *request.body_mut() = body.finish().into_bytes();
        Ok(request)
    }
}

/// [RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)
fn basic(client: &str, secret: &str) -> Result<HeaderValue, HttpError> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let text = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(client), encoded(secret))));
    let mut value = HeaderValue::try_from(text).map_err(|error| unable(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unable(cause: String) -> HttpError {
    HttpError::Authentication(cause)
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method())
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// Seconds that an assertion lives: long enough for one request and some skew.
const LIFE: u64 = 60;
