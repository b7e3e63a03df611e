//! TLS to the cluster.

use super::{error::OpenError, options::TlsOptions};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{fs, path::Path, sync::Arc};

/// What the driver opens its connections with.
pub(super) fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, OpenError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&options.ca_file, CA)? {
        roots.add(certificate).map_err(|error| wrong(&options.ca_file, CA, &error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&options.ca_file, CA, &error))?
        .with_root_certificates(roots);
    let Some((cert_file, key_file)) = &options.identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = certificates(cert_file, CERTIFICATE)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key_file, KEY)?).map_err(|error| wrong(key_file, KEY, &error))?;
    let config = builder.with_client_auth_cert(chain, key).map_err(|error| wrong(cert_file, CERTIFICATE, &error))?;
    Ok(Arc::new(config))
}

const CA: &str = "the certificates of who signs the nodes' certificates";
const CERTIFICATE: &str = "this server's certificate, of the key in scylla.key_file,";
const KEY: &str = "this server's private key";

fn certificates(path: &Path, expected: &'static str) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let pem = read(path, expected)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(path, expected, &"it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(path, expected, &error)),
    }
}

fn read(path: &Path, expected: &'static str) -> Result<Vec<u8>, OpenError> {
    fs::read(path).map_err(|error| wrong(path, expected, &error))
}

fn wrong(path: &Path, expected: &'static str, reason: &dyn std::fmt::Display) -> OpenError {
    OpenError::TlsFile { path: path.to_owned(), reason: reason.to_string(), expected }
}
