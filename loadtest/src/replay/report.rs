//! What a replay found, for people and for programs.

use super::{
    chaos::{self, Struck},
    faults::{FaultCounts, Faults},
};
use crate::report::{format, terminal_table, write_json};
use comfy_table::Table;
use serde::Serialize;
use std::path::Path;

/// The result of a replay. The sums over live delivery and reading back come first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub corpus: String,
    pub seed: u64,
    /// As in the options.
    pub in_flight: usize,
    pub window: usize,
    pub accounts: usize,
    pub conversations: usize,
    pub messages: u64,
    pub acked: u64,
    /// Messages that arrived live at members other than their sender.
    pub delivered: u64,
    pub deliveries_expected: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub seq_gaps: u64,
    pub altered: u64,
    pub unexpected: u64,
    pub refused: u64,
    pub unread_wrong: u64,
    /// The same apart.
    pub live: FaultCounts,
    pub read_back: FaultCounts,
    pub kills: usize,
    /// How often the server ended by itself, because its databases failed it for too long.
    pub ends: u32,
    /// What went wrong with the databases, in order.
    pub chaos: Vec<Struck>,
    pub reconnects: u64,
    /// From the first hand-over to the last ack, and what that makes a second.
    pub send_s: f64,
    pub msgs_per_s: f64,
    /// From the first hand-over to the last arrival.
    pub delivery_s: f64,
    pub deliveries_per_s: f64,
    pub ack_p50_ms: f64,
    pub ack_p99_ms: f64,
    pub delivery_p50_ms: f64,
    pub delivery_p99_ms: f64,
    /// Of the whole run, over all restarts; `None` where the server's process is not known.
    pub server_cpu_s: Option<f64>,
    /// From the first hand-over to the last arrival.
    pub server_cpu_delivery_s: Option<f64>,
    /// The most at any time.
    pub server_rss_bytes: Option<u64>,
    pub client_cpu_s: f64,
    pub client_rss_bytes: u64,
}

impl Report {
    /// Whether everything was as it should be.
    pub fn is_clean(&self) -> bool {
        let faults = self.live.plus(self.read_back);
        faults == FaultCounts::default() && self.acked == self.messages && self.delivered == self.deliveries_expected
    }

    /// Writes it as JSON.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        write_json(self, path)
    }

    /// As a table.
    pub fn to_table(&self) -> Table {
        let known = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1}"));
        let rows: Vec<(&str, String)> = vec![
            ("seed", self.seed.to_string()),
            ("accounts, each with a connection", self.accounts.to_string()),
            ("conversations", self.conversations.to_string()),
            ("messages", self.messages.to_string()),
            ("acked", self.acked.to_string()),
            ("delivered live", format!("{} of {}", self.delivered, self.deliveries_expected)),
            ("lost", self.lost.to_string()),
            ("duplicated", self.duplicated.to_string()),
            ("reordered", self.reordered.to_string()),
            ("seq gaps", self.seq_gaps.to_string()),
            ("altered", self.altered.to_string()),
            ("unexpected", self.unexpected.to_string()),
            ("refused", self.refused.to_string()),
            ("unread wrong", self.unread_wrong.to_string()),
            ("kills", self.kills.to_string()),
            ("reconnects", self.reconnects.to_string()),
            ("messages per second", format!("{:.0} over {:.1} s", self.msgs_per_s, self.send_s)),
            ("deliveries per second", format!("{:.0} over {:.1} s", self.deliveries_per_s, self.delivery_s)),
            ("send to ack, p50 / p99 ms", format!("{:.2} / {:.2}", self.ack_p50_ms, self.ack_p99_ms)),
            ("send to delivery, p50 / p99 ms", format!("{:.2} / {:.2}", self.delivery_p50_ms, self.delivery_p99_ms)),
            ("server CPU s, whole run", known(self.server_cpu_s)),
            ("server CPU s, while delivering", known(self.server_cpu_delivery_s)),
            ("server memory MiB, peak", known(self.server_rss_bytes.map(mebibytes))),
            ("load test CPU s", format!("{:.1}", self.client_cpu_s)),
            ("load test memory MiB, peak", format!("{:.1}", mebibytes(self.client_rss_bytes))),
        ];
        let ends = (!self.chaos.is_empty()).then(|| ("server ended by itself", self.ends.to_string()));
        let rows = rows.into_iter().chain(ends).chain(chaos::summary(&self.chaos));
        let rows = rows.map(|(name, value)| [name.to_owned(), value]);
        terminal_table(["replay", self.corpus.as_str()], rows, 1)
    }
}

/// The first differences, a line each.
pub fn describe(faults: &Faults) -> String {
    let line = |(fault, words): &(_, String)| format!("  {fault:?}: {words}\n");
    faults.described.iter().map(line).collect()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / format::MIB
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::replay::faults::Fault;

    fn report() -> Report {
        Report {
            corpus: "test".into(),
            seed: 1,
            in_flight: 64,
            window: 1,
            accounts: 3,
            conversations: 2,
            messages: 10,
            acked: 10,
            delivered: 12,
            deliveries_expected: 12,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            seq_gaps: 0,
            altered: 0,
            unexpected: 0,
            refused: 0,
            unread_wrong: 0,
            live: FaultCounts::default(),
            read_back: FaultCounts::default(),
            kills: 0,
            ends: 0,
            chaos: Vec::new(),
            reconnects: 0,
            send_s: 1.0,
            msgs_per_s: 10.0,
            delivery_s: 1.0,
            deliveries_per_s: 12.0,
            ack_p50_ms: 1.0,
            ack_p99_ms: 2.0,
            delivery_p50_ms: 1.0,
            delivery_p99_ms: 2.0,
            server_cpu_s: Some(1.0),
            server_cpu_delivery_s: Some(0.5),
            server_rss_bytes: Some(1),
            client_cpu_s: 1.0,
            client_rss_bytes: 1,
        }
    }

    fn after(change: impl FnOnce(&mut Report)) -> bool {
        let mut report = report();
        change(&mut report);
        report.is_clean()
    }

    #[test]
    fn any_difference_makes_a_report_unclean() {
        assert!(report().is_clean());
        for fault in [Fault::Lost, Fault::Duplicated, Fault::Reordered, Fault::SeqGap, Fault::Altered] {
            let mut faults = Faults::default();
            faults.add(fault, String::new);
            assert!(!after(|report| report.live = faults.counts), "{fault:?} live");
            assert!(!after(|report| report.read_back = faults.counts), "{fault:?} read back");
        }
        for fault in [Fault::Unexpected, Fault::UnreadWrong, Fault::Refused] {
            let mut faults = Faults::default();
            faults.add(fault, String::new);
            assert!(!after(|report| report.read_back = faults.counts), "{fault:?}");
        }
        assert!(!after(|report| report.acked = 9));
        assert!(!after(|report| report.delivered = 11));
    }

    #[test]
    fn the_json_has_the_promised_fields() {
        let json = serde_json::to_value(report()).unwrap();
        for field in [
            "messages",
            "acked",
            "delivered",
            "lost",
            "duplicated",
            "reordered",
            "seq_gaps",
            "unread_wrong",
            "kills",
            "msgs_per_s",
            "ack_p50_ms",
            "ack_p99_ms",
            "delivery_p50_ms",
            "delivery_p99_ms",
            "server_cpu_s",
            "server_rss_bytes",
        ] {
            assert!(json.get(field).is_some_and(serde_json::Value::is_number), "{field}");
        }
    }
}
