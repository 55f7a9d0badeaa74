//! Keycloak as issuer for guard and as the source of tokens for connect. The example does and judges all of it; here it is only
//! seen that it did.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::set_up;
use crate::program::run_within;

#[test]
fn bound_tokens_of_a_real_keycloak() -> Result<()> {
    let (Some(binary), Some(python), Some(keycloak), Some(_)) =
        (set_up::countermark(), set_up::python(), set_up::find("keycloak"), set_up::installed("java"))
    else {
        return Ok(());
    };
    let mut example = Command::new("python3");
    example.arg(set_up::examples().join("keycloak/run.py")).arg("--binary").arg(binary);
    example.arg("--keycloak").arg(keycloak).arg("--python").arg(python.get_program());
    example
        .envs(python.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = run_within(&mut example, PATIENCE)?;
    ensure!(ended.succeeded && ended.stdout.contains("every step held"), "{}\n{}", ended.stdout, ended.stderr);
    for step in STEPS {
        let held = |line: &str| line.strip_prefix("ok ").is_some_and(|line| line.trim_start().starts_with(step));
        ensure!(ended.stdout.lines().any(held), "nothing was seen of `{step}`:\n{}", ended.stdout);
    }
    println!("{}", ended.stdout);
    Ok(())
}

/// What must have been seen.
const STEPS: &[&str] = &[
    "allowed: billing",
    "allowed: intern",
    "missing scope: told which",
    "missing scope: connect steps up",
    "missing role: intern is denied",
    "stolen token: refused",
    "certificate rotated under load",
    "new signing key: counts at once",
    "the old key is gone: refused",
    "disabled, introspection: refused",
    "disabled, none: still permitted",
    "disabled, none: refused at its end",
    "admin events",
    "no token in any file",
];

/// The example gives up by itself before.
const PATIENCE: Duration = Duration::from_secs(630);
