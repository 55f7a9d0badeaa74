//! Adapters for [`rmcp`], behind the feature of that name.
//!
//! Client: [`MtlsHttpClient`] lets an rmcp client speak over a pooled [`countermark_mtls::Client`]. Server: put
//! [`AuthorizeLayer`](crate::AuthorizeLayer) around rmcp's `StreamableHttpService`, and read who calls with [`caller`].

mod client;
mod response;

pub use client::MtlsHttpClient;

use crate::Caller;

/// The caller of the request that a handler is answering, from the extensions of its `RequestContext`.
///
/// `None` if the request did not come over HTTP through an [`AuthorizeLayer`](crate::AuthorizeLayer): refuse it.
#[must_use]
pub fn caller(extensions: &::rmcp::model::Extensions) -> Option<Caller> {
    extensions.get::<http::request::Parts>().and_then(|parts| Caller::of(&parts.extensions))
}
