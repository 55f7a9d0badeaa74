//! What a server says of itself: where its tokens come from.

use bytes::Bytes;
use countermark_mtls::Client;
use countermark_oauth::{BoundClientError, ResourceMetadata};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use url::Url;

use super::TokenFailure;

/// From a server's challenge to its metadata ([RFC 9728 §5](https://www.rfc-editor.org/rfc/rfc9728#section-5)), read without a
/// token; `host` says that the whole host may stand for the resource.
pub(super) async fn metadata(
    plain: &Client,
    endpoint: &Uri,
    named: Option<&str>,
    (resource, host): (&str, bool),
) -> Result<ResourceMetadata, TokenFailure> {
    let wrong = |cause: &str| TokenFailure::Metadata(cause.to_owned());
    let mut places = places(resource, endpoint, named, host)?.into_iter();
    let (response, resource) = loop {
        let (place, resource) = places.next().ok_or_else(|| wrong("it has no metadata at the well-known places"))?;
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = place;
        let response = plain.request(request).await.map_err(BoundClientError::from)?;
        if response.status() == StatusCode::OK || named.is_some() {
            break (response, resource);
        }
    };
    if response.status() != StatusCode::OK {
        return Err(TokenFailure::Metadata(format!("its metadata answers {}", response.status())));
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    let body = body.map_err(|_| wrong("its metadata breaks off, or is too long"))?.to_bytes();
    ResourceMetadata::read(&body, &resource).map_err(|error| TokenFailure::Metadata(error.to_string()))
}

/// Where a server's metadata is looked for, and what it must then be of: where its challenge says, else at the well-known
/// place of the resource ([RFC 9728 §3.1](https://www.rfc-editor.org/rfc/rfc9728#section-3.1)) and, where `host` may stand for
/// it, at that of the whole host.
fn places(resource: &str, endpoint: &Uri, named: Option<&str>, host: bool) -> Result<Vec<(Uri, String)>, TokenFailure> {
    let wrong = |cause: &str| TokenFailure::Metadata(cause.to_owned());
    if let Some(named) = named {
        let url: Uri = named.parse().map_err(|_| wrong("its resource_metadata is no URL"))?;
        if url.scheme() != endpoint.scheme() || url.authority() != endpoint.authority() {
            return Err(wrong("its resource_metadata is of another host, which nobody has verified"));
        }
        return Ok(vec![(url, resource.to_owned())]);
    }
    let mut url = Url::parse(resource).map_err(|_| wrong("the resource is no URL"))?;
    let mut found = vec![(at(endpoint, &url)?, resource.to_owned())];
    url.set_path("");
    if host {
        found.push((at(endpoint, &url)?, url.as_str().trim_end_matches('/').to_owned()));
    }
    found.dedup();
    Ok(found)
}

/// The well-known place of a resource, at the endpoint that was verified.
fn at(endpoint: &Uri, resource: &Url) -> Result<Uri, TokenFailure> {
    let wrong = |_: &dyn std::error::Error| TokenFailure::Metadata("its path cannot be asked for".to_owned());
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(ResourceMetadata::path(resource).parse().map_err(|error| wrong(&error))?);
    Uri::from_parts(parts).map_err(|error| wrong(&error))
}

/// Bytes of a resource's metadata.
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_server_says_or_at_the_well_known_places() {
        let endpoint: Uri = "https://ledger.test:8443/mcp".parse().unwrap();
        let found = |resource: &str, named, host| {
            let places = places(resource, &endpoint, named, host).ok()?;
            Some(places.iter().map(|(place, of)| format!("{place} {of}")).collect::<Vec<_>>())
        };
        let (resource, host) = ("https://ledger.test/mcp", "https://ledger.test");
        let known = "https://ledger.test:8443/.well-known/oauth-protected-resource";
        let (own, root) = (format!("{known}/mcp {resource}"), format!("{known} {host}"));
        assert_eq!(found(resource, None, true).unwrap(), [own.clone(), root.clone()]);
        assert_eq!(found(resource, None, false).unwrap(), [own]);
        assert_eq!(found(host, None, true).unwrap(), [root]);
        let other = "https://ledger.test:8443/other";
        assert_eq!(found(resource, Some(other), true).unwrap(), [format!("{other} {resource}")]);
        for elsewhere in
            ["https://ledger.test/other", "http://ledger.test:8443/other", "https://evil.test:8443/other", "/other"]
        {
            assert_eq!(found(resource, Some(elsewhere), true), None, "{elsewhere}");
        }
    }
}
