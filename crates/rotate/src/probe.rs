//! Looking at what the consumer serves.

use countermark_identity::{Leaf, Serial};
use countermark_mtls::{ClientConfig, danger_served_certificate};

use crate::config::ProbeEntry;

/// The serial that is served. Nothing is believed of whoever serves it: it is only compared.
pub(crate) async fn served(probe: &ProbeEntry) -> Result<Serial, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", probe.address);
    let host = probe.address.rsplit_once(':').map_or(probe.address.as_str(), |(host, _)| host);
    let name = probe.server_name.as_deref().unwrap_or(host);
    let half = probe.timeout / 2;
    let config =
        ClientConfig { connect_timeout: half, handshake_timeout: half, tls12: true, ..ClientConfig::default() };
    let served = danger_served_certificate(&probe.address, name, &config).await.map_err(|error| failed(&error))?;
    match Leaf::parse(&served) {
        Ok(leaf) => Ok(leaf.serial().clone()),
        // A consumer may serve something that could never be an identity: its serial is enough to tell that it is another.
        Err(_) => serial(&served).ok_or_else(|| failed(&"it serves something that is no certificate")),
    }
}

fn serial(der: &[u8]) -> Option<Serial> {
    use x509_parser::prelude::FromDer as _;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    Serial::from_der_integer(certificate.raw_serial()).ok()
}
