//! The file as written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) version: Spanned<u32>,
    pub(super) socket: Option<String>,
    pub(super) concurrency: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) issuer: Vec<Spanned<Issuer>>,
    #[serde(default)]
    pub(super) credential: Vec<Spanned<Credential>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Issuer {
    Authority {
        name: String,
        url: String,
        server: Option<String>,
    },
    Directory {
        name: String,
        path: String,
        #[serde(rename = "passphrase-file")]
        passphrase_file: Option<String>,
    },
    Est {
        name: String,
        url: String,
        server: Option<String>,
        roots: Option<String>,
        bundle: Option<String>,
        crl: Option<String>,
        revocation: Option<String>,
    },
}

impl Issuer {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Authority { name, .. } | Self::Directory { name, .. } | Self::Est { name, .. } => name,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Credential {
    pub(super) name: Spanned<String>,
    pub(super) identity: Option<Spanned<String>>,
    pub(super) trust_domain: Option<Spanned<String>>,
    pub(super) issuer: Spanned<String>,
    pub(super) directory: Spanned<String>,
    pub(super) ttl: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) dns: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) ip: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) email: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) uri: Vec<Spanned<String>>,
    pub(super) owner: Option<Spanned<String>>,
    pub(super) mode: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) reuse_key: bool,
    #[serde(default)]
    pub(super) after: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) combined: bool,
    pub(super) keystore_password_file: Option<Spanned<String>>,
    pub(super) projected: Option<Spanned<String>>,
    pub(super) secret: Option<Secret>,
    #[serde(default)]
    pub(super) hook: Vec<Spanned<Hook>>,
    pub(super) probe: Option<Probe>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) path: Spanned<String>,
    pub(super) name: Spanned<String>,
    pub(super) namespace: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Hook {
    pub(super) run: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) signal: Option<Spanned<String>>,
    pub(super) pid_file: Option<String>,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) request: Option<Spanned<String>>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) touch: Option<String>,
    pub(super) on: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Probe {
    pub(super) address: Spanned<String>,
    pub(super) server_name: Option<String>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) repeat_hooks: Option<bool>,
}
