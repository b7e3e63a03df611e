//! What is replayed: messages between numbered people, one JSON object a line, or made up from a seed.

use anyhow::{Context, ensure};
use bytes::Bytes;
use serde::Deserialize;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// Messages in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// For the report.
    pub name: String,
    /// A message is known by its place here and by nothing else: texts repeat.
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// A number that stands for the sender.
    pub from: u64,
    /// The receiver in the same numbering, where known. May be the sender.
    pub to: Option<u64>,
    /// The whole body of the message that is sent.
    pub text: Bytes,
}

/// A line of the file. What else is in it does not matter to a replay.
#[derive(Deserialize)]
struct Line {
    from: u64,
    to: Option<u64>,
    text: String,
}

impl Corpus {
    /// Reads the first `limit` messages of a file.
    pub fn read(path: &Path, limit: Option<usize>) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("the corpus {}", path.display()))?;
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        let messages = parse(BufReader::new(file), limit).with_context(|| format!("the corpus {}", path.display()))?;
        ensure!(!messages.is_empty(), "the corpus {} holds no message", path.display());
        Ok(Self { name, messages })
    }
}

fn parse(lines: impl BufRead, limit: Option<usize>) -> anyhow::Result<Vec<Message>> {
    let mut messages = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        if limit.is_some_and(|limit| messages.len() >= limit) {
            break;
        }
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let Line { from, to, text } = serde_json::from_str(&line).with_context(|| format!("line {}", number + 1))?;
        messages.push(Message { from, to, text: text.into() });
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    const LINES: &str = concat!(
        "{\"from\":1,\"to\":null,\"time\":null,\"text\":\"a\"}\n",
        "\n",
        "{\"from\":2,\"to\":1,\"time\":\"2011.1.2 10:00\",\"text\":\"\\u4f60\\u597d\\n\"}\n",
    );

    #[test]
    fn receivers_may_be_unknown_and_texts_are_kept_to_the_byte() {
        let messages = parse(LINES.as_bytes(), None).unwrap();
        assert_eq!(messages[0], Message { from: 1, to: None, text: "a".into() });
        assert_eq!(messages[1], Message { from: 2, to: Some(1), text: "你好\n".into() });
    }

    #[test]
    fn a_limit_takes_the_first_messages() {
        assert_eq!(parse(LINES.as_bytes(), Some(1)).unwrap().len(), 1);
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = parse("{}\n".as_bytes(), None).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error:#}");
    }
}
