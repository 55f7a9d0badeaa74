//! What needs the network: the server, its certificate, and one real call.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countermark_identity::{Identity, ServerId, SystemClock, UnixTime, Usage};
use countermark_mtls::{Client, ClientConfig, ClientError, ExpectedServer, TrustGenerations};
use countermark_policy::Policy;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use rustls::{AlertDescription, pki_types::CertificateDer};
use serde_json::json;
use tokio::sync::watch;

use super::{Chart, DoctorArgs, local::Own, token};
use crate::{
    failure::{Outcome, sentence, usage},
    inspect::span,
    material, peek, rpc,
};

/// Where the call would go.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    host: String,
    port: u16,
}

impl Target {
    pub(super) fn parse(url: &str) -> Outcome<Self> {
        let next = "write https://HOST:PORT/mcp, as guard prints it at start";
        let uri: Uri = url.parse().map_err(|error| usage(format!("`{url}` is no URL: {error}"), next))?;
        if uri.scheme_str() != Some("https") {
            return Err(usage(format!("`{url}` is not https: a plain connection proves nobody's identity"), next));
        }
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| usage(format!("`{url}` names no host"), next))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { url: url.to_owned(), host, port: uri.port_u16().unwrap_or(443) })
    }
}

/// Reach, TLS, the server's certificate, and a real call; the server that answered.
pub(super) async fn examine(
    chart: &mut Chart,
    target: &Target,
    args: &DoctorArgs,
    own: Option<&Own>,
    now: UnixTime,
) -> Outcome<Option<ServerId>> {
    let at = format!("{}:{}", target.host, target.port);
    let socket = match peek::reach(&target.host, target.port) {
        Ok(socket) => socket,
        Err(error) => {
            chart.failed(
                "reach",
                format!("{at}: {error}"),
                "check the name, the port, the firewall, and that guard runs",
            )?;
            return Ok(None);
        }
    };
    chart.passed("reach", at.clone())?;
    let chain = match peek::peek(&target.host, socket) {
        Ok(chain) => chain,
        Err(error) => {
            chart.failed(
                "TLS",
                format!("{at}: {error}"),
                "is it guard's --listen port, and not the plain upstream or --admin?",
            )?;
            return Ok(None);
        }
    };
    chart.passed("TLS", format!("the server presents {} certificates", chain.len()))?;
    let Some((own, trust)) = own.and_then(|own| Some((own, own.trust.as_ref()?))) else {
        chart.skipped("server chain", "mend the identity directory first")?;
        return Ok(None);
    };
    let Some(server) = server(chart, target, args, own, &chain, now)? else { return Ok(None) };
    let expected = expected(args.server.as_deref())?;
    let generations = TrustGenerations::fixed(
        Arc::clone(trust),
        Arc::new(countermark_identity::SanMap::empty(own.trust_domain.clone())),
    );
    let (_keep, credential) = watch::channel(Arc::clone(&own.credential));
    match Client::new(credential, generations.watch(), expected, Arc::new(SystemClock), ClientConfig::default()) {
        Ok(client) => {
            let token = token::examine(chart, args, own, &target.url).await?;
            call(chart, &client, target, token, now).await?;
        }
        Err(error) => chart.failed("call", error.to_string(), "mint into the identity directory again")?,
    }
    Ok(Some(server))
}

