//! Identifiers that must not be mixed up. An invalid one cannot be built.

use bytes::Bytes;
use std::fmt;
use thiserror::Error;

/// A user: a random number below 2^63 and above 0, given at registration and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(u64);

impl UserId {
    /// The largest valid id: the top bit stays clear, which tells a direct conversation's id from a group's.
    pub const MAX: Self = Self(u64::MAX >> 1);

    /// Checks the range.
    pub const fn new(raw: u64) -> Result<Self, InvalidId> {
        if raw == 0 || raw > Self::MAX.0 { Err(InvalidId::User) } else { Ok(Self(raw)) }
    }

    /// The number that goes over the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user:{:x}", self.0)
    }
}

/// The number of an entry in its conversation's log: 1, 2, 3, … without gaps. 0 stands before the first entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);
    /// The first entry.
    pub const FIRST: Self = Self(1);

    /// The seq that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number that goes over the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The id that a sender gives a message, the same whenever it is sent again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientMsgId(pub [u8; 16]);

/// One installation of a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub [u8; 16]);

macro_rules! sixteen_bytes {
    ($name:ident, $error:expr, $prefix:literal) => {
        impl $name {
            /// Takes exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidId> {
                bytes.try_into().map(Self).map_err(|_| $error)
            }

            /// A copy for a protobuf field.
            pub fn to_bytes(self) -> Bytes {
                Bytes::copy_from_slice(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), u128::from_be_bytes(self.0))
            }
        }
    };
}

sixteen_bytes!(ClientMsgId, InvalidId::ClientMsg, "msg:");
sixteen_bytes!(DeviceId, InvalidId::Device, "device:");

/// Bytes or a number that are no identifier. The peer's error: answer it with `INVALID_ARGUMENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// Outside 1..2^63.
    #[error("a user id is between 1 and 2^63 - 1")]
    User,
    /// Not 16 bytes.
    #[error("client_msg_id is exactly 16 bytes")]
    ClientMsg,
    /// Not 16 bytes.
    #[error("device_id is exactly 16 bytes")]
    Device,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_above_zero_and_below_two_to_the_63() {
        assert_eq!(UserId::new(0), Err(InvalidId::User));
        assert_eq!(UserId::new(1 << 63), Err(InvalidId::User));
        assert_eq!(UserId::new((1 << 63) - 1), Ok(UserId::MAX));
    }

    #[test]
    fn an_id_of_the_wrong_length_is_refused() {
        assert_eq!(ClientMsgId::from_slice(&[0; 15]), Err(InvalidId::ClientMsg));
        assert_eq!(DeviceId::from_slice(&[0; 17]), Err(InvalidId::Device));
    }
}
