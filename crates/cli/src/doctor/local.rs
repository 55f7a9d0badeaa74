//! What can be seen without the network: the identity directory.

use std::{path::Path, sync::Arc};

use countermark_credential::{Credential, Trust, directory};
use countermark_identity::{Identity, Leaf, TrustDomain, UnixTime, Usage};

use super::Chart;
use crate::{failure::Outcome, inspect::span, material};

/// The caller, as far as it could be made out.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) credential: Arc<Credential>,
    pub(super) trust_domain: TrustDomain,
    /// None where the trust material is broken.
    pub(super) trust: Option<Arc<Trust>>,
}

/// Examines the directory; without a usable credential there is nobody to speak for.
pub(super) fn examine(chart: &mut Chart, dir: &Path, now: UnixTime) -> Outcome<Option<Own>> {
    let held = match directory::read(dir) {
        Ok(held) => held,
        Err(error) => {
            let remedy = format!("countermark mint agent NAME --ca CA --out {}", dir.display());
            chart.failed("identity", error.to_string(), remedy)?;
            return Ok(None);
        }
    };
    let leaf = held.credential.leaf();
    let Some(own) = material::own_domain(&held.credential) else {
        chart.failed(
            "identity",
            "the certificate has no spiffe:// identity",
            "mint one, or name the server by its full SPIFFE ID",
        )?;
        return Ok(None);
    };
    identity(chart, &held.credential)?;
    life(chart, leaf, dir, now)?;
    let trust = trust(chart, dir, &held.credential, &own, now)?;
    Ok(Some(Own { credential: held.credential, trust_domain: own, trust }))
}

fn identity(chart: &mut Chart, credential: &Credential) -> Outcome<()> {
    let Some(id) = credential.spiffe_id() else { return Ok(()) };
    match Identity::try_from(id.clone()) {
        Ok(Identity::Agent(agent)) if agent.is_sub_agent() => chart.failed(
            "identity",
            format!("{id} is a sub-agent; guards do not accept them yet"),
            "call as the agent itself",
        ),
        Ok(Identity::Agent(_)) => chart.passed("identity", id.to_string()),
        Ok(other) => chart.failed(
            "identity",
            format!("{id} is of role {}; only agents call", other.role()),
            "use the identity directory of an agent",
        ),
        Err(error) => {
            chart.warned("identity", format!("{id}: {error}"), "the server's policy must map it: [map] in policy.toml")
        }
    }
}

fn life(chart: &mut Chart, leaf: &Leaf, dir: &Path, now: UnixTime) -> Outcome<()> {
    let mint = format!("countermark mint agent NAME --ca CA --out {}", dir.display());
    if now < leaf.not_before() {
        let ahead = leaf.not_before().duration_since(now).as_secs();
        return chart.failed(
            "expiry",
            format!("not valid before {}, {} from now", leaf.not_before(), span(ahead)),
            "this machine's clock is probably behind: timedatectl, chronyc tracking",
        );
    }
    if now > leaf.not_after() {
        let ago = now.duration_since(leaf.not_after()).as_secs();
        return chart.failed("expiry", format!("expired on {}, {} ago", leaf.not_after(), span(ago)), mint);
    }
    let left = leaf.not_after().duration_since(now);
    let life = leaf.not_after().duration_since(leaf.not_before());
    let finding = format!("{} left, until {}", span(left.as_secs()), leaf.not_after());
    if left * 10 < life { chart.warned("expiry", finding, mint) } else { chart.passed("expiry", finding) }
}

fn trust(
    chart: &mut Chart,
    dir: &Path,
    credential: &Credential,
    own: &TrustDomain,
    now: UnixTime,
) -> Outcome<Option<Arc<Trust>>> {
    let material = match directory::load_trust(dir) {
        Ok(material) => material,
        Err(error) => {
            chart.failed(
                "trust",
                error.to_string(),
                "mint into the directory again: it delivers bundle and CRLs, too",
            )?;
            return Ok(None);
        }
    };
    let trust = match material::trust(&material) {
        Ok(trust) => Arc::new(trust),
        Err(error) => {
            chart.failed(
                "trust",
                error.to_string(),
                "mint into the directory again: it delivers bundle and CRLs, too",
            )?;
            return Ok(None);
        }
    };
    let names: Vec<_> = material.bundles.iter().map(|bundle| bundle.trust_domain().to_string()).collect();
    chart.passed("trust", format!("roots of {}", names.join(", ")))?;
    crls(chart, &trust, own, now)?;
    match material::verify(&trust, own, credential.chain(), Usage::Client, now) {
        Ok(_) => chart.passed("own chain", "verifies under the roots of its trust domain")?,
        Err(error) => chart.failed(
            "own chain",
            error,
            "mint into the directory again; if it was revoked, ask who runs the authority",
        )?,
    }
    Ok(Some(trust))
}

fn crls(chart: &mut Chart, trust: &Trust, own: &TrustDomain, now: UnixTime) -> Outcome<()> {
    let crls = trust.crls(own);
    let stale = crls.iter().find(|crl| now > crl.next_update());
    match (crls.len(), stale) {
        (0, _) => {
            chart.failed("CRL", format!("there is no CRL of {own}"), "countermark ca crl --ca CA, and deliver it")
        }
        (_, Some(crl)) => chart.failed(
            "CRL",
            format!("the CRL of {} was due on {}", crl.issuer(), crl.next_update()),
            "countermark ca crl --ca CA, and deliver it (mint into the directory again)",
        ),
        (count, None) => chart.passed("CRL", format!("{count} of {own}, all fresh")),
    }
}
