//! What tests leave for whoever looks for tokens in all that a run has written. `cargo xtask test` does, and names the file of
//! `COUNTERMARK_TOKEN_REGISTER` for it; nothing here does anything without that file.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

/// Whether somebody looks: then what tests write is kept.
#[must_use]
pub fn is_kept() -> bool {
    register().is_some()
}

/// This token was issued, and may stand nowhere.
pub(crate) fn issued(token: &str) {
    // Never made here: tokens go where somebody waits for them, and nowhere else.
    if let Some(mut register) = register().and_then(|path| append(OpenOptions::new().append(true), path)) {
        // One write for a line: other processes write there, too.
        register.write_all(format!("{token}\n").as_bytes()).expect("the register can be written");
    }
}

/// A program said this, and a test has read it.
pub fn said(bytes: &[u8]) {
    if is_kept() {
        let path = std::env::temp_dir().join(format!("said-{}.log", std::process::id()));
        let mut file = append(OpenOptions::new().append(true).create(true), path).expect("the temporary directory");
        file.write_all(bytes).expect("what was said can be kept");
    }
}

fn append(options: &OpenOptions, path: PathBuf) -> Option<File> {
    options.open(path).ok()
}

fn register() -> Option<PathBuf> {
    std::env::var_os("COUNTERMARK_TOKEN_REGISTER").map(PathBuf::from).filter(|path| path.is_file())
}
