//! Codes that let one person register: made by whoever has the server's secret, while the server runs, without asking it.

use super::InvitationSecret;
use crate::store::InvitationId;
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use data_encoding::BASE32_NOPAD;
use thiserror::Error;

const EXPIRES_BYTES: usize = 8;
const ID_BYTES: usize = 16;
/// Half an HMAC-SHA256: 128 bits cannot be guessed, and the whole code is 40 bytes, exactly 64 characters.
const TAG_BYTES: usize = 16;
const BODY_BYTES: usize = EXPIRES_BYTES + ID_BYTES;

/// What a code says: which invitation it is, and until when it holds.
///
/// A code is the base32 of expiry (milliseconds since the epoch, 8 bytes big-endian), id and tag. It names no server state,
/// so there is nothing to look up until it is used; that it is used once is decided by the store, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invitation {
    /// Names it in the store once it is used.
    pub id: InvitationId,
    /// Milliseconds since the epoch.
    pub expires_ms: u64,
}

impl Invitation {
    /// The code to hand to a person: 64 letters and digits.
    pub fn to_code(&self, secret: &InvitationSecret) -> String {
        let mut bytes = self.body().to_vec();
        bytes.extend_from_slice(&self.tag(secret));
        BASE32_NOPAD.encode(&bytes).to_lowercase()
    }

    /// Checks a code as a person typed it: in any case, with spaces and hyphens anywhere.
    pub fn from_code(code: &str, secret: &InvitationSecret, now_ms: u64) -> Result<Self, InvalidInvitation> {
        // No longer than a code that is split into single characters: the rest of the work is bounded by it.
        if code.len() > 4 * BASE32_NOPAD.encode_len(BODY_BYTES + TAG_BYTES) {
            return Err(InvalidInvitation::Unknown);
        }
        let plain: String =
            code.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
        let bytes = BASE32_NOPAD.decode(plain.as_bytes()).map_err(|_| InvalidInvitation::Unknown)?;
        let bytes: [u8; BODY_BYTES + TAG_BYTES] = bytes.try_into().map_err(|_| InvalidInvitation::Unknown)?;

        let (mut expires, mut id) = ([0; EXPIRES_BYTES], [0; ID_BYTES]);
        expires.copy_from_slice(&bytes[..EXPIRES_BYTES]);
        id.copy_from_slice(&bytes[EXPIRES_BYTES..BODY_BYTES]);
        let invitation = Self { id: InvitationId(id), expires_ms: u64::from_be_bytes(expires) };

        verify_slices_are_equal(&invitation.tag(secret), &bytes[BODY_BYTES..])
            .map_err(|_| InvalidInvitation::Unknown)?;
        if invitation.expires_ms <= now_ms {
            return Err(InvalidInvitation::Expired);
        }
        Ok(invitation)
    }

    fn body(&self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        body[..EXPIRES_BYTES].copy_from_slice(&self.expires_ms.to_be_bytes());
        body[EXPIRES_BYTES..].copy_from_slice(&self.id.0);
        body
    }

    fn tag(&self, secret: &InvitationSecret) -> [u8; TAG_BYTES] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        // So that the secret can never be made to sign something else.
        context.update(b"godwit invitation 1\0");
        context.update(&self.body());
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_BYTES]);
        tag
    }
}

/// Why a code does not let anybody in. Answer `INVALID_INVITATION` with this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidInvitation {
    /// It was not made with this server's secret, or was mistyped.
    #[error("this is no invitation of this server")]
    Unknown,
    /// Its time is over.
    #[error("this invitation has expired")]
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INVITATION: Invitation = Invitation { id: InvitationId([9; 16]), expires_ms: 1_000 };

    fn secret(byte: u8) -> InvitationSecret {
        InvitationSecret::from_random([byte; 32])
    }

    #[test]
    fn a_code_holds_until_it_expires() {
        let code = INVITATION.to_code(&secret(1));
        assert_eq!(code.len(), 64);
        assert_eq!(Invitation::from_code(&code, &secret(1), 999), Ok(INVITATION));
        assert_eq!(Invitation::from_code(&code, &secret(1), 1_000), Err(InvalidInvitation::Expired));
    }

    #[test]
    fn a_code_of_another_server_is_unknown() {
        let code = INVITATION.to_code(&secret(1));
        assert_eq!(Invitation::from_code(&code, &secret(2), 0), Err(InvalidInvitation::Unknown));
    }

    #[test]
    fn a_code_survives_being_typed_by_hand() {
        let code = INVITATION.to_code(&secret(1)).to_uppercase();
        let typed = format!(" {}-{} {}\n", &code[..7], &code[7..40], &code[40..]);
        assert_eq!(Invitation::from_code(&typed, &secret(1), 0), Ok(INVITATION));
    }

    proptest! {
        #[test]
        fn a_code_with_any_bit_changed_is_unknown(bit in 0usize..320) {
            let code = INVITATION.to_code(&secret(1)).to_uppercase();
            let mut bytes = BASE32_NOPAD.decode(code.as_bytes()).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = BASE32_NOPAD.encode(&bytes);
            prop_assert_eq!(Invitation::from_code(&forged, &secret(1), 0), Err(InvalidInvitation::Unknown));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,100}") {
            prop_assert_eq!(Invitation::from_code(&text, &secret(1), 0), Err(InvalidInvitation::Unknown));
        }
    }
}
