//! Standard input and output, each on a thread of its own: a pipe that stalls must not stall the connection.

use std::{
    io::{self, BufRead, Read, Write},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// The longest line of input. No message that fits a frame is longer.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Lines that were read and not worked off.
const INPUT_LINES_MAX: usize = 64;

/// Lines that were printed and not written. Beyond them printing waits, and with it the events.
const OUTPUT_LINES_MAX: usize = 256;

/// A line of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Without its line break.
    Line(String),
    /// Nothing that could be sent, and why.
    Unusable(&'static str),
}

/// Prints lines.
#[derive(Debug, Clone)]
pub struct Output {
    lines: mpsc::Sender<String>,
}

impl Output {
    /// Prints a line, or nothing if nobody reads any more.
    pub async fn print(&self, line: String) {
        let _ = self.lines.send(line).await;
    }

    /// Resolves when nobody reads any more.
    pub async fn closed(&self) {
        self.lines.closed().await;
    }
}

/// Lines of the standard input until it ends. The thread may outlive the program's work: it waits for the next line.
pub fn read_stdin() -> io::Result<mpsc::Receiver<Input>> {
    let (lines, receiver) = mpsc::channel(INPUT_LINES_MAX);
    let read = move || {
        let mut stdin = io::stdin().lock();
        // A broken input ends as a closed one does: nothing more can be read.
        while let Ok(Some(line)) = read_line(&mut stdin) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("stdin".into()).spawn(read)?;
    Ok(receiver)
}

/// Writes to the standard output, a flush a line as long as they come singly. The second part resolves when every line was
/// written, or nobody reads any more.
pub fn write_stdout() -> io::Result<(Output, oneshot::Receiver<()>)> {
    let (lines, mut queue) = mpsc::channel::<String>(OUTPUT_LINES_MAX);
    let (done, written) = oneshot::channel();
    let write = move || {
        // Held until the thread ends, whatever ends it.
        let _done = done;
        let mut stdout = io::stdout().lock();
        while let Some(line) = queue.blocking_recv() {
            if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("stdout".into()).spawn(write)?;
    Ok((Output { lines }, written))
}

/// The next line, `None` at the end. A line that is too long is skipped as a whole, not sent in pieces.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Input>> {
    let mut line = Vec::new();
    // One more than a line of the greatest length and its break: then it is too long.
    let most = LINE_BYTES_MAX as u64 + 3;
    if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let had_break = line.last() == Some(&b'\n');
    if had_break {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > LINE_BYTES_MAX {
        let mut is_skipped = had_break;
        while !is_skipped {
            line.clear();
            let read = input.by_ref().take(most).read_until(b'\n', &mut line)?;
            is_skipped = read == 0 || line.ends_with(b"\n");
        }
        return Ok(Some(Input::Unusable("the line is longer than 64 KiB")));
    }
    Ok(Some(String::from_utf8(line).map_or(Input::Unusable("the line is not UTF-8"), Input::Line)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn lines(mut bytes: &[u8]) -> Vec<Input> {
        std::iter::from_fn(|| read_line(&mut bytes).unwrap()).collect()
    }

    fn line(text: &str) -> Input {
        Input::Line(text.into())
    }

    #[test]
    fn the_last_line_counts_without_a_line_break_too() {
        assert_eq!(lines(b"a\r\n\nb"), [line("a"), line(""), line("b")]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn what_is_not_utf_8_is_reported_and_the_next_line_works() {
        assert_eq!(lines(b"\xff\nok\n"), [Input::Unusable("the line is not UTF-8"), line("ok")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_error_and_not_two_messages() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(lines(format!("{longest}\r\nok").as_bytes()), [line(&longest), line("ok")]);
        for more in [1, 2, 3, LINE_BYTES_MAX, 5 * LINE_BYTES_MAX] {
            let text = format!("{longest}{}\nok\n", "y".repeat(more));
            let [Input::Unusable(_), next] = &lines(text.as_bytes())[..] else { panic!("{more} more") };
            assert_eq!(next, &line("ok"));
        }
        assert_eq!(lines("x".repeat(3 * LINE_BYTES_MAX).as_bytes()).len(), 1);
    }
}
