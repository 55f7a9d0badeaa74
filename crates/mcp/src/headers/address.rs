//! `Host` and `Origin`: whom a request was meant for, and which page made it.

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

use super::single;
use crate::Hosts;
use crate::refusal::{Refusal, code};

/// Refuses a request that is not addressed to one of our names: the way of DNS rebinding.
pub(crate) fn verify_host(parts: &Parts, hosts: &dyn Hosts) -> Result<(), Refusal> {
    let header = single(&parts.headers, &HOST)?;
    let target = parts.uri.authority().map(Authority::as_str);
    let named = match (target, header) {
        (Some(target), Some(header)) if !target.eq_ignore_ascii_case(header) => {
            return Err(Refusal::invalid("Host differs from the request's target"));
        }
        (Some(named), _) | (None, Some(named)) => named,
        (None, None) => return Err(Refusal::invalid("Host is missing")),
    };
    let authority: Authority = named.parse().map_err(|_| Refusal::invalid("Host is not a host"))?;
    if named.contains('@') {
        return Err(Refusal::invalid("Host is not a host"));
    }
    let host = authority.host().trim_matches(['[', ']']);
    let named = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => hosts.names(&host.to_ascii_lowercase()),
        false => hosts.names(host),
    };
    if named {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        code::INVALID_REQUEST,
        "this Host is not served here; the server's certificate or its allowed hosts must name it",
    ))
}

/// > Servers MUST validate the `Origin` header. If present and invalid: 403.
pub(crate) fn verify_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    match single(headers, &ORIGIN)? {
        None => Ok(()),
        Some(origin) if allowed.iter().any(|other| other.eq_ignore_ascii_case(origin)) => Ok(()),
        Some(_) => Err(Refusal::new(StatusCode::FORBIDDEN, code::INVALID_REQUEST, "this Origin is not allowed")),
    }
}
