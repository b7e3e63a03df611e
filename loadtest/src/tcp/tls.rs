//! Who the relay is.

use anyhow::Context;
use godwit::transport::Certificate;
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer, version::TLS13};
use std::{fs, path::Path, sync::Arc};

/// A certificate of the relay's own, which clients pin by its fingerprint as they do Godwit's.
pub struct Identity {
    /// TLS 1.3 with whatever application protocol a client names.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

impl Identity {
    /// A new one, kept in a directory.
    pub fn generate_in(directory: &Path) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        for (path, pem) in [(&certificate, made.cert.pem()), (&key, made.signing_key.serialize_pem())] {
            fs::write(path, pem).with_context(|| format!("writing {}", path.display()))?;
        }
        let fingerprint = Certificate::from_files(&certificate, &key)?.fingerprint();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        Ok(Self { config: Arc::new(config), fingerprint })
    }
}
