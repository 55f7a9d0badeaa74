//! The access token: where it comes from, whether it is had, and what it is bound to.

use std::sync::Arc;

use countermark_identity::SystemClock;
use countermark_oauth::{Bound, Challenge, Question, Registration, TokenError, Tokens};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Chart, DoctorArgs, local::Own};
use crate::failure::Outcome;

/// Asks for the token that a call would carry.
pub(super) async fn examine(
    chart: &mut Chart,
    args: &DoctorArgs,
    own: &Own,
    resource: &str,
) -> Outcome<Option<HeaderValue>> {
    let (Some(client), Some(issuer)) = (&args.client_id, &args.issuer) else { return Ok(None) };
    let roots = match args.client.roots(own.trust.as_deref().and_then(|trust| trust.bundle(&own.trust_domain))) {
        Ok(roots) => roots,
        Err(error) => {
            chart.failed("issuer", crate::failure::sentence(&error), "name its CA with --issuer-ca FILE")?;
            return Ok(None);
        }
    };
    let mut registration = Registration::new(issuer.clone(), client.clone(), roots);
    registration.authentication = args.client.authentication()?;
    registration.dpop = args.client.dpop;
    let tokens = match Tokens::new(Arc::new(registration), Arc::clone(&own.credential), Arc::new(SystemClock)) {
        Ok(tokens) => tokens,
        Err(error) => {
            chart.failed("issuer", error.to_string(), "name the authorization server's CA with --issuer-ca FILE")?;
            return Ok(None);
        }
    };
    match tokens.metadata().await {
        Ok(metadata) => chart.passed("issuer", format!("{} says where its endpoints are", metadata.issuer))?,
        Err(error) => {
            chart.failed(
                "issuer",
                error.to_string(),
                "compare --issuer, to the letter, with the server's; name its CA with --issuer-ca",
            )?;
            return Ok(None);
        }
    }
    let resource = args.resource.as_deref().unwrap_or(resource).trim_end_matches('/');
    ask(chart, &tokens, &Question::of(resource).with_scopes(args.scope.clone())).await
}

async fn ask(chart: &mut Chart, tokens: &Arc<Tokens>, question: &Question) -> Outcome<Option<HeaderValue>> {
    match tokens.token(question).await {
        Ok(token) => {
            chart.passed("token", format!("given for {question}, until {}", token.not_after()))?;
            match token.binding() {
                Bound::Certificate(_) => chart.passed("binding", "cnf.x5t#S256 is this certificate's")?,
                Bound::Key => {
                    chart.warned("binding", "bound by cnf.jkt, which guard does not verify", "leave out --dpop")?
                }
                Bound::Unknown => chart.warned(
                    "binding",
                    "the token is opaque, and its issuer does not tell this client what it is bound to",
                    "guard must ask the issuer: `introspection` in its tokens.toml",
                )?,
            }
            Ok(Some(token.header()))
        }
        Err(error @ TokenError::Misbound(_)) => {
            chart.failed(
                "binding",
                error.to_string(),
                "switch certificate-bound access tokens on for this client at the issuer",
            )?;
            Ok(None)
        }
        Err(error) => {
            chart.failed("token", error.to_string(), "see the authorization server's log for this client")?;
            Ok(None)
        }
    }
}

/// What guard says of the token, or of its absence; whether that was why it refused.
pub(super) fn explain(chart: &mut Chart, status: StatusCode, headers: &HeaderMap, carried: bool) -> Outcome<bool> {
    let Some(challenge) = Challenge::of(headers) else { return Ok(false) };
    match (status, challenge.error.as_deref()) {
        (StatusCode::UNAUTHORIZED, None) if !carried => {
            let place = challenge.resource_metadata.unwrap_or_default();
            chart.failed(
                "token",
                "the server requires an access token",
                format!("give --client-id ID and --issuer URL; {place} names the issuer"),
            )?;
        }
        (StatusCode::FORBIDDEN, Some("insufficient_scope")) => {
            let scopes = challenge.scope.unwrap_or_default();
            chart.denied(
                "scope",
                format!("the token lacks scopes: {scopes} are needed"),
                "give the client these scopes at the issuer",
            )?;
        }
        _ => {
            let why = challenge.description.unwrap_or_else(|| format!("HTTP {status}"));
            chart.failed("token", format!("guard refuses the token: {why}"), remedy(&why))?;
        }
    }
    Ok(true)
}

fn remedy(why: &str) -> &'static str {
    if why.contains("another certificate") {
        "nothing may stand between this agent and the token endpoint that presents another certificate"
    } else if why.contains("audience") {
        "have the issuer put that audience in, or start guard with --audience"
    } else if why.contains("[[client]]") {
        "start guard with --client CLIENT_ID=AGENT for the two"
    } else if why.contains("issuer") {
        "guard's --issuer must be equal to the token's, to the letter"
    } else if why.contains("another kind") {
        "for Keycloak start guard with --issuer-profile keycloak"
    } else {
        "guard's log has the whole reason"
    }
}
