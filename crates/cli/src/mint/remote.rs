//! Minting by an authority that serves elsewhere: the key is made here and never leaves.

use std::sync::Arc;

use countermark_credential::{Credential, Crl, directory::DomainCrls};
use countermark_identity::{Leaf, SpiffeId};
use countermark_issue::{KeyPair, to_pem};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use super::{MintArgs, Minted, What};
use crate::{
    failure::{Explain, Outcome, failed, usage},
    issuing::{self, Material},
    remote::Remote,
    runtime,
};

pub(super) fn mint(args: &MintArgs, remote: &Remote) -> Outcome<Minted> {
    let identity = super::identity(args, remote.trust_domain())?;
    let what = if args.csr.is_some() { What::Chain } else { What::Generation };
    super::out::require_receptive(&args.out, &identity, what)?;
    if what == What::Generation {
        issuing::require_partners(&args.out, remote.trust_domain())?;
    }
    let (key, csr) = match &args.csr {
        Some(file) => (None, request(file)?),
        None => {
            let key = KeyPair::generate(args.key_type.unwrap_or_default()).or_failed("cannot make a key", "")?;
            let csr = to_pem("CERTIFICATE REQUEST", &key.request().or_failed("cannot make a request", "")?);
            (Some(key), csr)
        }
    };
    let (chain, material) = runtime::short(async {
        let what = format!("cannot mint {identity}");
        let answer = remote.post("/v1/certificates", &body(args, &csr)?, &what).await?;
        Ok((chain(&answer, &identity)?, material(remote, &what).await?))
    })?;
    deliver(args, &identity, chain, key, &material)
}

fn request(file: &std::path::Path) -> Outcome<String> {
    let next = "make one with `openssl req -new -key KEY`";
    let request = std::fs::read(file).or_failed(format!("cannot read the request {}", file.display()), next)?;
    if request.first() == Some(&0x30) {
        return Ok(to_pem("CERTIFICATE REQUEST", &request));
    }
    String::from_utf8(request).or_failed(format!("{} is neither PEM nor DER", file.display()), next)
}

fn body(args: &MintArgs, csr: &str) -> Outcome<Value> {
    let profile = match args.profile.as_deref().map(std::path::Path::to_str) {
        None => None,
        Some(Some(name)) if !name.contains('/') => Some(name.to_owned()),
        Some(_) => {
            return Err(usage(
                "with --ca URL, --profile is a name",
                "write the name of a file in the authority's profiles/, without .toml",
            ));
        }
    };
    let role: countermark_identity::Role = args.role.into();
    Ok(json!({
        "role": role.as_str(), "name": args.name, "profile": profile, "dns": args.dns, "ip": args.ip,
        "ttl": args.ttl.map(|ttl| format!("{}s", ttl.as_secs())), "csr": csr,
    }))
}

/// The chain that was answered, which must be for whom it was asked.
fn chain(answer: &Value, identity: &SpiffeId) -> Outcome<Vec<CertificateDer<'static>>> {
    let next = "check that the authority and this program are of one version";
    let pems: Vec<&str> =
        answer.get("chain").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let chain: Vec<CertificateDer<'static>> = pems
        .iter()
        .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()))
        .collect::<Result<_, _>>()
        .or_failed("the authority's answer holds no chain", next)?;
    let leaf = Leaf::parse(chain.first().map_or(&[][..], |leaf| leaf.as_ref()))
        .or_failed("the authority's answer holds no certificate", next)?;
    if leaf.spiffe_id() != Some(identity) {
        return Err(failed(format!("the authority answered with the certificate of another than {identity}"), next));
    }
    Ok(chain)
}

/// The asker's own roots, and the newest lists.
async fn material(remote: &Remote, what: &str) -> Outcome<Material> {
    let own = remote.trust_domain();
    let bundle = remote.trust().bundles.iter().find(|bundle| bundle.trust_domain() == own).cloned();
    let bundle = bundle.ok_or_else(|| failed(format!("the identity holds no roots of {own}"), "mint it again"))?;
    let pem = remote.raw("/v1/crl", what).await?;
    let crls = Crl::many_from_pem(&pem).or_failed("the authority's revocation lists cannot be read", "")?;
    Ok(Material {
        bundle,
        crls: DomainCrls { trust_domain: own.clone(), crls: crls.into_iter().map(Arc::new).collect() },
    })
}

fn deliver(
    args: &MintArgs,
    identity: &SpiffeId,
    chain: Vec<CertificateDer<'static>>,
    key: Option<KeyPair>,
    material: &Material,
) -> Outcome<Minted> {
    let leaf = Leaf::parse(chain.first().map_or(&[][..], |leaf| leaf.as_ref()))?;
    let generation = match key {
        Some(key) => {
            let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()));
            let credential = Credential::new(chain, private).or_failed("the certificate does not fit its key", "")?;
            Some(issuing::deliver_with(&args.out, Arc::new(credential), || Ok(material.clone()))?.to_string())
        }
        None => {
            super::write_chain(&args.out, &chain, material)?;
            None
        }
    };
    Ok(Minted {
        serial: leaf.serial().clone(),
        not_before: leaf.not_before(),
        not_after: leaf.not_after(),
        identity: identity.clone(),
        generation,
    })
}
