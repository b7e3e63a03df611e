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

/// The TLS side of every endpoint.
pub(super) fn server_config(certificate: &Certificate) -> Result<Arc<QuicServerConfig>, TlsError> {
    QuicServerConfig::try_from(rustls_config(certificate)?).map(Arc::new).map_err(|_| TlsError::NoInitialSuite)
}

/// One configuration for all cores, so that a session ticket of one is good on all.
///
/// Tickets are stateless and their keys live in memory, so a restart costs each client one full handshake. There is no
/// 0-RTT: rustls offers it or stateless tickets, not both, and 0-RTT data can be replayed.
fn rustls_config(certificate: &Certificate) -> Result<ServerConfig, TlsError> {
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
    Ok(config)
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

    use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};

    fn self_signed() -> Certificate {
        let directory = tempfile::tempdir().unwrap();
        Certificate::self_signed_in(directory.path(), &["chat.example".to_owned()]).unwrap()
    }

    fn client_config(certificate: &Certificate) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.certified_key.cert[0].clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![godwit_proto::ALPN.to_vec()];
        Arc::new(config)
    }

    /// A whole handshake in memory, tickets included, as the client sees it.
    fn shake_hands(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &'static str) -> ClientConnection {
        let mut server = ServerConnection::new(server.clone()).unwrap();
        let mut client = ClientConnection::new(client.clone(), name.try_into().unwrap()).unwrap();
        while server.wants_write() || client.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut &bytes[..]).unwrap();
            server.process_new_packets().unwrap();
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        client
    }

    #[test]
    fn the_key_exchange_is_post_quantum() {
        let certificate = self_signed();
        let server = Arc::new(rustls_config(&certificate).unwrap());
        let client = shake_hands(&server, &client_config(&certificate), "localhost");
        let group = client.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        assert_eq!(client.alpn_protocol(), Some(godwit_proto::ALPN));
    }

    #[test]
    fn a_client_that_comes_back_resumes_without_the_server_remembering_it() {
        let certificate = self_signed();
        let server = Arc::new(rustls_config(&certificate).unwrap());
        let client = client_config(&certificate);
        assert_eq!(shake_hands(&server, &client, "localhost").handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(shake_hands(&server, &client, "localhost").handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(!server.session_storage.can_cache());
    }

    #[test]
    fn a_self_signed_certificate_is_valid_for_local_names_and_those_asked_for() {
        let certificate = self_signed();
        let server = Arc::new(rustls_config(&certificate).unwrap());
        for name in ["localhost", "127.0.0.1", "::1", "chat.example"] {
            shake_hands(&server, &client_config(&certificate), name);
        }
    }
}
