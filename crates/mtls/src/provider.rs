use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};

/// The cryptography of every connection: aws-lc-rs with X25519MLKEM768 first.
///
/// Passed to each configuration as an argument and never installed for the process. The order of
/// the key exchange groups is written here and not left to a cargo feature of another crate.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::provider;

    #[test]
    fn the_post_quantum_hybrid_is_offered_first() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