/// The server's own certificate: chain, expiry, CRL, and whether it is the one that is meant.
fn server(
    chart: &mut Chart,
    target: &Target,
    args: &DoctorArgs,
    own: &Own,
    chain: &[CertificateDer<'static>],
    now: UnixTime,
) -> Outcome<Option<ServerId>> {
    let Some(trust) = &own.trust else { return Ok(None) };
    let leaf = match material::verify(trust, &own.trust_domain, chain, Usage::Server, now) {
        Ok(leaf) => leaf,
        Err(error) => {
            chart.failed(
                "server chain",
                error,
                "if it expired or was revoked, the server needs a new certificate (`countermark mint server`); \
                 if its authority is another one, deliver that trust domain's bundle",
            )?;
            return Ok(None);
        }
    };
    let left = leaf.not_after().duration_since(now).as_secs();
    chart.passed("server chain", format!("verifies; expires in {}", span(left)))?;
    let identity = leaf.spiffe_id().cloned().map(Identity::try_from);
    let Some(Ok(Identity::Server(server))) = identity else {
        let id = leaf.spiffe_id().map_or_else(|| "it has no SPIFFE ID".to_owned(), ToString::to_string);
        chart.failed(
            "server name",
            format!("{id}: not a /server/ identity"),
            "`countermark mint server NAME` for the guard there",
        )?;
        return Ok(None);
    };
    let meant = match args.server.as_deref() {
        Some(id) if id.starts_with("spiffe://") => server.spiffe_id().as_str() == id,
        Some(name) => server.name() == name && *server.trust_domain() == own.trust_domain,
        None => {
            let host = target.host.parse::<std::net::IpAddr>().map_or_else(
                |_| countermark_identity::San::Dns(target.host.to_lowercase()),
                countermark_identity::San::Ip,
            );
            leaf.sans().contains(&host) && *server.trust_domain() == own.trust_domain
        }
    };
    if meant {
        chart.passed("server name", server.spiffe_id().to_string())?;
        return Ok(Some(server));
    }
    let names: Vec<_> = leaf.sans().iter().map(ToString::to_string).collect();
    let finding = format!("another server answers: {} ({})", server.spiffe_id(), names.join(" "));
    let remedy = format!(
        "name it: --server {}; or mint its certificate with --dns {}",
        if *server.trust_domain() == own.trust_domain { server.name() } else { server.spiffe_id().as_str() },
        target.host
    );
    chart.failed("server name", finding, remedy)?;
    Ok(None)
}

fn expected(server: Option<&str>) -> Outcome<ExpectedServer> {
    Ok(match server {
        None => ExpectedServer::Host,
        Some(id) if id.starts_with("spiffe://") => ExpectedServer::Id(
            id.parse()
                .map_err(|error| usage(format!("--server {id}: {error}"), "write a name or spiffe://TD/server/NAME"))?,
        ),
        Some(name) => ExpectedServer::Name(name.to_owned()),
    })
}

/// A real `tools/list`: what guard says to this certificate.
async fn call(
    chart: &mut Chart,
    client: &Client,
    target: &Target,
    token: Option<HeaderValue>,
    now: UnixTime,
) -> Outcome<()> {
    let mut request = rpc::request(&target.url, 1, "tools/list", json!({}))?.map(|body| Full::new(Bytes::from(body)));
    let carried = token.is_some();
    if let Some(token) = token {
        request.headers_mut().insert(header::AUTHORIZATION, token);
    }
    let response = match tokio::time::timeout(Duration::from_secs(15), client.request(request)).await {
        Err(_) => return chart.failed("call", "no answer within 15 s", "look into guard's log: is its upstream up?"),
        Ok(Err(error)) => return refused(chart, error),
        Ok(Ok(response)) => response,
    };
    clock(chart, &response, now)?;
    let status = response.status();
    if token::explain(chart, status, response.headers(), carried)? {
        return Ok(());
    }
    let body = Limited::new(response.into_body(), 4 * 1024 * 1024)
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    match (status, rpc::answer(1, &body)) {
        (_, Some(rpc::Answer::Result(result))) => {
            let tools = rpc::tool_names(&result);
            chart.passed("call", format!("tools/list answers with {} tools: {}", tools.len(), tools.join(", ")))
        }
        (_, Some(rpc::Answer::Error { code, message, .. })) => {
            let remedy = "the agent needs a [[grant]] on this server in its policy";
            if code == -32602 || status == StatusCode::FORBIDDEN {
                chart.denied("call", message, remedy)
            } else {
                chart.failed("call", format!("{message} ({code})"), "look into guard's log and the server's")
            }
        }
        (StatusCode::NOT_FOUND, None) => {
            let hint = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
            chart.failed("call", format!("404: {}", hint.trim()), "use the URL that guard prints at start")
        }
        (status, None) => chart.failed(
            "call",
            format!("HTTP {status} without a JSON-RPC answer"),
            "look into guard's log: is its upstream up?",
        ),
    }
}

fn refused(chart: &mut Chart, error: ClientError) -> Outcome<()> {
    let remedy = match error.alert() {
        Some(AlertDescription::CertificateRevoked) => {
            "ask who runs the authority why (`countermark ca list`); minting again makes a certificate that is not revoked"
        }
        Some(AlertDescription::CertificateExpired) => {
            "mint again; if it has not expired here, one of the two clocks is wrong"
        }
        Some(AlertDescription::UnknownCA) => {
            "that server does not trust this identity's authority: deliver it the trust bundle (`countermark ca bundle`)"
        }
        Some(AlertDescription::CertificateRequired) => {
            "something between here and guard took the certificate away: no TLS-terminating proxy may stand there"
        }
        _ => {
            "guard's log says why: an unknown authority, a stale CRL on its side, a clock, or a role that may not call"
        }
    };
    chart.failed("call", sentence(&anyhow::Error::from(error)), remedy)
}

/// The server's clock, by the Date of its answer.
fn clock<B>(chart: &mut Chart, response: &Response<B>, now: UnixTime) -> Outcome<()> {
    let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    let date =
        date.and_then(|date| time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc2822).ok());
    let Some(theirs) = date.and_then(|date| u64::try_from(date.unix_timestamp()).ok()) else {
        return chart.skipped("clock", "the server's answer has no Date");
    };
    let apart = theirs.abs_diff(now.as_secs());
    if apart > 30 {
        let finding = format!("the server's clock is {} apart from this one", span(apart));
        return chart.warned(
            "clock",
            finding,
            "certificates live for an hour: set both by NTP (timedatectl, chronyc tracking)",
        );
    }
    chart.passed("clock", format!("{apart} s apart from the server's"))
}

/// What the policy file says, if there is one at hand.
pub(super) fn grant(chart: &mut Chart, args: &DoctorArgs, own: Option<&Own>, server: Option<&ServerId>) -> Outcome<()> {
    let Some(file) = &args.policy else {
        return chart.skipped("grant", "give --policy FILE to see what this agent may do there");
    };
    let policy = match crate::policy::read(file) {
        Ok(policy) => policy,
        Err(error) => {
            let remedy = format!("countermark policy check {}", file.display());
            return chart.failed("grant", sentence(&error), remedy);
        }
    };
    let agent = own.and_then(|own| own.credential.spiffe_id()).cloned().map(Identity::try_from);
    let (Some(Ok(Identity::Agent(agent))), Some(server)) = (agent, server) else {
        return chart.skipped("grant", "mend the steps before first");
    };
    granted(chart, &policy, &agent, server, file.display().to_string())
}

fn granted(
    chart: &mut Chart,
    policy: &Policy,
    agent: &countermark_identity::AgentId,
    server: &ServerId,
    file: String,
) -> Outcome<()> {
    if policy.could(agent, server) {
        chart.passed(
            "grant",
            format!(
                "{file} grants `{agent}` something on `{server}`: countermark policy can {agent} TOOL --policy {file}"
            ),
        )
    } else {
        chart.denied(
            "grant",
            format!("{file} grants `{agent}` nothing on `{server}`"),
            format!("add a [[grant]] with who = [\"{agent}\"] and servers = [\"{server}\"]"),
        )
    }
}
