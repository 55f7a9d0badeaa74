//! Which path is answered by what.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use countermark_mtls::Visitor;
use http::StatusCode;

use crate::service::{Shared, admin, est, material, refusal::Refusal, revive, window};

/// Everything that is answered. What is not listed is answered to nobody without a certificate.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let est = Router::new()
        .route("/cacerts", get(est::ca_certificates))
        .route("/csrattrs", get(est::csr_attributes))
        .route("/simpleenroll", post(est::enrol))
        .route("/simplereenroll", post(est::reenrol));
    Router::new()
        .nest("/.well-known/est", est)
        .route("/v1/bundle", get(material::bundle))
        .route("/v1/certificates", get(admin::list).post(admin::mint))
        .route("/v1/crl", get(material::crl))
        .route("/v1/invites", post(admin::invite))
        .route("/v1/nonce", get(revive::nonce))
        .route("/v1/renew-expired", post(revive::renew_expired))
        .route("/v1/renewal-info/{id}", get(window::renewal_info))
        .route("/v1/revocations", post(admin::revoke))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(shared), counted))
        .with_state(Arc::clone(shared))
}

async fn unknown(Extension(visitor): Extension<Visitor>) -> Refusal {
    match visitor {
        Visitor::Anonymous(_) => admin::certificate_required(),
        Visitor::Verified(_) => Refusal::not_found("nothing is here; see docs of the authority for its paths"),
    }
}

async fn wrong_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path is not asked that way")
}

/// Counts by route, never by what a stranger typed.
async fn counted(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path =
        request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    if request.extensions().get::<Visitor>().is_none() {
        // Nobody gets here without a handshake.
        return Refusal::unauthorized("certificate_required", "no handshake").into_response();
    }
    let response = next.run(request).await;
    shared.metrics.answered(&path, response.status().as_u16());
    response
}
