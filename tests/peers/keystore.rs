//! A JVM opens the keystore that `rotate` delivers, before and after a rotation.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::estate::Estate;
use super::rotation::{Rotation, of_directory};
use super::set_up;
use crate::program::succeed;

#[test]
fn a_jvm_reads_key_and_chain_of_each_generation() -> Result<()> {
    let (Some(binary), Some(java)) = (set_up::countermark(), set_up::installed("java")) else {
        return Ok(());
    };
    let estate = Estate::new(&binary, "tools = [\"*\"]")?;
    let password = estate.path("password");
    std::fs::write(&password, "a word of several\n")?;
    let text = of_directory("books", "server/books", "keystore-password-file = \"password\"\n");
    let rotation = Rotation::start(&estate, "rotate.toml", &text)?;
    rotation.until("books", "a first generation", |status| status["serial"].is_string())?;
    for round in 0..2 {
        let status = if round == 0 { rotation.status("books")? } else { rotation.renew("books")? };
        let serial = status["serial"].as_str().context("a serial")?;
        let mut read = Command::new(&java);
        read.arg(set_up::sources().join("java/Keystore.java")).arg(estate.path("books/keystore.p12"));
        let said = succeed(read.arg(&password))?;
        // Leaf and intermediate; Java itself adds the root, which lies beside them.
        let wanted = format!("serial {} chain 3", serial.trim_start_matches('0'));
        ensure!(said.lines().any(|line| line == wanted), "{wanted}: {said}");
        ensure!(said.lines().any(|line| line.starts_with("root ")), "the root to trust: {said}");
    }
    Ok(())
}
