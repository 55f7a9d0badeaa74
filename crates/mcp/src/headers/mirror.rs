//! `MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*` against the body that they mirror.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{METHOD, NAME, PARAM_PREFIX, PROTOCOL_VERSION, decode, single};
use crate::method::{is_removed, mirrored_name, requires_name};
use crate::refusal::{Refusal, code};
use crate::{Era, Message, Params, ProtocolVersion, Reference};

/// The version that a message is spoken in, agreed on by header and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) version: ProtocolVersion,
}

impl Spoken {
    pub(crate) fn era(self) -> Era {
        self.version.era()
    }
}

/// What a request without `MCP-Protocol-Version` means.
///
/// > if the server does not receive an `MCP-Protocol-Version` header … the server SHOULD assume protocol version
/// > `2025-03-26`.
const ASSUMED: ProtocolVersion = ProtocolVersion::V2025_03_26;

/// Verifies every mirrored header against the body, in either era; a lie is refused even where the upstream would not
/// look, since something between may.
pub(crate) fn verify_mirrored(headers: &HeaderMap, message: &Message<'_>) -> Result<Spoken, Refusal> {
    let header = single(headers, &PROTOCOL_VERSION)?;
    let version = match message {
        Message::Request(request) if request.method == "initialize" => initialize(header, &request.params)?,
        Message::Request(request) => request_version(header, request.params.protocol_version.as_deref())?,
        Message::Notification(notification) => bare_version(header, notification.params.protocol_version.as_deref())?,
        Message::Response(_) => bare_version(header, None)?,
    };
    let spoken = Spoken { version };
    match message {
        Message::Request(request) if spoken.era() == Era::Modern && is_removed(&request.method) => {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                code::METHOD_NOT_FOUND,
                format!("`{}` is not a method of {}", request.method, version.as_str()),
            ));
        }
        Message::Request(request) => names(headers, spoken.era(), &request.method, &request.params, true)?,
        Message::Notification(notification) => {
            names(headers, spoken.era(), &notification.method, &notification.params, false)?;
        }
        Message::Response(_) => absent(headers, "a response", &[METHOD, NAME])?,
    }
    params(headers, spoken.era())?;
    Ok(spoken)
}

/// The version of a request without a body: GET and DELETE of the older era.
pub(crate) fn bodiless_version(headers: &HeaderMap) -> Result<Spoken, Refusal> {
    let version = bare_version(single(headers, &PROTOCOL_VERSION)?, None)?;
    Ok(Spoken { version })
}

/// `initialize` has its version in its parameters, and is of the older era whatever it offers to speak.
fn initialize(header: Option<&str>, params: &Params<'_>) -> Result<ProtocolVersion, Refusal> {
    if let Some(offered @ "2024-11-05") = params.offered_version.as_deref() {
        return Err(Refusal::version(offered, false));
    }
    bare_version(header, params.protocol_version.as_deref())
}

fn request_version(header: Option<&str>, body: Option<&str>) -> Result<ProtocolVersion, Refusal> {
    match bare_version(header, body)? {
        version if body.is_none() && version.era() == Era::Modern => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            code::INVALID_PARAMS,
            "a request of 2026-07-28 carries io.modelcontextprotocol/protocolVersion in _meta",
        )),
        version => Ok(version),
    }
}

fn bare_version(header: Option<&str>, body: Option<&str>) -> Result<ProtocolVersion, Refusal> {
    if body.is_some() && header != body {
        return Err(Refusal::mismatch(
            "MCP-Protocol-Version is missing or differs from io.modelcontextprotocol/protocolVersion in _meta",
        ));
    }
    header
        .map_or(Ok(ASSUMED), |text| ProtocolVersion::parse(text).ok_or_else(|| Refusal::version(text, body.is_some())))
}

fn names(headers: &HeaderMap, era: Era, method: &str, params: &Params<'_>, request: bool) -> Result<(), Refusal> {
    let required = era == Era::Modern && request;
    match mirrored(headers, &METHOD)? {
        Some(header) if header == method => {}
        Some(_) => {
            return Err(Refusal::mismatch("Mcp-Method differs from the body's method"));
        }
        None if required => return Err(Refusal::mismatch("Mcp-Method is missing")),
        None => {}
    }
    match (mirrored(headers, &NAME)?, mirrored_name(method, params)) {
        (Some(header), Some(name)) if header == name => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::mismatch("Mcp-Name differs from the body's name")),
        (Some(header), None) if any_name(params).any(|name| name == header) => Ok(()),
        (Some(_), None) => Err(Refusal::mismatch("Mcp-Name names something that the body does not")),
        (None, _) if required && requires_name(method) => Err(Refusal::mismatch("Mcp-Name is missing")),
        (None, _) => Ok(()),
    }
}

/// For methods whose name the specification does not mirror: any name that the body carries.
fn any_name<'p>(params: &'p Params<'_>) -> impl Iterator<Item = &'p str> {
    let referred = params.reference.as_ref().map(|reference| match reference {
        Reference::Prompt(name) | Reference::Resource(name) => name.as_ref(),
    });
    [&params.name, &params.uri, &params.task_id].into_iter().filter_map(|name| name.as_deref()).chain(referred)
}

/// `Mcp-Param-*` mirrors arguments by annotations of the tool's schema, which only the server knows and verifies. Here:
/// each stands once, decodes, and belongs to the era that has them.
fn params(headers: &HeaderMap, era: Era) -> Result<(), Refusal> {
    for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)) {
        if era == Era::Legacy {
            return Err(Refusal::mismatch(
                "Mcp-Param headers belong to 2026-07-28 and mean nothing in an older version",
            ));
        }
        mirrored(headers, name)?;
    }
    Ok(())
}

fn absent(headers: &HeaderMap, what: &str, names: &[HeaderName]) -> Result<(), Refusal> {
    match names.iter().find(|name| headers.contains_key(*name)) {
        Some(name) => Err(Refusal::mismatch(format!("{what} does not carry {name}"))),
        None => Ok(()),
    }
}

fn mirrored<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<Cow<'h, str>>, Refusal> {
    single(headers, name)?
        .map(|value| {
            decode(value).ok_or_else(|| Refusal::mismatch(format!("header {name} is not valid base64 of UTF-8")))
        })
        .transpose()
}
