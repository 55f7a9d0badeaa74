//! Whom the server knows, and how it knows them again.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countermark_mtls::Visitor;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

/// A client as it is registered.
#[derive(Clone, Debug)]
pub struct Client {
    proof: Proof,
    scopes: Vec<String>,
    roles: Vec<String>,
    audience: Option<String>,
}

#[derive(Clone, Debug)]
enum Proof {
    /// `tls_client_auth_san_uri`
    Certificate(String),
    /// `client_secret_basic`
    Secret(String),
    /// `private_key_jwt`.
    Key(Value),
}

impl Client {
    /// Known by the URI in its certificate ([RFC 8705 §2.1.2](https://www.rfc-editor.org/rfc/rfc8705#section-2.1.2)).
    #[must_use]
    pub fn of_certificate(uri: impl Into<String>) -> Self {
        Self::new(Proof::Certificate(uri.into()))
    }

    /// Known by a secret.
    #[must_use]
    pub fn of_secret(secret: impl Into<String>) -> Self {
        Self::new(Proof::Secret(secret.into()))
    }

    /// Known by its public key, a JWK of P-256 or RSA.
    #[must_use]
    pub fn of_key(jwk: Value) -> Self {
        Self::new(Proof::Key(jwk))
    }

    fn new(proof: Proof) -> Self {
        Self { proof, scopes: Vec::new(), roles: Vec::new(), audience: None }
    }

    /// May have these scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self
    }

    /// Has these roles.
    #[must_use]
    pub fn with_roles(mut self, roles: &[&str]) -> Self {
        self.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self
    }

    /// Gets tokens for this audience, whatever it asks for, as servers do that know no resource indicators.
    #[must_use]
    pub fn with_audience(mut self, audience: &str) -> Self {
        self.audience = Some(audience.to_owned());
        self
    }

    pub(super) fn roles(&self) -> &[String] {
        &self.roles
    }

    pub(super) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Those of the scopes that the client may have; all that it may have if it asks for none.
    pub(super) fn scopes(&self, asked: Option<&str>) -> Result<Vec<String>, ()> {
        let Some(asked) = asked else { return Ok(Vec::new()) };
        let asked: Vec<String> = asked.split(' ').map(str::to_owned).collect();
        if asked.iter().all(|scope| self.scopes.contains(scope)) { Ok(asked) } else { Err(()) }
    }

    pub(super) fn proves(
        &self,
        id: &str,
        visitor: &Visitor,
        headers: &HeaderMap,
        form: &[(String, String)],
        issuer: &str,
    ) -> bool {
        match &self.proof {
            Proof::Certificate(uri) => {
                matches!(visitor, Visitor::Verified(peer) if peer.caller().spiffe_id().as_str() == uri)
            }
            Proof::Secret(secret) => {
                let wanted = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
                headers.get(AUTHORIZATION).is_some_and(|value| *value == wanted)
            }
            Proof::Key(jwk) => {
                let assertion = form.iter().find(|(name, _)| name == "client_assertion");
                assertion.is_some_and(|(_, assertion)| asserts(assertion, jwk, id, issuer))
            }
        }
    }
}

/// The client that a header names ([RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)).
pub(super) fn named(headers: &HeaderMap) -> Option<String> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(text.split_once(':')?.0.to_owned())
}

/// What an assertion says that it is signed with.
pub(super) fn algorithm(assertion: &str) -> Option<String> {
    let header: Value = serde_json::from_slice(&bytes(assertion.split('.').next()?)).ok()?;
    Some(header["alg"].as_str()?.to_owned())
}

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

fn asserts(assertion: &str, jwk: &Value, id: &str, issuer: &str) -> bool {
    let Some((signed, signature)) = assertion.rsplit_once('.') else { return false };
    let Some((_, claims)) = signed.split_once('.') else { return false };
    let claims: Value = serde_json::from_slice(&bytes(claims)).unwrap_or_default();
    let member = |name: &str| bytes(jwk[name].as_str().unwrap_or_default());
    let (signed, signature) = (signed.as_bytes(), bytes(signature));
    let rsa = || RsaPublicKeyComponents { n: member("n"), e: member("e") };
    let verified = match (jwk["kty"].as_str(), algorithm(assertion).as_deref()) {
        (Some("EC"), Some("ES256")) => {
            let point = [vec![4], member("x"), member("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, &signature)
        }
        (Some("RSA"), Some("RS256")) => rsa().verify(&RSA_PKCS1_2048_8192_SHA256, signed, &signature),
        (Some("RSA"), Some("PS256")) => rsa().verify(&RSA_PSS_2048_8192_SHA256, signed, &signature),
        _ => return false,
    };
    verified.is_ok() && claims["aud"] == issuer && claims["iss"] == id && claims["sub"] == id
}

/// What assertions may be signed with.
pub(super) const ALGORITHMS: [&str; 3] = ["ES256", "PS256", "RS256"];
