//! `countermark inspect`: what a certificate, an identity directory or a live server says it is.

mod facts;
mod read;

use std::path::Path;

use clap::Args;
use countermark_identity::{Clock, SystemClock};

pub(crate) use self::facts::{CertificateFacts, span};
use self::read::{CrlFacts, Report};
use crate::{
    failure::{Exit, Outcome, failed},
    output::{self, BAD, BOLD, GOOD, JsonFlag, WARN, facts, line, styled},
};

/// Show what a certificate, an identity directory or a live server says it is
///
/// Exit code 0 when nothing is wrong with it, 1 when it breaks a rule or has expired.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  countermark inspect id/billing-bot\n  countermark inspect leaf.pem --json\n  countermark inspect ledger.internal:8443"
)]
pub(crate) struct InspectArgs {
    /// File (PEM or DER), identity directory, authority's directory, or HOST:PORT
    #[arg(value_name = "PATH|HOST:PORT")]
    target: String,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(args: &InspectArgs) -> Outcome<Exit> {
    let now = SystemClock.now();
    let path = Path::new(&args.target);
    let report = if path.is_dir() {
        read::directory(path, now)?
    } else if path.exists() {
        read::file(path, now)?
    } else if let Some((host, port)) = host_and_port(&args.target) {
        read::live(host, port, now)?
    } else {
        return Err(failed(
            format!("{} is neither a file, a directory nor HOST:PORT", args.target),
            "check the path; a live server is written ledger.internal:8443",
        ));
    };
    if args.json.json {
        output::json(&report)?
    } else {
        print(&report)?
    }
    Ok(if report.sound() { Exit::Done } else { Exit::Denied })
}

/// `host:port` or `[v6]:port`.
fn host_and_port(target: &str) -> Option<(&str, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty() && !host.contains('/')).then_some((host, port.parse().ok()?))
}

fn print(report: &Report) -> Outcome<()> {
    if let Some(generation) = &report.generation {
        line(format!("generation {generation}"))?;
    }
    if let Some(key) = &report.key {
        line(format!("private key: {key}"))?;
    }
    for (at, certificate) in report.certificates.iter().enumerate() {
        let title = match (at, certificate.ca) {
            (0, false) => "certificate",
            (_, true) => "CA certificate",
            (_, false) => "further certificate",
        };
        line(format!("{BOLD}{title}{BOLD:#}"))?;
        certificate_facts(certificate)?;
    }
    for bundle in &report.bundles {
        let sequence = bundle.sequence.map_or_else(String::new, |sequence| format!(", sequence {sequence}"));
        line(format!("{BOLD}trust bundle of {}{BOLD:#}{sequence}", bundle.trust_domain))?;
        for root in &bundle.roots {
            facts([
                ("root", root.subject.clone()),
                ("thumbprint", root.thumbprint.clone()),
                ("expires", root.not_after.clone()),
            ])?;
        }
    }
    for crl in &report.crls {
        line(format!("{BOLD}CRL {}{BOLD:#}", crl.number))?;
        crl_facts(crl)?;
    }
    for problem in &report.problems {
        line(styled(BAD, format!("problem: {problem}")))?;
    }
    if report.sound() {
        line(styled(GOOD, "nothing is wrong with it"))?;
    }
    Ok(())
}

fn certificate_facts(certificate: &CertificateFacts) -> Outcome<()> {
    let expires = format!("{} ({} left)", certificate.not_after, span(certificate.remaining));
    let expires = if certificate.remaining == 0 { styled(BAD, expires) } else { expires };
    if let Some(identity) = &certificate.identity {
        facts([("identity", identity.clone())])?;
    }
    facts([
        ("subject", certificate.subject.clone()),
        ("issuer", certificate.issuer.clone()),
        ("serial", certificate.serial.clone()),
        ("thumbprint", certificate.thumbprint.clone()),
        ("x5t#S256", certificate.x5t_s256.clone()),
        ("valid from", certificate.not_before.clone()),
        ("expires", expires),
        ("key", certificate.key.clone()),
        ("names", certificate.names.join(" ")),
    ])?;
    if !certificate.usage.is_empty() {
        facts([("may be", certificate.usage.join(" and "))])?;
    }
    for warning in &certificate.warnings {
        facts([("warning", styled(WARN, warning))])?;
    }
    for problem in &certificate.problems {
        facts([("problem", styled(BAD, problem))])?;
    }
    Ok(())
}

fn crl_facts(crl: &CrlFacts) -> Outcome<()> {
    let next = if crl.stale { styled(WARN, format!("{} (past)", crl.next_update)) } else { crl.next_update.clone() };
    facts([
        ("issuer", crl.issuer.clone()),
        ("signed", crl.this_update.clone()),
        ("next", next),
        ("revoked", crl.revoked.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        assert_eq!(host_and_port("ledger:8443"), Some(("ledger", 8443)));
        assert_eq!(host_and_port("[::1]:1"), Some(("::1", 1)));
        assert_eq!(host_and_port("ledger"), None);
        assert_eq!(host_and_port("a/b:1"), None);
        assert_eq!(host_and_port(":1"), None);
    }
}
