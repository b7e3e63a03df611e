//! `godwit chat --plain`, driven by pipes as a script would.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/server.rs"]
mod server;

use server::TestServer;
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// Long enough for a busy machine; nothing is measured against it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and a place where its users keep their sessions.
struct Place {
    server: TestServer,
    state: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { server: TestServer::start(), state: tempfile::tempdir().unwrap() }
    }

    fn with_accounts(names: &[&str]) -> Self {
        let place = Self::new();
        for name in names {
            let registered = place.run(place.command(name).env("GODWIT_PASSWORD", "a password").arg("--register"), "");
            assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stderr));
        }
        place
    }

    /// Trusts the server by the file that it left in its data directory.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
        command.args(["chat", name, "--plain", "--server", &self.server.address().to_string()]);
        command.arg("--data-dir").arg(&self.server.config.data_dir).arg("--state-dir").arg(self.state.path());
        command.env_remove("GODWIT_PASSWORD").env_remove("GODWIT_FINGERPRINT").env("TZ", "Europe/Berlin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Gives it all the input at once and waits for its end.
    fn run(&self, command: &mut Command, input: &str) -> Output {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // On a thread of its own: a pipe takes only so much before somebody reads the output.
        let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        // An error says that it ended without reading everything.
        let _ = writer.join().unwrap();
        output
    }

    fn say(&self, name: &str, input: &str) -> (ExitStatus, Vec<String>) {
        let output = self.run(&mut self.command(name), input);
        (output.status, String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
    }

    /// Starts it with `--follow` and waits until it is ready.
    fn follow(&self, name: &str) -> Follower {
        let mut child = self.command(name).arg("--follow").spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut follower = Follower { stdin: child.stdin.take(), child, lines, seen: Vec::new() };
        follower.expect("synced");
        follower
    }
}

/// A chat that goes on.
struct Follower {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Follower {
    fn write(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that begins like this, skipping others.
    fn expect(&mut self, beginning: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {beginning:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.starts_with(beginning) {
                return line;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has(lines: &[String], line: &str) -> bool {
    lines.iter().any(|one| one == line)
}

#[test]
fn two_people_and_a_group_chat_by_pipe() {
    let place = Place::with_accounts(&["alice", "bob", "小明"]);
    let mut alice = place.follow("alice");
    let mut bob = place.follow("bob");
    bob.write("/to alice");
    bob.write("hi alice");
    bob.expect("sent\talice\t1\t2");
    alice.expect("message\tbob\t1\tbob\thi alice");
    alice.write("/to bob");
    alice.write("two\twords \\ 中文 👩‍👩‍👧‍👦");
    bob.expect("message\talice\t2\talice\ttwo\\twords \\\\ 中文 👩‍👩‍👧‍👦");
    bob.write("/read");
    bob.expect("unread\talice\t0");
    alice.write("/group \"Lunch crew\" bob 小明");
    alice.write("//hungry?");
    alice.expect("sent\t#Lunch crew\t2\t4");
    bob.expect("created\t#Lunch crew\t1\talice\t");
    bob.expect("message\t#Lunch crew\t2\talice\t/hungry?");
    alice.write("/remove bob");
    bob.expect("left\t#Lunch crew");
    alice.write("/members");
    alice.expect("member\t#Lunch crew\talice\towner");
    assert!(!alice.seen.iter().any(|line| line.contains("bob\tmember")), "{:#?}", alice.seen);
}

#[test]
fn messages_disappear_after_their_time_and_the_conversation_says_after_which() {
    let place = Place::with_accounts(&["alice", "bob"]);
    let mut alice = place.follow("alice");
    let mut bob = place.follow("bob");
    alice.write("/to bob");
    alice.write("/expire 4s: the code is 1234");
    alice.expect("sent\tbob\t1\t2");
    let line = bob.expect("message\talice\t1\talice\tthe code is 1234\texpires 20");
    assert!(line.ends_with(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']), "{line}");
    alice.write("/expire 1h read");
    alice.expect("done\t3");
    bob.expect("expiry\talice\t2\talice\t3600000\tread");
    bob.expect("expired\talice\t3\talice\t1");
    alice.expect("expired\tbob\t3\talice\t1");
    alice.write("/expire");
    alice.expect("expiry\tbob\t\t\t3600000\tread");
    alice.write("and this stays until it is read");
    bob.expect("message\talice\t4\talice\tand this stays until it is read\texpires-after-read 3600000");
    drop(bob);
    let (status, lines) = place.say("bob", "/to alice\n/expire\n/read\n/expire soon\n/expire 1ms\n");
    assert_eq!(status.code(), Some(1));
    assert!(
        lines.iter().any(|line| line.starts_with("conversation\talice\t") && line.ends_with("\t4\t1")),
        "{lines:#?}"
    );
    assert!(has(&lines, "expiry\talice\t\t\t3600000\tread") && has(&lines, "unread\talice\t0"), "{lines:#?}");
    let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("error\tINVALID_COMMAND\t")).collect();
    assert_eq!(errors.len(), 2, "{lines:#?}");
}

#[test]
fn what_is_sent_again_and_again_is_listed_moved_and_sent_now() {
    let place = Place::with_accounts(&["alice", "bob"]);
    let mut alice = place.follow("alice");
    let mut bob = place.follow("bob");
    alice.write("/to bob");
    alice.write("/schedule every day 9:00 stand-up");
    let scheduled = alice.expect("scheduled\tbob\t");
    assert!(scheduled.contains("T09:00:00+0") && scheduled.ends_with("\t2"), "{scheduled}");
    assert!(alice.expect("repeats\t").ends_with("\tFREQ=DAILY\tEurope/Berlin\t0"));
    alice.write("/scheduled");
    alice.expect("listed\t1\tbob\t");
    alice.write("/sendnow 1");
    alice.expect("done\t4");
    bob.expect("message\talice\t1\talice\tstand-up\tscheduled");
    alice.write("/reschedule 1 in 1s now and every day");
    bob.expect("message\talice\t2\talice\tnow and every day\tscheduled");
    // It has moved on to tomorrow.
    let moved = alice.expect("scheduled\tbob\t");
    assert!(moved.ends_with("\t5"), "{moved}");
    assert!(alice.expect("scheduled\tbob\t").ends_with("\t"));
    alice.write("/cancel 1");
    alice.expect("cancelled\t");
}

#[test]
fn a_reminder_of_the_newest_message_is_told_when_it_is_due_and_stays_until_it_is_dismissed() {
    let place = Place::with_accounts(&["alice", "bob"]);
    let mut bob = place.follow("bob");
    let (status, lines) = place.say("alice", "/to bob\ncall me\n/remind 1d #9\n");
    assert_eq!(status.code(), Some(1), "there is no such message: {lines:#?}");
    bob.expect("message\talice\t1\talice\tcall me");
    bob.write("/to alice");
    bob.write("/remind 1s");
    bob.expect("reminder\talice\t1\t");
    assert!(bob.expect("due\talice\t1\t").ends_with("\tcall me\t"));
    drop(bob);
    // Another run is told at once.
    let mut bob = place.follow("bob");
    bob.expect("due\talice\t1\t");
    bob.write("/reminders");
    assert!(bob.expect("due\talice\t1\t").ends_with("\tcall me\t1"));
    bob.write("/dismiss 1");
    bob.expect("done\t2");
    let (_, lines) = place.say("bob", "/reminders\n");
    assert!(!lines.iter().any(|line| line.starts_with("due\t")), "{lines:#?}");
}

#[test]
fn a_muted_member_cannot_write_until_it_ends_and_a_banned_one_is_out() {
    let place = Place::with_accounts(&["Alice", "Bob"]);
    let mut bob = place.follow("Bob");
    let mut alice = place.follow("Alice");
    alice.write("/group g Bob");
    alice.expect("opened\t#g");
    bob.expect("created\t#g");
    bob.write("/to #g");
    bob.expect("opened\t#g");
    alice.write("/mute Bob 3s");
    let muted = bob.expect("muted\t#g\t2\tAlice\tBob\t");
    assert!(muted.contains("T"), "{muted}");
    alice.expect("muted\t#g\t2\tAlice\tBob\t");
    bob.write("may I");
    assert!(bob.expect("failed\t#g").contains("\tMUTED\t"));
    bob.expect("unmuted\t#g\t3\tBob\tBob");
    bob.write("thank you");
    bob.expect("sent\t#g\t4");
    alice.write("/ban Bob");
    bob.expect("banned\t#g\t5\tAlice\tBob\tnever");
    bob.expect("left\t#g");
    alice.write("/add Bob");
    alice.expect("error\tBANNED");
    alice.write("/unban Bob");
    alice.expect("unbanned\t#g\t6\tAlice\tBob");
}

#[test]
fn a_script_without_anybody_following_sends_everything_and_ends_with_0() {
    let place = Place::with_accounts(&["alice", "bob"]);
    let input: String = std::iter::once("/to bob\n".to_owned()).chain((1..=300).map(|n| format!("{n}\n"))).collect();
    let (status, lines) = place.say("alice", &input);
    assert!(status.success(), "{lines:#?}");
    assert!((1..=300).all(|n| has(&lines, &format!("sent\tbob\t{n}\t{}", n + 1))), "{lines:#?}");
    let (_, lines) = place.say("bob", "");
    assert!(lines.iter().any(|line| line.starts_with("conversation\talice\t") && line.ends_with("\t300\t300")));
}

#[test]
fn a_line_that_cannot_be_sent_is_reported_and_makes_the_status_1() {
    let place = Place::with_accounts(&["alice", "bob"]);
    let input = "nowhere\n/to bob\nfine\n/to nobody\nnot for bob\n/frobnicate\n/leave";
    let (status, lines) = place.say("alice", input);
    assert_eq!(status.code(), Some(1));
    assert!(has(&lines, "sent\tbob\t1\t3"), "{lines:#?}");
    for failure in ["failed\t\t1\tNO_CONVERSATION\t", "failed\t\t5\tNO_CONVERSATION\t", "error\tUSER_NOT_FOUND\t"] {
        assert!(lines.iter().any(|line| line.starts_with(failure)), "{failure}: {lines:#?}");
    }
    assert!(
        lines.iter().any(|line| line.starts_with("error\tINVALID_COMMAND\t") && line.ends_with("\t6")),
        "{lines:#?}"
    );
    let too_long = format!("/to bob\n{}\n", "x".repeat(60 * 1024));
    let (status, lines) = place.say("alice", &too_long);
    assert_eq!(status.code(), Some(1));
    assert!(lines.iter().any(|line| line.starts_with("failed\tbob\t2\tMESSAGE_TOO_LARGE\t")), "{lines:#?}");
}

#[test]
fn what_was_written_while_the_server_was_away_arrives_when_it_is_back() {
    let mut place = Place::with_accounts(&["alice", "bob"]);
    let mut alice = place.follow("alice");
    alice.write("/to bob");
    alice.write("before");
    alice.expect("sent\tbob\t1\t2");
    place.server.restart();
    alice.write("after");
    alice.expect("sent\tbob\t2\t3");
    assert!(alice.seen.iter().any(|line| line.starts_with("state\treconnecting\t")), "{:#?}", alice.seen);
}

#[test]
fn an_output_that_nobody_reads_does_not_keep_the_input_from_being_sent() {
    let place = Place::with_accounts(&["alice", "bob"]);
    for follow in [false, true] {
        let mut command = place.command("alice");
        if follow {
            command.arg("--follow");
        }
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        child.stdin.take().unwrap().write_all(b"/to bob\nhello\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && errors.is_empty(), "{errors}");
    }
    let (_, lines) = place.say("bob", "");
    assert!(
        lines.iter().any(|line| line.starts_with("conversation\talice\t") && line.ends_with("\t2\t2")),
        "{lines:#?}"
    );
}

#[test]
fn a_second_run_needs_no_password_until_the_device_logs_out() {
    let place = Place::with_accounts(&["alice"]);
    let (status, lines) = place.say("alice", "/logout");
    assert!(status.success() && has(&lines, "synced"), "{lines:#?}");
    let refused = place.run(&mut place.command("alice"), "");
    assert!(!refused.status.success() && refused.stdout.is_empty());
    let again = place.run(place.command("alice").env("GODWIT_PASSWORD", "a password"), "");
    assert!(again.status.success());
}

#[test]
fn a_wrong_password_or_a_taken_name_is_told() {
    let place = Place::with_accounts(&["alice"]);
    let fails = |command: &mut Command, hint: &str| {
        let elsewhere = tempfile::tempdir().unwrap();
        let output = place.run(command.arg("--state-dir").arg(elsewhere.path()), "");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(hint), "{errors}");
    };
    let command = |password: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
        command.args(["chat", "alice", "--plain", "--server", &place.server.address().to_string()]);
        command.args(["--fingerprint", &place.server.fingerprint()]).env("GODWIT_PASSWORD", password);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    fails(&mut command("wrong password"), "--register");
    fails(command("another one").arg("--register"), "exists already");
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_no_password() {
    let place = Place::new();
    let run = |data_dir: &Path, fingerprint: Option<String>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
        command.args(["chat", "alice", "--plain", "--register", "--server", &place.server.address().to_string()]);
        command.arg("--data-dir").arg(data_dir).arg("--state-dir").arg(place.state.path());
        command.args(fingerprint.map(|hex| format!("--fingerprint={hex}")));
        command.env_remove("GODWIT_FINGERPRINT").env("GODWIT_PASSWORD", "a password");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(run(elsewhere.path(), None).contains("--fingerprint"));
    let error = run(elsewhere.path(), Some("00".repeat(32)));
    assert!(error.contains(&place.server.fingerprint()) && error.contains("--fingerprint"), "{error}");
}
