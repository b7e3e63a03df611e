//! Who the relay is.

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    version::TLS13,
};
use std::sync::Arc;

/// A certificate of the relay's own, made for one run. Clients are given it and trust nothing else.
pub struct Identity {
    key: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Identity {
    /// A new one.
    pub fn generate() -> anyhow::Result<Self> {
        Ok(Self { key: rcgen::generate_simple_self_signed([NAME.to_owned()])? })
    }

    /// What clients must be given.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.key.cert.der().clone()
    }

    /// TLS 1.3 with whatever application protocol a client names.
    pub fn server_config(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(self.key.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate()], key)?;
        Ok(Arc::new(config))
    }
}

/// TLS 1.3 to the relay with this certificate.
pub fn client_config(certificate: CertificateDer<'static>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The name in the certificate.
pub(super) fn server_name() -> anyhow::Result<ServerName<'static>> {
    Ok(ServerName::try_from(NAME)?)
}

const NAME: &str = "godwit-baseline";
