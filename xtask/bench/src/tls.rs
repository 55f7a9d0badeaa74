//! rustls for both sides, from an identity directory.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use countermark_identity::{Clock as _, Role, SpiffeId, SystemClock};
use countermark_issue::{KeyPair, KeyType, LeafRequest, Profile, Signer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

fn read(folder: &Path) -> Result<Identity> {
    let chain = CertificateDer::pem_file_iter(folder.join("tls.crt"))?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(folder.join("ca.crt"))? {
        roots.add(root?)?;
    }
    Ok(Identity {
        chain: chain.collect::<Result<_, _>>()?,
        key: PrivateKeyDer::from_pem_file(folder.join("tls.key"))?,
        roots: Arc::new(roots),
    })
}

pub(crate) fn server(folder: &Path) -> Result<Arc<ServerConfig>> {
    let identity = read(folder)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots, provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(identity.chain, identity.key)?;
    Ok(Arc::new(config))
}

/// The load offers one group, so that every server does the same work in a handshake.
pub(crate) fn client(folder: &Path, resume: bool) -> Result<Arc<ClientConfig>> {
    of(read(folder)?, resume)
}

/// Agents of the authority in `authority` that no server has seen, signed here and now: what is measured is who meets them.
/// They believe whom the agent in `folder` believes.
pub(crate) fn strangers(folder: &Path, authority: &Path, count: usize) -> Result<Vec<Arc<ClientConfig>>> {
    let certificate = CertificateDer::from_pem_file(authority.join("intermediate.crt"))?;
    let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_file(authority.join("intermediate.key"))? else {
        bail!("the authority's key is not PKCS#8");
    };
    let signer = Signer::new(certificate, KeyPair::from_pkcs8(key.secret_pkcs8_der())?)?;
    let profile = Profile::embedded(Role::Agent)?;
    let (roots, now) = (read(folder)?.roots, SystemClock.now());
    let stranger = |number| {
        let key = KeyPair::generate(KeyType::P256)?;
        let identity = SpiffeId::new(&"agents.internal".parse()?, Role::Agent, &format!("stranger-{number}"))?;
        let request = LeafRequest { identity: &identity, public_key: key.public_key(), ttl: None, dns: &[], ip: &[] };
        let leaf = signer.sign(&signer.plan(&profile, &request, now)?)?;
        let key = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()).into();
        of(Identity { chain: vec![leaf, signer.certificate().clone()], key, roots: Arc::clone(&roots) }, false)
    };
    (0..count).map(stranger).collect()
}

fn of(identity: Identity, resume: bool) -> Result<Arc<ClientConfig>> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(identity.roots)
        .with_client_auth_cert(identity.chain, identity.key)?;
    if !resume {
        config.resumption = rustls::client::Resumption::disabled();
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
