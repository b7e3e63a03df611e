//! What both ends of a connection to a Godwit server have in common in QUIC: how a thin stream of small frames, with a pause
//! after each, is acknowledged and how it behaves on a network that loses packets.

mod congestion;

pub use congestion::ThinStreamConfig;

use quinn::{AckFrequencyConfig, TransportConfig, VarInt};
use std::sync::Arc;

/// Packets that either side asks the other to receive before it sends a QUIC ACK of its own accord
/// (draft-ietf-quic-ack-frequency): frames are small, and an ACK in a packet of its own costs as much as a message, and a phone
/// its radio. Fewer than a connection's initial window, so that no bulk transfer waits for an ACK that does not come.
pub const ACK_PACKETS: u32 = 8;

/// Packets out of order after which an ACK is sent at once all the same, so that a loss is repaired no later.
pub const ACK_REORDERING_PACKETS: u32 = 3;

/// Bytes of datagrams that wait to be read, or to be sent. They carry who is typing, which may be lost: what comes when this is
/// full takes the place of what is oldest. Nothing is allocated before there is one.
pub const DATAGRAM_BUFFER_BYTES: usize = 2_048;

/// Sets what is the same in a server and a client.
pub fn configure(transport: &mut TransportConfig) {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_PACKETS))
        .reordering_threshold(VarInt::from_u32(ACK_REORDERING_PACKETS));
    transport
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(Arc::new(ThinStreamConfig::default()))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
}
