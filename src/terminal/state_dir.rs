//! What this installation keeps between runs: its device id and its token, per server and user.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// How many terminals on one machine may chat as the same user at once. Each is a device of its own.
pub const DEVICES_MAX: usize = 8;

/// A directory that no other process uses as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// What is kept. The token is a secret; the file can be read by its owner alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSession {
    /// 32 hexadecimal digits.
    pub device_id: String,
    /// The user that the token is for.
    pub user_id: Option<u64>,
    /// Hexadecimal digits.
    pub token: Option<String>,
}

/// Why nothing can be kept.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// Neither `--state-dir` nor a home directory.
    #[error("there is no home directory to keep the session in; pass --state-dir DIR")]
    NoHome,
    /// All of them are in use.
    #[error("{DEVICES_MAX} terminals already chat as this user")]
    TooMany,
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what this program wrote.
    #[error("{path} is damaged: {reason}; without it you log in with your password")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl StateDir {
    /// The directory for a user of a server, the first that no other process uses.
    pub fn open(base: Option<PathBuf>, server: &str, username: &str) -> Result<Self, StateDirError> {
        let base = base.or_else(default_base).ok_or(StateDirError::NoHome)?;
        let user = base.join(file_name(server)).join(file_name(&username.to_lowercase()));
        for device in 1..=DEVICES_MAX {
            let path = user.join(device.to_string());
            make_private_dir(&path).map_err(at(&path))?;
            let lock_path = path.join("lock");
            let lock = private_file().create(true).truncate(false).open(&lock_path).map_err(at(&lock_path))?;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(at(&lock_path)(error)),
            }
        }
        Err(StateDirError::TooMany)
    }

    /// What an earlier run kept.
    pub fn load(&self) -> Result<Option<SavedSession>, StateDirError> {
        let path = self.session_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        // The parser's own message quotes the file, and the file holds a token.
        let damaged = |reason: &str| StateDirError::Damaged { path: path.clone(), reason: reason.to_owned() };
        let saved: SavedSession = toml::from_str(&text).map_err(|error| damaged(error.message()))?;
        Ok(Some(saved))
    }

    /// Keeps this for the next run: the old file or the new one is there, whatever happens meanwhile.
    pub fn save(&self, session: &SavedSession) -> Result<(), StateDirError> {
        let path = self.session_path();
        let written = || -> io::Result<()> {
            let text = toml::to_string(session).map_err(io::Error::other)?;
            let new = self.path.join("session.toml.new");
            let mut file = private_file().create(true).truncate(true).open(&new)?;
            // It may be there from an earlier run that was interrupted, with other permissions.
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        written().map_err(at(&path))
    }

    /// Keeps the device id and forgets the token.
    pub fn forget_token(&self) -> Result<(), StateDirError> {
        let saved = self.load()?.unwrap_or_default();
        self.save(&SavedSession { token: None, ..saved })
    }

    /// The file, for messages.
    pub fn session_path(&self) -> PathBuf {
        self.path.join("session.toml")
    }
}

fn default_base() -> Option<PathBuf> {
    // Relative values are to be ignored (XDG Base Directory Specification 0.8).
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("godwit"))
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StateDirError + use<> {
    let path = path.to_owned();
    move |source| StateDirError::Io { path, source }
}

/// The longest name that a directory gets. File systems allow 255 bytes.
const FILE_NAME_BYTES_MAX: usize = 200;

/// A name for a directory that says what it is for and is different for different texts.
fn file_name(text: &str) -> String {
    let mut name = String::new();
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            // Not in front: the names of the directory itself and of its parent begin with it.
            b'.' if index > 0 => name.push('.'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    if name.len() > FILE_NAME_BYTES_MAX {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        name = format!("sha256-{}", HEXLOWER.encode(digest.as_ref()));
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn open(base: &Path) -> StateDir {
        StateDir::open(Some(base.to_owned()), "127.0.0.1:4433", "Alice").unwrap()
    }

    fn session() -> SavedSession {
        SavedSession { device_id: "00".repeat(16), user_id: Some(u64::MAX >> 1), token: Some("ab".repeat(32)) }
    }

    #[test]
    fn what_was_saved_is_there_in_the_next_run() {
        let base = tempfile::tempdir().unwrap();
        let dir = open(base.path());
        assert_eq!(dir.load().unwrap(), None);
        dir.save(&session()).unwrap();
        drop(dir);
        let dir = StateDir::open(Some(base.path().to_owned()), "127.0.0.1:4433", "alice").unwrap();
        assert_eq!(dir.load().unwrap(), Some(session()));
        dir.forget_token().unwrap();
        assert_eq!(dir.load().unwrap(), Some(SavedSession { token: None, ..session() }));
    }

    #[test]
    fn nobody_else_can_read_the_token() {
        let base = tempfile::tempdir().unwrap();
        let dir = open(base.path());
        fs::write(dir.path.join("session.toml.new"), "left over").unwrap();
        dir.save(&session()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.session_path()), 0o600);
        assert_eq!(mode(&dir.path), 0o700);
    }

    #[test]
    fn a_second_terminal_of_the_same_user_is_another_device() {
        let base = tempfile::tempdir().unwrap();
        let first = open(base.path());
        let second = open(base.path());
        assert_ne!(first.path, second.path);
        let first_path = first.path.clone();
        drop(first);
        assert_eq!(open(base.path()).path, first_path);
    }

    #[test]
    fn the_number_of_devices_is_bounded() {
        let base = tempfile::tempdir().unwrap();
        let all: Vec<_> = (0..DEVICES_MAX).map(|_| open(base.path())).collect();
        let one_more = StateDir::open(Some(base.path().to_owned()), "127.0.0.1:4433", "alice");
        assert!(matches!(one_more, Err(StateDirError::TooMany)), "{} are open", all.len());
    }

    #[test]
    fn a_damaged_file_is_reported_without_quoting_the_token() {
        let base = tempfile::tempdir().unwrap();
        let dir = open(base.path());
        fs::write(dir.session_path(), "device_id = 'x'\ntoken = 5eCr3t").unwrap();
        let error = dir.load().unwrap_err().to_string();
        assert!(error.contains("session.toml") && !error.contains("5eCr3t"), "{error}");
    }

    #[test]
    fn no_name_leaves_its_directory() {
        assert_eq!(file_name("../../etc"), "%2E.%2F..%2Fetc");
        assert_eq!(file_name("小明"), "%E5%B0%8F%E6%98%8E");
        assert_ne!(file_name("[::1]:4433"), file_name("::1:4433"));
        assert!(file_name(&"名".repeat(100)).len() <= FILE_NAME_BYTES_MAX);
    }
}
