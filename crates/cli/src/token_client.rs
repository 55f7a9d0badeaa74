//! How this process is known at an authorization server: the flags that `connect` and `token` share.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use countermark_credential::Bundle;
use countermark_identity::Secret;
use countermark_oauth::{ClientAuthentication, Roots, SigningKey};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroize as _;

use crate::failure::{Explain, Outcome, failed, usage};

/// How this process proves to the authorization server who it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access tokens")]
pub(crate) struct ClientArgs {
    /// CA of the authorization server's own certificate [default: the roots of this trust domain]
    #[arg(long, value_name = "FILE")]
    pub(crate) issuer_ca: Option<PathBuf>,
    /// How the client authenticates
    #[arg(long, value_name = "METHOD", value_enum, default_value_t = Method::Certificate)]
    pub(crate) client_auth: Method,
    /// The key for private-key-jwt [default: that of the certificate]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
    /// What the server calls that key
    #[arg(long, value_name = "KID")]
    pub(crate) client_key_id: Option<String>,
    /// The file with the client's secret, or with the JWT-SVID
    #[arg(long, value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// Bind tokens by proofs of possession (RFC 9449) instead of by the certificate
    #[arg(long)]
    pub(crate) dpop: bool,
}

/// How a client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// tls_client_auth or self_signed_tls_client_auth (RFC 8705)
    Certificate,
    /// private_key_jwt (RFC 7523)
    PrivateKeyJwt,
    /// A JWT-SVID of a SPIFFE agent, in a file
    JwtSvid,
    /// client_secret_basic: a secret that can be stolen
    Secret,
}

impl ClientArgs {
    pub(crate) fn authentication(&self) -> Outcome<ClientAuthentication> {
        let file = |method: &str| {
            self.client_secret_file.clone().ok_or_else(|| {
                usage(format!("--client-auth {method} needs a file"), "name it with --client-secret-file FILE")
            })
        };
        match self.client_auth {
            Method::Certificate => Ok(ClientAuthentication::Certificate),
            Method::PrivateKeyJwt => {
                Ok(ClientAuthentication::PrivateKeyJwt { key: self.key()?, id: self.client_key_id.clone() })
            }
            Method::JwtSvid => Ok(ClientAuthentication::JwtSvid { file: file("jwt-svid")? }),
            Method::Secret => {
                let file = file("secret")?;
                let mut text = std::fs::read_to_string(&file).or_failed(
                    format!("cannot read the secret {}", file.display()),
                    "name a file that this user can read",
                )?;
                let secret = text.trim_end_matches(['\r', '\n']).to_owned();
                text.zeroize();
                Ok(ClientAuthentication::Secret(Arc::new(Secret::new(secret))))
            }
        }
    }

    /// Who vouches for the authorization server: the CA that is named, or the roots of the own trust domain.
    pub(crate) fn roots(&self, own: Option<&Bundle>) -> Outcome<Roots> {
        let own = own.ok_or_else(|| failed("the identity has no trust bundle", "mint or join it again"))?;
        let Some(file) = &self.issuer_ca else { return Ok(own.roots().to_vec().into()) };
        let next = "name a PEM file with the CA's certificate";
        let text = std::fs::read(file).or_failed(format!("cannot read the CA {}", file.display()), next)?;
        let bundle = Bundle::from_pem(own.trust_domain().clone(), &text)
            .or_failed(format!("cannot use the CA {}", file.display()), next)?;
        Ok(bundle.roots().to_vec().into())
    }

    fn key(&self) -> Outcome<Option<Arc<SigningKey>>> {
        let Some(file) = &self.client_key else { return Ok(None) };
        let what = format!("cannot use the key {}", file.display());
        let next = "name a PEM file with a private key of EC P-256 or P-384, Ed25519 or RSA";
        let key = PrivateKeyDer::from_pem_file(file).or_failed(what.clone(), next)?;
        SigningKey::new(&key).map(|key| Some(Arc::new(key))).or_failed(what, next)
    }
}
