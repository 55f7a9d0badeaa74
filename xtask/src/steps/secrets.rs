//! No private key is tracked, under whatever name.

use anyhow::{Result, bail};

use crate::context::Context;
use crate::report::Row;

pub(super) fn run(context: &Context) -> Result<Vec<Row>> {
    let mut found = 0;
    for path in context.tracked()? {
        let content = std::fs::read(context.root.join(&path))?;
        if holds_private_key(&content) {
            found += 1;
            println!("{}: holds a private key", path.display());
        }
    }
    if found > 0 {
        bail!("{found} tracked files hold a private key; make it when it is needed");
    }
    Ok(vec![Row::passed("secrets", "")])
}

/// Whether a line begins a PEM block whose label ends in `PRIVATE KEY` with a body behind it.
fn holds_private_key(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let begins = line.trim().starts_with("-----BEGIN ") && line.trim().ends_with("PRIVATE KEY-----");
        let body = begins.then(|| lines.next().unwrap_or_default().trim());
        if body.is_some_and(|body| body.len() >= 16 && body.chars().all(is_base64)) {
            return true;
        }
    }
    false
}

fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_and_a_mention_is_not() {
        let label = ["-----BEGIN EC", "PRIVATE KEY-----"].join(" ");
        let key = format!("text\n{label}\n{}\n", "MHcCAQEEIAbCdEfGhIjK".repeat(3));
        assert!(holds_private_key(key.as_bytes()));
        let mention = format!("text\n{label}\n(redacted)\n");
        assert!(!holds_private_key(mention.as_bytes()));
    }
}
