//! The server's certificate: from files, or a self-signed one that clients pin by its fingerprint.

use super::{
    persist::{self, Readable},
    tls::provider,
};
use aws_lc_rs::digest;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;

/// A certificate chain with its private key.
#[derive(Clone)]
pub struct Certificate {
    pub(super) certified_key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads a PEM chain, end-entity certificate first, and its PEM private key (PKCS #8, PKCS #1 or SEC 1).
    pub fn from_files(certificate_pem: &Path, key_pem: &Path) -> Result<Self, CertificateError> {
        let chain = read(certificate_pem)?;
        let key = read(key_pem)?;
        Self::from_pem(certificate_pem, &chain, key_pem, &key)
    }

    /// The self-signed certificate of this data directory: made at first, valid for localhost, 127.0.0.1, ::1 and
    /// `extra_names` (DNS names or addresses), and kept. Later names do not change a certificate that is there, because
    /// clients have pinned it; delete both files to have another one made.
    pub fn self_signed_in(directory: &Path, extra_names: &[String]) -> Result<Self, CertificateError> {
        let certificate_path = directory.join(CERTIFICATE_FILE);
        let key_path = directory.join(KEY_FILE);
        // The certificate is written last: a key without one is what a crash in between leaves, and nobody has seen it.
        if !certificate_path.exists() {
            make_self_signed(&certificate_path, &key_path, extra_names)?;
        }
        Self::from_files(&certificate_path, &key_path)
    }

    /// SHA-256 of the end-entity certificate in DER, as 64 lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let der = self.certified_key.cert.first().map(AsRef::as_ref).unwrap_or_default();
        data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, der).as_ref())
    }

    fn from_pem(
        certificate_path: &Path,
        certificate_pem: &[u8],
        key_path: &Path,
        key_pem: &[u8],
    ) -> Result<Self, CertificateError> {
        let invalid = |path: &Path, reason: String| CertificateError::Invalid { path: path.to_owned(), reason };
        let chain = CertificateDer::pem_slice_iter(certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| invalid(certificate_path, error.to_string()))?;
        if chain.is_empty() {
            return Err(invalid(certificate_path, "it holds no certificate in PEM".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| invalid(key_path, error.to_string()))?;
        let certified_key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertificateError::KeyMismatch { certificate: certificate_path.to_owned(), key: key_path.to_owned() }
            }
            rustls::Error::InvalidCertificate(_) => invalid(certificate_path, error.to_string()),
            _ => invalid(key_path, error.to_string()),
        })?;
        Ok(Self { certified_key: Arc::new(certified_key) })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

const CERTIFICATE_FILE: &str = "tls-certificate.pem";
const KEY_FILE: &str = "tls-key.pem";
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What a certificate that is trusted by its fingerprint gains from expiring is one more outage.
const VALID_FROM: (i32, u8, u8) = (2020, 1, 1);
const VALID_UNTIL: (i32, u8, u8) = (2120, 1, 1);

fn make_self_signed(certificate: &Path, key: &Path, extra_names: &[String]) -> Result<(), CertificateError> {
    let mut names: Vec<String> = LOCAL_NAMES.map(str::to_owned).into();
    names.extend(extra_names.iter().filter(|name| !LOCAL_NAMES.contains(&name.as_str())).cloned());
    let signed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).and_then(|pair| {
        let mut params = rcgen::CertificateParams::new(names)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "godwit");
        params.not_before = rcgen::date_time_ymd(VALID_FROM.0, VALID_FROM.1, VALID_FROM.2);
        params.not_after = rcgen::date_time_ymd(VALID_UNTIL.0, VALID_UNTIL.1, VALID_UNTIL.2);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        Ok((params.self_signed(&pair)?.pem(), pair.serialize_pem()))
    });
    let (certificate_pem, key_pem) =
        signed.map_err(|error| CertificateError::SelfSign { reason: error.to_string() })?;
    let written = |path: &Path, result: io::Result<()>| {
        result.map_err(|source| CertificateError::Io { path: path.to_owned(), source })
    };
    written(key, persist::write(key, key_pem.as_bytes(), Readable::ByOwner))?;
    written(certificate, persist::write(certificate, certificate_pem.as_bytes(), Readable::ByAll))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let bytes = persist::read(path).map_err(|source| CertificateError::Io { path: path.to_owned(), source })?;
    bytes.ok_or_else(|| CertificateError::Missing { path: path.to_owned() })
}

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file is not there. For a self-signed certificate: restore its key, or delete the certificate too.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A file holds something else, or a kind of key that is not supported.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two do not belong together.
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A self-signed certificate could not be made; a name that is neither a DNS name nor an address is the usual cause.
    #[error("cannot make a self-signed certificate: {reason}")]
    SelfSign {
        /// What failed.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_self_signed_certificate_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = Certificate::self_signed_in(directory.path(), &[]).unwrap().fingerprint();
        let again = Certificate::self_signed_in(directory.path(), &["chat.example".to_owned()]).unwrap().fingerprint();
        assert_eq!(first, again);
        assert_eq!(first.len(), 64);
        assert!(first.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)));
    }

    #[test]
    fn a_crash_between_key_and_certificate_is_repaired() {
        let directory = tempfile::tempdir().unwrap();
        Certificate::self_signed_in(directory.path(), &[]).unwrap();
        fs::remove_file(directory.path().join(CERTIFICATE_FILE)).unwrap();
        assert!(Certificate::self_signed_in(directory.path(), &[]).is_ok());
    }

    #[test]
    fn a_certificate_whose_key_is_gone_is_not_silently_replaced() {
        let directory = tempfile::tempdir().unwrap();
        Certificate::self_signed_in(directory.path(), &[]).unwrap();
        fs::remove_file(directory.path().join(KEY_FILE)).unwrap();
        let error = Certificate::self_signed_in(directory.path(), &[]).unwrap_err();
        assert!(matches!(error, CertificateError::Missing { .. }), "{error}");
        assert!(error.to_string().contains(KEY_FILE));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Certificate::self_signed_in(one.path(), &[]).unwrap();
        Certificate::self_signed_in(two.path(), &[]).unwrap();
        let error =
            Certificate::from_files(&one.path().join(CERTIFICATE_FILE), &two.path().join(KEY_FILE)).unwrap_err();
        assert!(matches!(error, CertificateError::KeyMismatch { .. }), "{error}");
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        Certificate::self_signed_in(directory.path(), &[]).unwrap();
        let key = directory.path().join(KEY_FILE);
        let error = Certificate::from_files(&key, &key).unwrap_err();
        assert!(error.to_string().contains("holds no certificate"), "{error}");
    }

    #[test]
    fn a_name_that_cannot_be_certified_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = Certificate::self_signed_in(directory.path(), &["żółw".to_owned()]).unwrap_err();
        assert!(matches!(error, CertificateError::SelfSign { .. }), "{error}");
    }
}
