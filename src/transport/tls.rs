//! TLS 1.3 as Godwit speaks it.

use super::certificate::Certificate;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::{
    NamedGroup, ServerConfig,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, Ticketer, kx_group},
    },
    server::NoServerSessionStorage,
    sign::SingleCertAndKey,
    version::TLS13,
};
use std::sync::Arc;
use thiserror::Error;

/// The TLS side of every endpoint: one configuration, so that a session ticket of one core is good on all.
///
/// Tickets are stateless and their keys live in memory, so a restart costs each client one full handshake. There is no
/// 0-RTT: rustls offers it or stateless tickets, not both, and 0-RTT data can be replayed.
pub(super) fn server_config(certificate: &Certificate) -> Result<Arc<QuicServerConfig>, TlsError> {
    let provider = Arc::new(provider());
    warm(&provider, certificate)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.certified_key.clone())));
    config.alpn_protocols = vec![godwit_proto::ALPN.to_vec()];
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map(Arc::new).map_err(|_| TlsError::NoInitialSuite)
}

/// aws-lc-rs with the key exchanges named, best first: quinn takes rustls without its default features, so what rustls
/// would prefer depends on features that any crate in the build may switch.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Uses every primitive of a handshake once: the first use in a process takes some 100 ms, which would stall a core's
/// thread and all its connections.
fn warm(provider: &CryptoProvider, certificate: &Certificate) -> Result<(), TlsError> {
    for group in &provider.kx_groups {
        let client = group.start()?;
        group.start_and_complete(client.pub_key())?;
    }
    let key = &certificate.certified_key.key;
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let signer = key.choose_scheme(&schemes).ok_or(TlsError::UnusableKey)?;
    signer.sign(b"warm")?;
    debug_assert_eq!(provider.kx_groups.first().map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
    Ok(())
}

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// rustls refused the configuration or the system gave no random numbers.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// The provider lacks TLS13_AES_128_GCM_SHA256, which QUIC needs for its first packets.
    #[error("the TLS provider lacks the cipher suite of QUIC's first packets")]
    NoInitialSuite,
    /// TLS 1.3 has no signature scheme for this kind of key. Use ECDSA P-256, Ed25519 or RSA.
    #[error("TLS 1.3 cannot sign with this certificate's key")]
    UnusableKey,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_post_quantum_key_exchange_is_preferred() {
        let names: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(names, [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1]);
    }

    #[test]
    fn a_self_signed_certificate_makes_a_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = Certificate::self_signed_in(directory.path(), &[]).unwrap();
        assert!(server_config(&certificate).is_ok());
    }
}
