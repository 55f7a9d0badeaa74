//! Reading guard's audit back: the evidence behind each step.

use std::path::Path;

use serde_json::Value;

/// The newest line of the audit that `wanted` accepts.
pub(super) fn last(file: &Path, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    lines(file).into_iter().rev().find(wanted)
}

/// All lines, oldest first.
pub(super) fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Whether a field of a line is this text.
pub(super) fn is(line: &Value, field: &str, text: &str) -> bool {
    line.get(field).and_then(Value::as_str) == Some(text)
}

/// What a line says, in one short line.
pub(super) fn shown(line: &Value) -> String {
    let field = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or("-");
    let mut text = format!("audit: {} {} {} {}", field("agent"), field("method"), field("name"), field("outcome"));
    for name in ["rule", "reason", "decision"] {
        if let Some(value) = line.get(name).and_then(Value::as_str) {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_line_that_fits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "{\"agent\":\"a\",\"n\":1}\nnot json\n{\"agent\":\"b\"}\n{\"agent\":\"a\",\"n\":2}\n",
        )
        .unwrap();
        let line = last(file.path(), |line| is(line, "agent", "a")).unwrap();
        assert_eq!(line["n"], 2);
        assert_eq!(last(file.path(), |line| is(line, "agent", "c")), None);
    }
}
