//! A password on its way from a frame to its hash.

use std::fmt;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The shortest password, in bytes as sent.
pub const PASSWORD_BYTES_MIN: usize = 8;

/// The longest password, in bytes as sent: longer than any passphrase, and short enough to normalise without thinking.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// A password of allowed length, in NFC, so that it is the same from every keyboard (RFC 8265, OpaqueString).
///
/// Never logged: `Debug` hides it. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes what the user typed and wipes it.
    pub fn new(text: String) -> Result<Self, InvalidPassword> {
        let text = Zeroizing::new(text);
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len()) {
            return Err(InvalidPassword);
        }
        // Reserved once, so that no half of it is left behind by growing. NFC makes UTF-8 at most three times as long.
        let mut normal = Zeroizing::new(String::with_capacity(3 * text.len()));
        normal.extend(text.nfc());
        Ok(Self(normal))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Too short or too long. Answer a registration with `INVALID_PASSWORD`, a login with `INVALID_CREDENTIALS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes")]
pub struct InvalidPassword;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_bounded_at_both_ends() {
        assert_eq!(Password::new("1234567".into()), Err(InvalidPassword));
        assert!(Password::new("12345678".into()).is_ok());
        assert!(Password::new("x".repeat(1024)).is_ok());
        assert_eq!(Password::new("x".repeat(1025)), Err(InvalidPassword));
    }

    #[test]
    fn the_same_password_from_two_keyboards_is_the_same() {
        assert_eq!(Password::new("caf\u{e9} noir".into()), Password::new("cafe\u{301} noir".into()));
    }

    #[test]
    fn it_is_not_printed() {
        assert!(!format!("{:?}", Password::new("open sesame".into())).contains("sesame"));
    }

    #[test]
    fn the_reserved_memory_holds_the_longest_growth() {
        // U+1D160 takes four bytes and becomes twelve in NFC, the most that Unicode promises.
        let password = Password::new("\u{1d160}".repeat(256)).unwrap();
        assert!(password.0.len() == 3 * 1024 && password.0.capacity() < 4 * 1024);
    }
}
