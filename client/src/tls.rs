//! TLS 1.3 with `godwit/1`, and the check of the server's certificate.

use crate::{ConnectError, Trust};
use ::aws_lc_rs::digest::{SHA256, digest};
use godwit_proto::ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::{Arc, Mutex, PoisonError};

/// What every connection of one client uses.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) crypto: Arc<QuicClientConfig>,
    rejected: Rejected,
}

/// The fingerprint that was presented last instead of the pinned one. QUIC reports no more than "bad certificate".
type Rejected = Arc<Mutex<Option<[u8; 32]>>>;

impl Trust {
    /// The TLS side of a connection to such a server, for a client that is built on QUIC itself and not on this crate's
    /// [`Client`](crate::Client): TLS 1.3, ALPN `godwit/1`, this trust, no resumption.
    pub fn tls_config(&self) -> Result<rustls::ClientConfig, ConnectError> {
        rustls_config(self, &Rejected::default())
    }
}

impl Tls {
    pub(crate) fn new(trust: &Trust) -> Result<Self, ConnectError> {
        let rejected = Rejected::default();
        let crypto = QuicClientConfig::try_from(rustls_config(trust, &rejected)?)
            .map_err(|error| ConnectError::InvalidConfig(error.to_string()))?;
        Ok(Self { crypto: Arc::new(crypto), rejected })
    }

    /// The fingerprint that made the newest handshake fail, if that is why it did.
    pub(crate) fn take_rejected(&self) -> Option<[u8; 32]> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn rustls_config(trust: &Trust, rejected: &Rejected) -> Result<rustls::ClientConfig, ConnectError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Fingerprint(pinned) => {
            Arc::new(Pinned { pinned: *pinned, rejected: rejected.clone(), algorithms: signatures(&provider) })
        }
        Trust::Roots(roots) => WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| ConnectError::InvalidConfig(error.to_string()))?,
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ConnectError::InvalidConfig(error.to_string()))?
        // "Dangerous" is what rustls calls every verifier that it did not make. Ours trusts one certificate.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // The token in the first frame resumes the session. A store of TLS tickets per client would cost more memory than
    // the handshake that it saves once in a while is worth.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Accepts exactly one certificate, whatever it says about its name, dates and issuer.
#[derive(Debug)]
struct Pinned {
    pinned: [u8; 32],
    rejected: Rejected,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = [0; 32];
        seen.copy_from_slice(digest(&SHA256, end_entity).as_ref());
        if seen == self.pinned {
            return Ok(ServerCertVerified::assertion());
        }
        *self.rejected.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("QUIC has no TLS 1.2".into()))
    }

    /// Whoever presents the certificate must hold its key: anybody can copy a certificate.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn signatures(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}
