//! The protobuf code that is committed is what the .proto files say.

use std::process::Command;

#[test]
fn the_generated_code_is_current() {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "generate", "--check"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "run `cargo xtask generate` and commit the result");
}
