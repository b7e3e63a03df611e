//! As much of CQL's native protocol (version 4) as it takes to see that a server answers.

use anyhow::{Context, Result, bail, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const OPTIONS: u8 = 0x05;
const SUPPORTED: u8 = 0x06;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;

const VERSION: u8 = 4;
const CONSISTENCY_ONE: [u8; 2] = [0, 1];
const RESULT_IS_ROWS: i32 = 2;
const GLOBAL_TABLE: i32 = 1;

/// An answer that is longer than this is none of ours.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// One row of an answer: cells as the server wrote them, `None` where there is nothing.
pub type Row = Vec<Option<Vec<u8>>>;

/// A connection that asks one thing after another.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects, and asks what the server supports; that needs no password. Every answer must come within `timeout`.
    pub fn open(address: SocketAddr, timeout: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let mut connection = Self { stream };
        connection.ask(OPTIONS, &[], SUPPORTED).context("asking what it supports")?;
        Ok(connection)
    }

    /// Gets ready for queries. A server that wants a password is an error.
    pub fn start_up(&mut self) -> Result<()> {
        let mut body = 1u16.to_be_bytes().to_vec();
        for text in ["CQL_VERSION", "3.0.0"] {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.as_bytes());
        }
        self.ask(STARTUP, &body, READY).context("starting up")?;
        Ok(())
    }

    /// The rows that a query without values finds. Only for answers of one page and columns of text, inet and uuid.
    pub fn query(&mut self, query: &str) -> Result<Vec<Row>> {
        let mut body = (query.len() as i32).to_be_bytes().to_vec();
        body.extend(query.as_bytes());
        body.extend(CONSISTENCY_ONE);
        body.push(0);
        let answer = self.ask(QUERY, &body, RESULT).with_context(|| query.to_owned())?;
        rows(&answer).with_context(|| format!("reading what {query:?} found"))
    }

    fn ask(&mut self, opcode: u8, body: &[u8], expected: u8) -> Result<Vec<u8>> {
        let mut frame = vec![VERSION, 0, 0, 0, opcode];
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend(body);
        self.stream.write_all(&frame)?;

        let mut header = [0; 9];
        self.stream.read_exact(&mut header)?;
        let [version, _, _, _, answered, length @ ..] = header;
        ensure!(version == VERSION | 0x80, "this is no CQL server: it answers {header:02x?}");
        let length = u32::from_be_bytes(length) as usize;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        if answered != expected {
            // An error is a code and a text.
            let text = answer.get(6..).map(String::from_utf8_lossy).unwrap_or_default();
            bail!("it answers with opcode {answered:#04x}: {text}");
        }
        Ok(answer)
    }
}

/// The cells of a RESULT.
fn rows(answer: &[u8]) -> Result<Vec<Row>> {
    let mut rest = Rest(answer);
    ensure!(rest.int()? == RESULT_IS_ROWS, "an answer without rows");
    let flags = rest.int()?;
    let columns = usize::try_from(rest.int()?)?;
    ensure!(flags & !GLOBAL_TABLE == 0, "flags {flags:#x}: more than one page");
    let names_of_table = |rest: &mut Rest<'_>| rest.string().and_then(|()| rest.string());
    if flags & GLOBAL_TABLE != 0 {
        names_of_table(&mut rest)?;
    }
    for _ in 0..columns {
        if flags & GLOBAL_TABLE == 0 {
            names_of_table(&mut rest)?;
        }
        rest.string()?;
        // Types of more than these two bytes are those with types inside, which are not asked for.
        rest.take(2)?;
    }
    let count = usize::try_from(rest.int()?)?;
    (0..count).map(|_| (0..columns).map(|_| rest.cell()).collect()).collect()
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("an answer that ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn string(&mut self) -> Result<()> {
        let length = u16::from_be_bytes(self.take(2)?.try_into()?);
        self.take(length.into())?;
        Ok(())
    }

    fn cell(&mut self) -> Result<Option<Vec<u8>>> {
        match usize::try_from(self.int()?) {
            Ok(length) => Ok(Some(self.take(length)?.to_vec())),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SELECT release_version, data_center FROM system.local` as Apache Cassandra 5.0.9 answers it.
    fn answer() -> Vec<u8> {
        let mut answer = [2i32, 1, 2].map(i32::to_be_bytes).concat();
        for name in ["system", "local", "release_version", "data_center"] {
            answer.extend((name.len() as u16).to_be_bytes());
            answer.extend(name.as_bytes());
            if name.contains('_') {
                answer.extend([0, 0x0d]);
            }
        }
        answer.extend(1i32.to_be_bytes());
        answer.extend(5i32.to_be_bytes());
        answer.extend(b"5.0.9");
        answer.extend((-1i32).to_be_bytes());
        answer
    }

    #[test]
    fn the_cells_of_an_answer_are_found() {
        assert_eq!(rows(&answer()).unwrap(), [vec![Some(b"5.0.9".to_vec()), None]]);
    }

    #[test]
    fn an_answer_that_is_cut_off_anywhere_is_an_error() {
        let whole = answer();
        for end in 0..whole.len() {
            assert!(rows(&whole[..end]).is_err(), "{end}");
        }
    }
}
