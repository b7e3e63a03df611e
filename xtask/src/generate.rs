//! Generates the protobuf code. Its output is committed, so that a build needs neither protoc nor this.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::{fs, path::Path};

const SOURCES: [&str; 8] = [
    "godwit/v1/error.proto",
    "godwit/v1/session.proto",
    "godwit/v1/sanction.proto",
    "godwit/v1/conversation.proto",
    "godwit/v1/reminder.proto",
    "godwit/v1/schedule.proto",
    "godwit/v1/typing.proto",
    "godwit/v1/frame.proto",
];

/// Generates; with `check`, only compares with what is committed.
pub fn run(check: bool) -> Result<()> {
    let proto = workspace::root().join("proto");
    let target = proto.join("src/generated/godwit.v1.rs");
    let code = generate(&proto)?;
    if !check {
        fs::create_dir_all(proto.join("src/generated"))?;
        return fs::write(&target, code).with_context(|| format!("writing {}", target.display()));
    }
    let committed = fs::read_to_string(&target).unwrap_or_default();
    if committed != code {
        bail!("proto/src/generated/godwit.v1.rs is not what the .proto files say; run `cargo xtask generate`");
    }
    Ok(())
}

fn generate(proto: &Path) -> Result<String> {
    let descriptors = protox::compile(SOURCES, [proto])?;
    let mut config = prost_build::Config::new();
    // Bodies and ids are slices of the frame that they came in, not copies.
    config.bytes(["."]);
    let module = prost_build::Module::from_protobuf_package_name("godwit.v1");
    let requests = descriptors.file.into_iter().map(|file| (module.clone(), file)).collect();
    config.generate(requests)?.remove(&module).context("package godwit.v1 was generated")
}
