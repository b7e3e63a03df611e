//! Collects the metrics of the process and writes them out as Prometheus reads them.

use super::metric::{self, Kind};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use thiserror::Error;

/// The metrics of this process, as text. Clones read the same metrics.
#[derive(Debug, Clone)]
pub struct MetricsText {
    handle: PrometheusHandle,
}

impl MetricsText {
    /// Starts collecting for the whole process. Until then the macros of `metrics` do nothing and cost nothing.
    pub fn install() -> Result<Self, RecorderError> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        // Handles that were made before stay deaf, so this comes first in the composition root.
        metrics::set_global_recorder(recorder).map_err(|_| RecorderError::Installed)?;
        Ok(Self { handle })
    }

    /// The Prometheus text format, with every metric described whether it has a value or not.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms recorded since the last time. Call it every few seconds: until then they grow.
    pub fn fold(&self) {
        self.handle.run_upkeep();
    }
}

fn recorder() -> Result<PrometheusRecorder, RecorderError> {
    let mut builder = PrometheusBuilder::new();
    for metric in metric::ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    metric::describe(&recorder);
    Ok(recorder)
}

/// Why metrics are not collected.
#[derive(Debug, Error)]
pub enum RecorderError {
    /// The process has a recorder already.
    #[error("metrics are collected already")]
    Installed,
    /// The table of metrics is wrong.
    #[error("the metrics cannot be collected: {0}")]
    Build(#[from] BuildError),
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Metrics of a test of its own, whatever other tests of the process do.
    pub(crate) fn local(record: impl FnOnce()) -> MetricsText {
        let recorder = recorder().unwrap();
        metrics::with_local_recorder(&recorder, record);
        MetricsText { handle: recorder.handle() }
    }

    #[test]
    fn values_come_out_with_their_meaning() {
        let text = local(|| {
            metrics::counter!(metric::MESSAGES_ACCEPTED).increment(3);
            metrics::gauge!(metric::MAILBOX_DEPTH, metric::CORE => "1").set(7);
        });
        let rendered = text.render();
        assert!(rendered.contains("# TYPE godwit_messages_accepted_total counter"), "{rendered}");
        assert!(rendered.contains("# HELP godwit_messages_accepted_total Messages that passed"), "{rendered}");
        assert!(rendered.contains("godwit_messages_accepted_total 3"), "{rendered}");
        assert!(rendered.contains("godwit_mailbox_depth{core=\"1\"} 7"), "{rendered}");
    }

    #[test]
    fn every_histogram_has_buckets_and_no_quantiles() {
        let text = local(|| {
            for metric in metric::ALL {
                if matches!(metric.kind, Kind::Histogram(_)) {
                    metrics::histogram!(metric.name).record(0.002);
                }
            }
        });
        text.fold();
        let rendered = text.render();
        assert!(rendered.contains("godwit_store_commit_sync_seconds_bucket{le=\"0.0025\"} 1"), "{rendered}");
        assert!(rendered.contains("godwit_store_commit_sync_seconds_bucket{le=\"0.001\"} 0"), "{rendered}");
        assert!(!rendered.contains("quantile"), "{rendered}");
    }
}
