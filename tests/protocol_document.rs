//! `docs/PROTOCOL.md` says what the code does: its examples decode, and its tables are complete.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use godwit_proto::{
    ConversationId, UserId, Vshard,
    codec::{self, FrameDecoder},
    v1::{ClientFrame, ErrorCode, ServerFrame},
};
use prost::Message;
use std::{fs, path::Path};

#[test]
fn every_frame_in_hex_decodes_and_encodes_to_the_same_bytes() {
    let document = document();
    let clients = blocks(&document, "hex client");
    let servers = blocks(&document, "hex server");
    assert!(clients.len() >= 10 && servers.len() >= 10, "the examples were not found");
    for block in clients {
        let frame: ClientFrame = decoded(&block);
        assert!(frame.body.is_some(), "an example of nothing:\n{block}");
    }
    for block in servers {
        let frame: ServerFrame = decoded(&block);
        assert!(frame.body.is_some(), "an example of nothing:\n{block}");
    }
}

#[test]
fn every_length_prefix_is_what_the_codec_reads() {
    let document = document();
    let accepted = pairs(&blocks(&document, "prefix"));
    assert!(!accepted.is_empty(), "the examples were not found");
    for (length, prefix) in accepted {
        let length: usize = length.parse().unwrap();
        let mut stream = bytes_of(&prefix);
        stream.resize(stream.len() + length, 0);
        assert_eq!(frames_in(&stream), vec![vec![0; length]], "the prefix of {length}");
    }
    let refused = blocks(&document, "prefix-refused").join("");
    assert!(!refused.is_empty(), "the examples were not found");
    for line in refused.lines() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&bytes_of(line));
        assert!(decoder.next_frame().is_err(), "{line} is not refused");
    }
}

#[test]
fn every_identifier_is_computed_as_the_document_says() {
    let document = document();
    let vshards = pairs(&blocks(&document, "vshard"));
    assert!(!vshards.is_empty(), "the examples were not found");
    for (user, vshard) in vshards {
        let user = user_id(user.strip_prefix("user ").unwrap());
        assert_eq!(format!("{:03x}", Vshard::of_user(user).index()), vshard, "the vshard of {user:?}");
    }
    let directs = pairs(&blocks(&document, "direct"));
    assert!(!directs.is_empty(), "the examples were not found");
    for (users, id) in directs {
        let (one, other) = users.split_once(' ').unwrap();
        let direct = ConversationId::direct(user_id(one), user_id(other));
        assert_eq!(direct.as_bytes().as_slice(), bytes_of(&id), "the conversation of {users}");
    }
}

#[test]
fn every_error_code_is_in_the_table() {
    let document = document();
    let table = rows(section(&document, "## 13. Errors"));
    let codes = constants(&proto("error.proto"), "ERROR_CODE_");
    assert!(codes.len() > 30, "the error codes were not found");
    for (name, number) in &codes {
        let code = ErrorCode::try_from(number.parse::<i32>().unwrap()).unwrap();
        assert_eq!(code.as_str_name(), format!("ERROR_CODE_{name}"), "the generated code is not current");
        let listed = table.iter().filter(|row| row[0] == *number && row[1] == format!("`{name}`"));
        assert_eq!(listed.count(), 1, "{number} {name} is not in the table, or twice");
    }
    let numbered = table.iter().filter(|row| row[0].parse::<u32>().is_ok());
    assert_eq!(numbered.count(), codes.len(), "the table has an error that the protocol has not");
}

#[test]
fn every_limit_that_hello_tells_is_in_the_table() {
    let document = document();
    let table = rows(section(&document, "## 14. Limits"));
    let limits = fields(&proto("session.proto"), "message Limits {");
    assert!(limits.len() >= 8, "the limits were not found");
    for limit in limits {
        assert!(table.iter().any(|row| row[0] == format!("`{limit}`")), "{limit} is not in the table of limits");
    }
}

#[test]
fn every_request_and_every_push_is_described() {
    let document = document();
    let frames = proto("frame.proto");
    let requests = rows(section(&document, "## 7. Requests"));
    let listed = fields(&frames, "message ClientFrame {");
    assert!(listed.len() >= 18, "the requests were not found");
    for request in listed.iter().filter(|field| *field != "request_id") {
        let described = requests.iter().any(|row| row.len() == 4 && row[0] == format!("`{request}`"));
        assert!(described, "{request} is not in the table of requests");
    }
    for answer in fields(&frames, "message ServerFrame {") {
        assert!(document.contains(&format!("`{answer}`")), "{answer} is not described");
    }
}

fn document() -> String {
    read("docs/PROTOCOL.md")
}

fn proto(name: &str) -> String {
    read(&format!("proto/godwit/v1/{name}"))
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What stands in the fenced blocks that begin with this word.
fn blocks(document: &str, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(this) = line.strip_prefix("```") {
            let block: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            if this == kind {
                found.push(block);
            }
        }
    }
    found
}

/// `left -> right`, a pair a line.
fn pairs(blocks: &[String]) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (left, right) = line.split_once(" -> ").unwrap();
        (left.to_owned(), right.to_owned())
    };
    blocks.iter().flat_map(|block| block.lines()).map(pair).collect()
}

/// Hexadecimal digits in any grouping; what follows a `#` on a line is a comment.
fn bytes_of(block: &str) -> Vec<u8> {
    let code = |line: &str| line.split('#').next().unwrap().to_owned();
    let digits: Vec<char> = block.lines().flat_map(|line| code(line).chars().collect::<Vec<_>>()).collect();
    let digits: Vec<char> = digits.into_iter().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(digits.len() % 2, 0, "half a byte in:\n{block}");
    digits.chunks(2).map(|byte| u8::from_str_radix(&byte.iter().collect::<String>(), 16).unwrap()).collect()
}

fn decoded<M: Message + Default>(block: &str) -> M {
    let bytes = bytes_of(block);
    let frames = frames_in(&bytes);
    assert_eq!(frames.len(), 1, "one frame in a block:\n{block}");
    let message = M::decode(frames[0].as_slice()).unwrap();
    // A field that the protocol does not have would be lost on the way.
    assert_eq!(codec::frame(&message), bytes, "it is encoded differently:\n{block}");
    message
}

/// The frames of a stream that ends after one.
fn frames_in(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::new();
    decoder.push(stream);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        frames.push(frame.to_vec());
    }
    assert_eq!(decoder.pending_bytes(), 0, "the stream ends inside a frame");
    frames
}

fn user_id(decimal: &str) -> UserId {
    UserId::new(decimal.parse().unwrap()).unwrap()
}

/// From a heading to the next of its rank.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n{heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The cells of every table row.
fn rows(section: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    section.lines().filter(|line| line.starts_with('|')).map(cells).collect()
}

/// Names, without this prefix, and numbers of an enum's constants.
fn constants(proto: &str, prefix: &str) -> Vec<(String, String)> {
    let constant = |line: &str| {
        let (name, number) = line.trim().strip_prefix(prefix)?.strip_suffix(';')?.split_once(" = ")?;
        Some((name.to_owned(), number.to_owned()))
    };
    proto.lines().filter_map(constant).collect()
}

/// The names of a message's fields.
fn fields(proto: &str, message: &str) -> Vec<String> {
    let (_, rest) = proto.split_once(message).unwrap();
    let body = rest.split("\n}").next().unwrap();
    let field = |line: &str| {
        let line = line.trim();
        let (declaration, _) = line.split_once(" = ").filter(|_| !line.starts_with("//"))?;
        declaration.rsplit(' ').next().map(str::to_owned)
    };
    body.lines().filter_map(field).collect()
}
