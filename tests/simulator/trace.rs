//! What happened, as a number that two runs can be compared by, and as text for a person who replays one.

/// FNV-1a over everything that happened.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    pub steps: u64,
    print: bool,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, print }
    }

    /// Notes one thing. The text is made only when it is printed, so the bytes must tell everything that matters.
    pub fn note(&mut self, now: u64, bytes: &[u8], text: impl FnOnce() -> String) {
        self.steps += 1;
        for byte in now.to_be_bytes().iter().chain(bytes) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.print {
            eprintln!("{now:>6} ms  {}", text());
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }
}
