//! Apache Cassandra as Maven has it: a directory of jars, fetched once.

use super::{packages, process};
use anyhow::{Context, Result, ensure};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// Of `org.apache.cassandra:cassandra-all`.
pub const VERSION: &str = "5.0.9";

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// A dependency is all that Maven needs; nothing is built.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>godwit</groupId>
  <artifactId>test-services</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>VERSION</version>
    </dependency>
  </dependencies>
</project>
"#;

/// For one try. It is 66 MB.
const FETCH_TIMEOUT: Duration = Duration::from_secs(600);
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(5);

/// Written last: name and size of every jar that was fetched.
const LIST: &str = "complete.txt";

/// The directory of the jars, below `directory`. It is looked through every time, for what lies in `target/` may have been cleaned up.
pub fn fetch(directory: &Path) -> Result<PathBuf> {
    let jars = directory.join(format!("cassandra-{VERSION}"));
    if fs::read_to_string(jars.join(LIST)).is_ok_and(|expected| listing(&jars).is_ok_and(|there| there == expected)) {
        return Ok(jars);
    }
    let maven = packages::maven()?;
    if jars.exists() {
        fs::remove_dir_all(&jars)?;
    }
    fs::create_dir_all(&jars)?;
    let pom = directory.join("pom.xml");
    fs::write(&pom, POM.replace("VERSION", VERSION))?;

    eprintln!("fetching Apache Cassandra {VERSION} with Maven");
    for attempt in 1..=TRIES {
        let mut command = Command::new(&maven);
        command
            .args(["--batch-mode", "--quiet", "-Dstyle.color=never", "--strict-checksums", "--file"])
            .arg(&pom)
            .arg(COPY);
        command.arg(format!("-DoutputDirectory={}", jars.display()));
        // Which is where Maven says what is wrong.
        command.stdout(Stdio::from(io::stderr()));
        match process::run(&mut command, FETCH_TIMEOUT) {
            Ok(()) => break,
            Err(error) if attempt < TRIES => eprintln!("{error:#}; trying again"),
            Err(error) => return Err(error).context("Maven cannot fetch Apache Cassandra; is there a network?"),
        }
        thread::sleep(PAUSE);
    }
    let there = listing(&jars)?;
    ensure!(there.contains(&format!("cassandra-all-{VERSION}.jar")), "Maven has fetched other jars: {there}");
    fs::write(jars.join(LIST), there)?;
    Ok(jars)
}

fn listing(jars: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(jars)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".jar") {
            lines.push(format!("{name} {}\n", entry.metadata()?.len()));
        }
    }
    lines.sort();
    Ok(lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jar_that_is_missing_or_cut_off_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.jar"), "12345").unwrap();
        fs::write(directory.path().join("b.jar"), "1").unwrap();
        let before = listing(directory.path()).unwrap();
        assert_eq!(before, "a.jar 5\nb.jar 1\n");
        fs::write(directory.path().join(LIST), &before).unwrap();
        assert_eq!(listing(directory.path()).unwrap(), before);
        fs::write(directory.path().join("a.jar"), "1234").unwrap();
        assert_ne!(listing(directory.path()).unwrap(), before);
    }
}
