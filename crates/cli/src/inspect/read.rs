//! Files, directories and live servers, read into one report.

use std::{fmt::Display, path::Path};

use countermark_credential::{
    Bundle, Credential, Crl,
    directory::{self, LoadedTrust},
};
use countermark_identity::{UnixTime, Usage};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{PemObject, SectionKind},
};
use serde::Serialize;

use super::facts::CertificateFacts;
use crate::{
    failure::{Explain, Outcome, failed},
    material, peek,
    progress::Progress,
};

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<String>,
    /// Whether there is a private key, and whose it is
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'static str>,
    pub(super) certificates: Vec<CertificateFacts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) bundles: Vec<BundleFacts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) crls: Vec<CrlFacts>,
    pub(super) problems: Vec<String>,
}

/// The roots of a trust domain.
#[derive(Debug, Serialize)]
pub(super) struct BundleFacts {
    pub(super) trust_domain: String,
    pub(super) sequence: Option<u64>,
    pub(super) roots: Vec<CertificateFacts>,
}

/// A revocation list.
#[derive(Debug, Serialize)]
pub(super) struct CrlFacts {
    pub(super) issuer: String,
    pub(super) number: String,
    pub(super) this_update: String,
    pub(super) next_update: String,
    pub(super) stale: bool,
    pub(super) revoked: usize,
}

impl Report {
    /// Nothing is wrong with any of it.
    pub(super) fn sound(&self) -> bool {
        self.problems.is_empty()
            && self.certificates.iter().all(|certificate| certificate.problems.is_empty())
            && self.crls.iter().all(|crl| !crl.stale)
    }

    fn certificate(&mut self, der: &[u8], now: UnixTime) {
        match CertificateFacts::read(der, now) {
            Ok(facts) => self.certificates.push(facts),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn crl(&mut self, crl: &Crl, now: UnixTime) {
        let stale = now > crl.next_update();
        if stale {
            self.problems.push(format!(
                "the CRL of {} is past its nextUpdate: `countermark ca crl` signs a new one",
                crl.issuer()
            ));
        }
        self.crls.push(CrlFacts {
            issuer: crl.issuer().to_owned(),
            number: crl.number().map_or_else(|| "without a number".to_owned(), |number| number.to_string()),
            this_update: crl.this_update().to_string(),
            next_update: crl.next_update().to_string(),
            stale,
            revoked: crl.len(),
        });
    }

    fn bundle(&mut self, bundle: &Bundle, now: UnixTime) {
        self.bundles.push(BundleFacts {
            trust_domain: bundle.trust_domain().to_string(),
            sequence: bundle.sequence(),
            roots: bundle.roots().iter().filter_map(|root| CertificateFacts::read(root, now).ok()).collect(),
        });
    }

    /// Whether our own verifier accepts the directory's own certificate.
    fn verify(&mut self, credential: &Credential, material: &LoadedTrust, now: UnixTime) {
        let Some(own) = material::own_domain(credential) else { return };
        let verified = material::trust(material)
            .map_err(|error| error.to_string())
            .and_then(|trust| material::verify(&trust, &own, credential.chain(), Usage::Client, now));
        if let Err(problem) = verified {
            self.problem(problem);
        }
    }

    fn problem(&mut self, problem: impl Display) {
        self.problems.push(problem.to_string());
    }
}

/// Certificates, a key or CRLs in PEM, or one of them in DER.
pub(super) fn file(path: &Path, now: UnixTime) -> Outcome<Report> {
    let bytes = std::fs::read(path).or_failed(
        format!("cannot read {}", path.display()),
        "check the path and its mode; key files are readable by their owner alone",
    )?;
    let mut report = Report::default();
    if bytes.first() == Some(&0x30) {
        match Crl::from_der(&bytes) {
            Ok(crl) => report.crl(&crl, now),
            Err(_) => report.certificate(&bytes, now),
        }
    } else {
        pem(&mut report, &bytes, now);
    }
    if report.certificates.is_empty() && report.crls.is_empty() && report.key.is_none() {
        let cause = report.problems.first().map_or("it holds no certificate, key or CRL", String::as_str);
        return Err(failed(format!("{}: {cause}", path.display()), "inspect reads PEM and DER"));
    }
    Ok(report)
}

fn pem(report: &mut Report, bytes: &[u8], now: UnixTime) {
    let (mut chain, mut keys) = (Vec::new(), Vec::new());
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        match section {
            Ok((SectionKind::Certificate, der)) => {
                report.certificate(&der, now);
                chain.push(CertificateDer::from(der));
            }
            Ok((SectionKind::Crl, der)) => match Crl::from_der(&der) {
                Ok(crl) => report.crl(&crl, now),
                Err(error) => report.problem(error),
            },
            Ok((kind, der)) => keys.extend(PrivateKeyDer::from_pem(kind, der)),
            Err(error) => report.problem(format!("half-written or not PEM: {error}")),
        }
    }
    if bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        report.key = Some("encrypted");
    }
    if let Some(key) = keys.pop() {
        report.key = Some(if chain.is_empty() { "present" } else { "belongs to the certificate" });
        let leaf = report.certificates.first().is_some_and(|first| !first.ca);
        if leaf && let Err(error) = Credential::new(chain, key) {
            report.key = Some("present");
            report.problem(error);
        }
    }
}

/// An identity directory or the directory of an authority.
pub(super) fn directory(path: &Path, now: UnixTime) -> Outcome<Report> {
    if path.join("root.crt").exists() {
        return authority(path, now);
    }
    let held = directory::read(path).or_failed(format!("{} is no usable identity directory", path.display()), "")?;
    let mut report = Report {
        generation: held.generation.map(|generation| generation.to_string()),
        key: Some("belongs to the certificate"),
        ..Report::default()
    };
    for der in held.credential.chain() {
        report.certificate(der, now);
    }
    match directory::load_trust(path) {
        Ok(material) => {
            material.bundles.iter().for_each(|bundle| report.bundle(bundle, now));
            material.crls.iter().flat_map(|domain| &domain.crls).for_each(|crl| report.crl(crl, now));
            report.verify(&held.credential, &material, now);
        }
        Err(error) => report.problem(error),
    }
    Ok(report)
}

/// The public files of an authority; its keys are not touched.
fn authority(path: &Path, now: UnixTime) -> Outcome<Report> {
    let mut report = Report::default();
    for name in ["root.crt", "intermediate.crt", "crl.pem"] {
        let part = file(&path.join(name), now)?;
        report.certificates.extend(part.certificates);
        report.crls.extend(part.crls);
        report.problems.extend(part.problems);
    }
    Ok(report)
}

/// What a server presents to anyone who asks.
pub(super) fn live(host: &str, port: u16, now: UnixTime) -> Outcome<Report> {
    let next = "check the name, the port, the firewall, and that the server speaks TLS there";
    let _progress = Progress::start(format!("looking at {host}:{port}"));
    let socket = peek::reach(host, port).or_failed(format!("cannot reach {host}:{port}"), next)?;
    let chain = peek::peek(host, socket).or_failed(format!("{host}:{port} presents no certificate"), next)?;
    let mut report = Report::default();
    for der in &chain {
        report.certificate(der, now);
    }
    Ok(report)
}

const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
