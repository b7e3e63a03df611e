//! The servers that a test needs: `cargo xtask services up` starts them, and `cargo xtask test` does that by itself.

#![allow(dead_code)]

use std::{env, fs::OpenOptions, io::Write, thread};

/// What a variable says, which names a server. `None`: the test is left out, because somebody said so, and that is written down.
pub fn named_by(variable: &str) -> Option<String> {
    match env::var(variable) {
        Ok(named) => Some(named),
        Err(_) if env::var_os("GODWIT_TEST_WITHOUT_SERVICES").is_some() => {
            leave_out(&format!("{variable} names no server"), variable);
            None
        }
        Err(_) => {
            panic!("{variable} names no server: `cargo xtask services up` starts one, and says what to set it to")
        }
    }
}

/// Writes down that the test that runs is left out, and what it lacks.
pub fn leave_out(why: &str, lacks: &str) {
    let program = env::current_exe().unwrap();
    let program = program.file_stem().unwrap().to_string_lossy().into_owned();
    // Cargo puts a hash behind the name.
    let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
    let test = thread::current().name().unwrap_or_default().to_owned();
    println!("left out, for {why}: {program} {test}");
    if let Some(list) = env::var_os("GODWIT_TEST_LEFT_OUT") {
        let mut list = OpenOptions::new().create(true).append(true).open(list).unwrap();
        // One write: tests of several threads write to it.
        list.write_all(format!("{program} {test} ({lacks})\n").as_bytes()).unwrap();
    }
}
