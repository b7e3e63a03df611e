//! Connection IDs that carry their core.
//!
//! Twelve bytes:
//!
//! | bytes | content |
//! | --- | --- |
//! | 0–1 | big-endian, a random multiple of the number of endpoints, plus the endpoint's index: what [`steering`](super::steering) reads |
//! | 2–3 | the node, for a load balancer in front of several; 0 until there are several |
//! | 4–8 | random |
//! | 9–11 | the first bytes of HMAC-SHA256 over bytes 0–8 |
//!
//! The tag lets an endpoint tell IDs that this server gave out, before a restart or now, from made-up ones: only the
//! former draw a stateless reset. And since all cores sign resets with one key, an ID of another core must never draw
//! one: a packet that lands on the wrong core would otherwise kill the connection that lives on the right one.
//!
//! A client that wants to land on a certain core chooses bytes 0–1 of its first destination connection ID likewise.

use super::secret::QuicSecrets;
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac, rand};
use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::InvalidCid;
use std::time::Duration;

/// Makes and recognises the connection IDs of one endpoint.
pub(super) struct CoreConnectionIds {
    index: u16,
    endpoints: u16,
    key: hmac::Key,
}

impl CoreConnectionIds {
    /// For the endpoint with this index, in bind order, among `endpoints`.
    pub(super) fn new(index: u16, endpoints: u16, secrets: &QuicSecrets) -> Self {
        assert!(index < endpoints, "endpoint {index} of {endpoints}");
        Self { index, endpoints, key: secrets.connection_id_key.clone() }
    }

    fn tag(&self, body: &[u8]) -> [u8; TAG_BYTES] {
        let signature = hmac::sign(&self.key, body);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&signature.as_ref()[..TAG_BYTES]);
        tag
    }
}

impl ConnectionIdGenerator for CoreConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut random = [0; 2 + NONCE_BYTES];
        // Without random numbers there is no TLS either, and a predictable ID would be worse than no server.
        assert!(rand::fill(&mut random).is_ok(), "the system's random number generator failed");
        let strides = (1u32 << 16) / u32::from(self.endpoints);
        let stride = u32::from(u16::from_be_bytes([random[0], random[1]])) % strides;
        // At most 65,535: the largest stride is one below 65,536 / endpoints, and the index is below endpoints.
        let steered = (stride * u32::from(self.endpoints)) as u16 + self.index;

        let mut id = [0; ID_BYTES];
        id[..2].copy_from_slice(&steered.to_be_bytes());
        id[2..4].copy_from_slice(&NODE.to_be_bytes());
        id[4..BODY_BYTES].copy_from_slice(&random[2..]);
        let tag = self.tag(&id[..BODY_BYTES]);
        id[BODY_BYTES..].copy_from_slice(&tag);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        if id.len() != ID_BYTES
            || u16::from_be_bytes([id[0], id[1]]) % self.endpoints != self.index
            || id[2..4] != NODE.to_be_bytes()
        {
            return Err(InvalidCid);
        }
        verify_slices_are_equal(&self.tag(&id[..BODY_BYTES]), &id[BODY_BYTES..]).map_err(|_| InvalidCid)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

const NODE: u16 = 0;
const NONCE_BYTES: usize = 5;
const TAG_BYTES: usize = 3;
const BODY_BYTES: usize = 4 + NONCE_BYTES;
const ID_BYTES: usize = BODY_BYTES + TAG_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids(index: u16, endpoints: u16) -> CoreConnectionIds {
        CoreConnectionIds::new(index, endpoints, &QuicSecrets::from_bytes(&[7; 32]))
    }

    #[test]
    fn an_id_is_valid_on_its_own_endpoint_and_no_other() {
        for endpoints in 1..=64 {
            for index in 0..endpoints {
                let id = ids(index, endpoints).generate_cid();
                assert_eq!(u16::from_be_bytes([id[0], id[1]]) % endpoints, index);
                for other in 0..endpoints {
                    assert_eq!(ids(other, endpoints).validate(&id).is_ok(), other == index, "{index} of {endpoints}");
                }
            }
        }
    }

    #[test]
    fn an_id_with_any_bit_changed_is_refused() {
        let id = ids(1, 4).generate_cid();
        for bit in 0..ID_BYTES * 8 {
            let mut forged = [0; ID_BYTES];
            forged.copy_from_slice(&id);
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(ids(1, 4).validate(&ConnectionId::new(&forged)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_id_of_another_node_is_refused_even_with_a_right_tag() {
        let ids = ids(0, 1);
        let mut foreign = [0; ID_BYTES];
        foreign[3] = 1;
        let tag = ids.tag(&foreign[..BODY_BYTES]);
        foreign[BODY_BYTES..].copy_from_slice(&tag);
        assert!(ids.validate(&ConnectionId::new(&foreign)).is_err());
    }

    #[test]
    fn an_id_survives_a_restart_with_the_same_secret_and_not_with_another() {
        let id = ids(2, 4).generate_cid();
        assert!(ids(2, 4).validate(&id).is_ok());
        let stranger = CoreConnectionIds::new(2, 4, &QuicSecrets::from_bytes(&[8; 32]));
        assert!(stranger.validate(&id).is_err());
    }

    #[test]
    fn ids_of_another_length_are_refused() {
        assert!(ids(0, 1).validate(&ConnectionId::new(&[0; 8])).is_err());
        assert!(ids(0, 1).validate(&ConnectionId::new(&[])).is_err());
    }

    #[test]
    fn steered_bytes_use_the_whole_range_that_the_core_leaves() {
        let mut generator = ids(63, 64);
        let seen: HashSet<_> = (0..2_000).map(|_| generator.generate_cid()[..2].to_vec()).collect();
        assert!(seen.len() > 500, "only {} of 1024 values", seen.len());
    }
}
