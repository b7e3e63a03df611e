//! The secret that invitations are made with: a small file in the data directory.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};
use thiserror::Error;

const SECRET_BYTES: usize = 32;
const FILE_NAME: &str = "invitation.key";

/// 32 random bytes. `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationSecret([u8; SECRET_BYTES]);

impl InvitationSecret {
    /// From random bytes that the caller drew.
    pub const fn from_random(random: [u8; SECRET_BYTES]) -> Self {
        Self(random)
    }

    /// Reads the secret of this data directory, and makes it when there is none. The server and `godwit invite` may do
    /// this at the same time and get the same secret; a crash leaves either none or all of it.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, SecretError> {
        let path = data_dir.join(FILE_NAME);
        match Self::load(&path) {
            Err(SecretError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        create(data_dir, &path).map_err(|error| SecretError::Io { path: path.clone(), error })?;
        Self::load(&path)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn load(path: &Path) -> Result<Self, SecretError> {
        let failed = |error| SecretError::Io { path: path.to_owned(), error };
        let bytes = fs::read(path).map_err(failed)?;
        refuse_if_others_can_read(path)?;
        bytes.try_into().map(Self).map_err(|_| SecretError::Damaged(path.to_owned()))
    }
}

impl std::fmt::Debug for InvitationSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InvitationSecret(…)")
    }
}

/// Puts a new secret at `path`, whole and synced, unless somebody else did so first.
fn create(data_dir: &Path, path: &Path) -> io::Result<()> {
    let (mut secret, mut name) = ([0; SECRET_BYTES], [0; 8]);
    let no_randomness = |_| io::Error::other("the system has no randomness");
    aws_lc_rs::rand::fill(&mut secret).map_err(no_randomness)?;
    aws_lc_rs::rand::fill(&mut name).map_err(no_randomness)?;
    let draft = data_dir.join(format!("{FILE_NAME}.{:016x}", u64::from_ne_bytes(name)));

    let written = write_synced(&draft, &secret).and_then(|()| match fs::hard_link(&draft, path) {
        // Unlike a rename, a link never replaces what another process put there in the meantime.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let _ = fs::remove_file(&draft);
    written?;
    File::open(data_dir)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn refuse_if_others_can_read(path: &Path) -> Result<(), SecretError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(|error| SecretError::Io { path: path.to_owned(), error })?;
    if metadata.permissions().mode() & 0o077 != 0 { Err(SecretError::Exposed(path.to_owned())) } else { Ok(()) }
}

#[cfg(not(unix))]
fn refuse_if_others_can_read(_: &Path) -> Result<(), SecretError> {
    Ok(())
}

/// Why there is no secret. The text says what to do.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The system refused to read or write it.
    #[error("cannot read or make {path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not 32 bytes.
    #[error("{0} is damaged; remove it to have a new one made, which ends all invitations that are not used yet")]
    Damaged(PathBuf),
    /// Other users of the machine can read or change it.
    #[error("{0} can be read by other users of this machine; run `chmod 600` on it")]
    Exposed(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let made = InvitationSecret::load_or_create(directory.path()).unwrap();
        assert_eq!(InvitationSecret::load_or_create(directory.path()).unwrap(), made);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "a draft was left behind");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(InvitationSecret::load_or_create(other.path()).unwrap(), made);
    }

    #[test]
    fn two_processes_that_make_it_at_once_get_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let make = || InvitationSecret::load_or_create(directory.path()).unwrap();
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|secret| *secret == all[0]));
    }

    #[test]
    fn a_file_of_another_length_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        write_synced(&path, b"short").unwrap();
        assert!(matches!(InvitationSecret::load_or_create(directory.path()), Err(SecretError::Damaged(_))));
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    #[cfg(unix)]
    #[test]
    fn it_is_for_the_server_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        InvitationSecret::load_or_create(directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(InvitationSecret::load_or_create(directory.path()), Err(SecretError::Exposed(_))));
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let error = InvitationSecret::load_or_create(Path::new("nowhere/at/all")).unwrap_err();
        assert!(error.to_string().contains(FILE_NAME), "{error}");
    }
}
