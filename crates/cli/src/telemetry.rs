//! Traces of what serves, in OpenTelemetry's words, when `OTEL_EXPORTER_OTLP_ENDPOINT` says where they go.
//!
//! What is told is what stands in a span of the target [`TARGET`], and nothing else: no line of the log, no header, no body.

mod sender;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};

use self::sender::Sender;
use crate::failure::{Explain, Outcome, usage};

/// The target of the spans that are told.
pub(crate) const TARGET: &str = "countermark_trace";

/// Where spans go until this is dropped; then the last of them are sent.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer("countermark")
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is gone must not keep the process.
        if let Err(error) = self.0.shutdown_with_timeout(FAREWELL) {
            tracing::debug!(%error, "the last spans may not have arrived");
        }
    }
}

/// The traces of this service, if the environment asks for them.
pub(crate) fn configured(service: &'static str) -> Outcome<Option<Traces>> {
    let set = |name: &str| std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty());
    let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    let whole = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = set("OTEL_EXPORTER_OTLP_ENDPOINT");
    let Some(url) = whole.or_else(|| Some(format!("{}/v1/traces", base?.trim_end_matches('/')))).filter(|_| !off)
    else {
        return Ok(None);
    };
    let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(other) = protocol.filter(|protocol| protocol != PROTOCOL) {
        return Err(usage(
            format!("OTEL_EXPORTER_OTLP_PROTOCOL is `{other}`, which is not spoken here"),
            format!("set it to {PROTOCOL}, and the endpoint to a collector's port for that: 4318 as a rule"),
        ));
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender::new(&url)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .build()
        .or_failed("traces cannot be told", "check the OTEL_EXPORTER_OTLP_… variables")?;
    let resource = Resource::builder();
    let resource = match set("OTEL_SERVICE_NAME") {
        Some(_) => resource,
        None => resource.with_service_name(service),
    };
    Ok(Some(Traces(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())))
}

const PROTOCOL: &str = "http/protobuf";
const FAREWELL: Duration = Duration::from_secs(3);
