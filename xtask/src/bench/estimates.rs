//! What criterion measured, from the files that it leaves.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, fs, path::Path};

/// What criterion calls a benchmark. Ordered as a person counts: of 2 before of 100.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Name {
    text: String,
    number: Option<u64>,
}

/// One benchmark of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Of one iteration, in nanoseconds. The median, for what disturbs a measurement makes it longer and never shorter.
    pub median_ns: f64,
    /// What one iteration does.
    pub throughput: Option<Throughput>,
}

/// How much one iteration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Throughput {
    Bytes(u64),
    Elements(u64),
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        let counted = name.rsplit_once('/').and_then(|(text, number)| Some((text, number.parse().ok()?)));
        match counted {
            Some((text, number)) => Self { text: text.to_owned(), number: Some(number) },
            None => Self { text: name.to_owned(), number: None },
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.number.map_or(Ok(()), |number| write!(f, "/{number}"))
    }
}

/// `benchmark.json`, of which this is a part.
#[derive(Deserialize)]
struct BenchmarkFile {
    full_id: String,
    #[serde(default, deserialize_with = "known_throughput")]
    throughput: Option<Throughput>,
}

/// `estimates.json`, of which this is a part.
#[derive(Deserialize)]
struct EstimatesFile {
    median: MedianFile,
}

#[derive(Deserialize)]
struct MedianFile {
    point_estimate: f64,
}

/// The newest estimates of all benchmarks below a directory, by their names. None, if there is no such directory.
pub fn read(dir: &Path) -> Result<BTreeMap<Name, Estimate>> {
    let mut found = BTreeMap::new();
    collect(dir, &mut found)?;
    Ok(found)
}

fn collect(dir: &Path, found: &mut BTreeMap<Name, Estimate>) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for item in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let item = item?;
        if !item.file_type()?.is_dir() {
            continue;
        }
        let path = item.path();
        // "base" is what the next run compares itself with.
        if item.file_name() == "new" && path.join("benchmark.json").exists() {
            let benchmark: BenchmarkFile = parse(&path.join("benchmark.json"))?;
            let estimates: EstimatesFile = parse(&path.join("estimates.json"))?;
            let estimate = Estimate { median_ns: estimates.median.point_estimate, throughput: benchmark.throughput };
            found.insert(Name::from(benchmark.full_id.as_str()), estimate);
        } else {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as criterion writes it", path.display()))
}

/// Criterion counts other things too; without them, the time of an iteration is still known.
fn known_throughput<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Throughput>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn write(dir: &Path, benchmark: &str, median_ns: f64) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("benchmark.json"), benchmark).unwrap();
        let interval = r#"{"confidence_level":0.95,"lower_bound":1.0,"upper_bound":9.0}"#;
        let estimate =
            |ns: f64| format!(r#"{{"confidence_interval":{interval},"point_estimate":{ns},"standard_error":0.1}}"#);
        let estimates = format!(r#"{{"mean":{},"median":{},"slope":null}}"#, estimate(1e9), estimate(median_ns));
        fs::write(dir.join("estimates.json"), estimates).unwrap();
    }

    #[test]
    fn the_newest_medians_are_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let counted = r#"{"full_id":"mailbox/hop/16","throughput":{"Elements":16}}"#;
        write(&dir.path().join("mailbox/hop/16/new"), counted, 80.5);
        write(&dir.path().join("mailbox/hop/16/base"), counted, 99.0);
        write(&dir.path().join("codec/new"), r#"{"full_id":"codec","throughput":null}"#, 7.0);
        write(&dir.path().join("odd/new"), r#"{"full_id":"odd","throughput":{"ElementsAndBytes":{}}}"#, 8.0);
        let found = read(dir.path()).unwrap();
        let expected =
            [("codec", 7.0, None), ("mailbox/hop/16", 80.5, Some(Throughput::Elements(16))), ("odd", 8.0, None)];
        let expected = expected.map(|(id, median_ns, throughput)| (Name::from(id), Estimate { median_ns, throughput }));
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn names_are_ordered_by_their_numbers() {
        let mut names = ["of/100", "of/2", "in/7", "of", "of/2/x"].map(Name::from);
        names.sort();
        assert_eq!(names.map(String::from), ["in/7", "of", "of/2", "of/100", "of/2/x"]);
    }

    #[test]
    fn a_run_that_measured_nothing_has_no_estimates() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&dir.path().join("never")).unwrap().is_empty());
    }

    #[test]
    fn a_file_of_another_criterion_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("new"), "{}", 1.0);
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("benchmark.json"), "{error}");
    }
}
