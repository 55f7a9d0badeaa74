//! Access tokens that are worthless when stolen: bound to the certificate that they were issued to
//! ([RFC 8705](https://www.rfc-editor.org/rfc/rfc8705)).
//!
//! A client holds certificate, connections and tokens as one [`Generation`]: [`Generations`] stages the next one with its
//! own tokens before it takes the place of the old, so that no call fails when they change. [`BoundClient`] is an mTLS
//! client that rides on it.
//!
//! A server's [`TokenVerifier`] leads from a header to a [`VerifiedToken`], one type for each step. Header, choice of the
//! key, claims and clock are ours and strict; the signature alone is a library's. A token without a binding is refused, and so
//! is a client that no table lets be this agent.
//!
//! Nothing here prints a token, puts one on disk or into an error.

mod bearer;
mod challenge;
mod client;
mod http;
mod introspection;
mod jose;
mod metadata;
mod silence;
mod verify;

pub use bearer::{BearerFault, UnverifiedToken};
pub use challenge::Challenge;
pub use client::{
    Bound, BoundClient, BoundClientConfig, BoundClientError, BoundToken, ClientAuthentication, Generation, Generations,
    Misbound, Question, Registration, TokenError, Tokens,
};
pub use http::{FollowingHttp, Http, HttpError, Roots, causes};
pub use jose::{JwsFault, KeySetError, SigningKey, SigningKeyError};
pub use metadata::{DiscoveryError, ResourceMetadata, ResourceMetadataError, ServerMetadata};
pub use verify::{
    Binding, ClaimPath, ClaimPathError, FetchedKeys, Introspector, IssuerKeys, IssuerRules, KeyError, KeySource,
    KeysAt, Principal, Profile, PublishedKeys, SignatureRefusal, SignedJwt, TokenRefusal, TokenVerifier, UnverifiedJwt,
    VerifiedToken,
};
