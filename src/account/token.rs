//! What a device logs in with after the first time.

use crate::store::TokenHash;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use std::fmt;
use thiserror::Error;

const TOKEN_BYTES: usize = 32;

/// 256 random bits. The client keeps them, the store keeps their hash, and `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// Draws one from the system. Panics if the system has no randomness, because nothing is safe without it.
    pub fn generate() -> Self {
        let mut random = [0; TOKEN_BYTES];
        let filled = aws_lc_rs::rand::fill(&mut random);
        assert!(filled.is_ok(), "the system has no randomness");
        Self(random)
    }

    /// From random bytes that the caller drew, as the simulator does from its seed.
    pub const fn from_random(random: [u8; TOKEN_BYTES]) -> Self {
        Self(random)
    }

    /// Takes what a client sent.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidToken> {
        bytes.try_into().map(Self).map_err(|_| InvalidToken)
    }

    /// What the store knows it by. One round is enough, because there is nothing to guess in 256 random bits.
    pub fn hash(&self) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        TokenHash(hash)
    }

    /// A copy for a protobuf field.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Not 32 bytes. Answer `INVALID_TOKEN`, as for a token that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a token is {TOKEN_BYTES} bytes")]
pub struct InvalidToken;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_stored_as_its_sha_256() {
        // FIPS 180-4's function over 32 zero bytes.
        let hash = Token::from_random([0; 32]).hash();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&hash.0),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
    }

    #[test]
    fn what_the_client_keeps_leads_back_to_the_same_hash() {
        let token = Token::from_random([7; 32]);
        assert_eq!(Token::from_slice(&token.to_bytes()).unwrap().hash(), token.hash());
        assert_eq!(Token::from_slice(&[7; 31]), Err(InvalidToken));
    }

    #[test]
    fn it_is_not_printed() {
        assert_eq!(format!("{:?}", Token::from_random([7; 32])), "Token(…)");
    }
}
