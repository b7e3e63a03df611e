//! Keys that QUIC needs again after a restart, all derived from one secret in the data directory.

use super::persist::{self, Readable};
use aws_lc_rs::{hkdf, hmac, rand};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;

/// The keys of one server, shared by its cores.
///
/// They outlive the process on purpose: a server that was killed and started again recognises the connection IDs it gave
/// out before and answers them with a stateless reset, so that clients reconnect at once instead of waiting for a timeout.
#[derive(Clone)]
pub struct QuicSecrets {
    /// Tags connection IDs, so that only IDs of this server's making draw a stateless reset.
    pub(super) connection_id_key: hmac::Key,
    /// Signs stateless resets (RFC 9000, section 10.3). One key for all cores, so a packet on the wrong core could reset a
    /// connection that lives on another; that is why connection IDs are checked for their core first.
    pub(super) reset_key: Arc<hmac::Key>,
    /// Seals retry tokens (RFC 9000, section 8.1.2).
    pub(super) token_key: Arc<hkdf::Prk>,
}

impl QuicSecrets {
    /// Reads the secret of this data directory; makes one first if there is none.
    pub fn in_directory(directory: &Path) -> Result<Self, SecretError> {
        let path = directory.join(FILE_NAME);
        let io_error = |source| SecretError::Io { path: path.clone(), source };
        let secret = match persist::read(&path).map_err(io_error)? {
            Some(bytes) => {
                let found = bytes.len();
                bytes.try_into().map_err(|_| SecretError::WrongLength { path: path.clone(), found })?
            }
            None => {
                let mut secret = [0; SECRET_BYTES];
                rand::fill(&mut secret).map_err(|_| SecretError::NoRandomness)?;
                persist::write(&path, &secret, Readable::ByOwner).map_err(io_error)?;
                secret
            }
        };
        Ok(Self::from_bytes(&secret))
    }

    /// Derives the keys from a secret that is kept elsewhere.
    pub fn from_bytes(secret: &[u8; SECRET_BYTES]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"godwit quic 1").extract(secret);
        Self {
            connection_id_key: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"connection id")),
            reset_key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"stateless reset"))),
            token_key: Arc::new(
                hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(&derive(&root, b"address validation token")),
            ),
        }
    }
}

/// Length of the persisted secret.
pub const SECRET_BYTES: usize = 32;

const FILE_NAME: &str = "quic-secret";

fn derive(root: &hkdf::Prk, purpose: &[u8]) -> [u8; SECRET_BYTES] {
    let mut key = [0; SECRET_BYTES];
    let filled = root.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
    // HKDF fails only for outputs above 255 hashes, or a buffer of another length than asked for; both are constants here.
    assert!(filled.is_ok(), "HKDF refused one hash of output");
    key
}

impl fmt::Debug for QuicSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuicSecrets")
    }
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file cannot be read or made. Check the data directory's owner and free space.
    #[error("{}: {source}", path.display())]
    Io {
        /// The secret's file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The file is not one that a server wrote. Delete it; clients then notice the next restart a little later.
    #[error("{} holds {found} bytes instead of {SECRET_BYTES}; delete it to have a new one made", path.display())]
    WrongLength {
        /// The secret's file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomness,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn sign(secrets: &QuicSecrets) -> Vec<u8> {
        hmac::sign(&secrets.reset_key, b"id").as_ref().to_vec()
    }

    #[test]
    fn the_secret_of_a_directory_stays_the_same_and_differs_between_directories() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = sign(&QuicSecrets::in_directory(here.path()).unwrap());
        assert_eq!(sign(&QuicSecrets::in_directory(here.path()).unwrap()), first);
        assert_ne!(sign(&QuicSecrets::in_directory(there.path()).unwrap()), first);
    }

    #[test]
    fn each_purpose_has_its_own_key() {
        let secrets = QuicSecrets::from_bytes(&[7; SECRET_BYTES]);
        assert_ne!(sign(&secrets), hmac::sign(&secrets.connection_id_key, b"id").as_ref());
    }

    #[test]
    fn a_truncated_secret_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), [1, 2, 3]).unwrap();
        let error = QuicSecrets::in_directory(directory.path()).unwrap_err();
        assert!(error.to_string().contains("quic-secret holds 3 bytes instead of 32"), "{error}");
    }
}
