//! Adapters for [`rmcp`], behind the feature of that name.
//!
//! Client: [`MtlsHttpClient`] lets an rmcp client speak over a pooled [`countermark_mtls::Client`], or over a [`countermark_oauth::BoundClient`]. Server: put
//! [`AuthorizeLayer`](crate::AuthorizeLayer) around rmcp's `StreamableHttpService`, and read who calls with [`caller`].

mod client;
mod response;

pub use client::{Carrier, MtlsHttpClient};

use crate::Caller;

/// The caller of the request that a handler is answering, from the extensions of its `RequestContext`.
///
/// `None` if the request did not come over HTTP through an [`AuthorizeLayer`](crate::AuthorizeLayer): refuse it.
#[must_use]
pub fn caller(extensions: &::rmcp::model::Extensions) -> Option<Caller> {
    extensions.get::<http::request::Parts>().and_then(|parts| Caller::of(&parts.extensions))
}

#[cfg(test)]
mod tests {
    use countermark_testkit::{TestCa, pair};

    use super::*;

    #[tokio::test]
    async fn a_handler_learns_who_calls_from_the_parts_that_rmcp_keeps() {
        let met = pair(&TestCa::new("agents.internal"), "billing-bot", "ledger").await;
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let mut extensions = ::rmcp::model::Extensions::new();
        extensions.insert(parts.clone());
        assert!(caller(&extensions).is_none(), "it never passed the layer");
        parts.extensions.insert(Caller::assertion(met.server.peer().clone(), None, None));
        extensions.insert(parts);
        assert_eq!(caller(&extensions).unwrap().agent().name(), "billing-bot");
        assert!(caller(&::rmcp::model::Extensions::new()).is_none());
    }
}
