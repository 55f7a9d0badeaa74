//! A client that lists the tools, calls one that it may and one that it may not, and prints what came back.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, model::JsonObject};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(crate) struct ClientArguments {
    /// The server's URL
    #[arg(long, conflicts_with = "command")]
    url: Option<String>,
    /// The folder with tls.key, tls.crt and ca.crt
    #[arg(long)]
    identity: Option<PathBuf>,
    /// Speak 2026-07-28, not 2025-11-25
    #[arg(long)]
    modern: bool,
    /// A tool that answers
    #[arg(long)]
    allow: String,
    /// The arguments of the first tool
    #[arg(long, default_value = "{}")]
    arguments: String,
    /// A tool that is denied
    #[arg(long)]
    deny: String,
    /// A stdio server to start instead
    #[arg(last = true)]
    command: Vec<String>,
}

type Session = RunningService<RoleClient, ClientConfig>;

pub(crate) async fn run(arguments: ClientArguments) -> Result<()> {
    let session = open(&arguments).await?;
    let era = session.peer_info().map(|info| info.protocol_version.to_string());
    let tools = session.list_all_tools().await?;
    let given: JsonObject = serde_json::from_str(&arguments.arguments)?;
    let allowed = call(&session, &arguments.allow, given).await;
    let denied = call(&session, &arguments.deny, JsonObject::new()).await;
    let names: Vec<_> = tools.iter().map(|tool| &tool.name).collect();
    println!("{}", json!({ "era": era, "tools": names, "allowed": told(allowed), "denied": told(denied) }));
    session.cancel().await.ok();
    Ok(())
}

async fn call(session: &Session, tool: &str, arguments: JsonObject) -> Result<CallToolResult, ServiceError> {
    let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    session.call_tool(request).await
}

/// What the SDK hands its caller, as JSON.
fn told(outcome: Result<CallToolResult, ServiceError>) -> Value {
    match outcome {
        Ok(result) => json!({ "result": result }),
        Err(ServiceError::McpError(error)) => {
            json!({ "code": error.code.0, "message": error.message })
        }
        Err(other) => json!({ "message": other.to_string() }),
    }
}

async fn open(arguments: &ClientArguments) -> Result<Session> {
    let lifecycle = if arguments.modern {
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
    } else {
        ClientLifecycleMode::Initialize
    };
    let client = ClientConfig::default();
    if let Some((program, rest)) = arguments.command.split_first() {
        let mut child = tokio::process::Command::new(program)
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        let input = child.stdin.take().context("stdin is piped")?;
        let output = child.stdout.take().context("stdout is piped")?;
        return Ok(client.serve_with_lifecycle((output, input), lifecycle).await?);
    }
    let url = arguments.url.clone().context("--url or a command")?;
    let http = http(arguments.identity.as_deref())?;
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let transport = StreamableHttpClientTransport::with_client(http, config);
    Ok(client.serve_with_lifecycle(transport, lifecycle).await?)
}

/// An HTTP client that presents a certificate and trusts one authority alone.
fn http(identity: Option<&Path>) -> Result<reqwest::Client> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut roots = rustls::RootCertStore::empty();
    let config = match identity {
        None => versions.with_root_certificates(roots).with_no_client_auth(),
        Some(folder) => {
            for root in CertificateDer::pem_file_iter(folder.join("ca.crt"))? {
                roots.add(root?)?;
            }
            let chain = CertificateDer::pem_file_iter(folder.join("tls.crt"))?;
            let chain = chain.collect::<Result<Vec<_>, _>>()?;
            let key = PrivateKeyDer::from_pem_file(folder.join("tls.key"))?;
            versions.with_root_certificates(roots).with_client_auth_cert(chain, key)?
        }
    };
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config).build()?)
}
