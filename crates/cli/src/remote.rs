//! An authority that serves elsewhere, asked with the certificate of an administrator.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use countermark_credential::{
    Credential,
    directory::{self, LoadedTrust},
};
use countermark_identity::{SanMap, SystemClock, TrustDomain};
use countermark_mtls::{Client, ClientConfig, ExpectedServer, TrustGenerations};
use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    failure::{Explain, Outcome, failed},
    material,
};

/// An authority at a URL.
#[derive(Debug)]
pub(crate) struct Remote {
    url: String,
    server: String,
    credential: Arc<Credential>,
    trust: LoadedTrust,
    own: TrustDomain,
}

impl Remote {
    /// Reads the identity that asks; nothing is sent yet.
    pub(crate) fn open(url: &str, identity: &Path, server: &str) -> Outcome<Self> {
        let next = "give --identity the directory of an administrator, from `countermark mint admin`";
        let shown = identity.display();
        let held = directory::read(identity).or_failed(format!("cannot read the identity {shown}"), next)?;
        let trust =
            directory::load_trust(identity).or_failed(format!("cannot read the trust material of {shown}"), next)?;
        let own = material::own_domain(&held.credential)
            .ok_or_else(|| failed(format!("{shown} names no trust domain"), next))?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, server: server.to_owned(), credential: held.credential, trust, own })
    }

    /// The trust domain of whoever asks, and so of the authority.
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.own
    }

    /// What the asker trusts, by its own directory.
    pub(crate) fn trust(&self) -> &LoadedTrust {
        &self.trust
    }

    pub(crate) async fn get(&self, path: &str, what: &str) -> Outcome<Value> {
        let (_, body) = self.send(Method::GET, path, Bytes::new(), what).await?;
        parse(&body, what)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value, what: &str) -> Outcome<Value> {
        let (_, body) = self.send(Method::POST, path, body.to_string().into(), what).await?;
        parse(&body, what)
    }

    /// A body that is not JSON.
    pub(crate) async fn raw(&self, path: &str, what: &str) -> Outcome<Bytes> {
        Ok(self.send(Method::GET, path, Bytes::new(), what).await?.1)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes, what: &str) -> Outcome<(http::StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .or_failed(format!("{what}: {} is no URL", self.url), "write --ca https://HOST:PORT")?;
        let next = "check the URL, that the authority serves there, and that your certificate still lives";
        let client = self.client()?;
        let answer = client.request(request).await.or_failed(format!("{what}: {} did not answer", self.url), next)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed).or_failed(format!("{what}: the answer broke off"), next)?;
        let body = body.to_bytes();
        if status.is_success() {
            return Ok((status, body));
        }
        let said: Option<Value> = serde_json::from_slice(&body).ok();
        let message = said.as_ref().and_then(|said| said.get("message")).and_then(Value::as_str);
        Err(failed(format!("{what}: the authority answered {status}: {}", message.unwrap_or("nothing more")), ""))
    }

    /// One that speaks to this authority and to nobody else.
    fn client(&self) -> Outcome<Client> {
        let trust = material::trust(&self.trust).or_failed("cannot use the trust material of the identity", "")?;
        let map = Arc::new(SanMap::empty(self.own.clone()));
        let generations = TrustGenerations::fixed(Arc::new(trust), map);
        let (_, credential) = watch::channel(Arc::clone(&self.credential));
        let expected = ExpectedServer::Name(self.server.clone());
        let clock = Arc::new(SystemClock);
        Client::new(credential, generations.watch(), expected, clock, ClientConfig::default())
            .or_failed("the identity cannot be used for TLS", "mint it again")
    }
}

fn parse(body: &[u8], what: &str) -> Outcome<Value> {
    serde_json::from_slice(body).or_failed(
        format!("{what}: the answer is not JSON"),
        "check that a countermark authority of this version serves there",
    )
}

const LARGEST: usize = 64 * 1024 * 1024;
