//! What a message of the load test says, so that whoever receives it can tell what was lost and how long it took.

/// The beginning of every body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The peer that sent it, by its number in the run.
    pub sender: u32,
    /// 1, 2, 3, … for every sender in every conversation.
    pub number: u64,
    /// When it was due to be sent, in nanoseconds since the run's origin. Latency is measured from here, so that a server
    /// that stalls cannot hide it by slowing its clients down.
    pub due_ns: u64,
}

/// The shortest body.
pub const STAMP_BYTES: usize = 20;

impl Stamp {
    /// The stamp as the first bytes of a body; the rest is left as it is. `body` holds at least [`STAMP_BYTES`].
    pub fn write(self, body: &mut [u8]) {
        body[..4].copy_from_slice(&self.sender.to_le_bytes());
        body[4..12].copy_from_slice(&self.number.to_le_bytes());
        body[12..STAMP_BYTES].copy_from_slice(&self.due_ns.to_le_bytes());
    }

    /// The stamp of a body; `None` if it is too short to have one.
    pub fn read(body: &[u8]) -> Option<Self> {
        let (sender, rest) = body.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (due_ns, _) = rest.split_first_chunk()?;
        Some(Self {
            sender: u32::from_le_bytes(*sender),
            number: u64::from_le_bytes(*number),
            due_ns: u64::from_le_bytes(*due_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_leaves_the_rest_of_the_body() {
        let (stamp, mut body) = (Stamp { sender: 7, number: 1 << 40, due_ns: 99 }, [0x55; 24]);
        stamp.write(&mut body);
        assert_eq!(Stamp::read(&body), Some(stamp));
        assert_eq!(body[STAMP_BYTES..], [0x55; 4]);
        assert_eq!(Stamp::read(&body[..STAMP_BYTES - 1]), None);
    }
}
