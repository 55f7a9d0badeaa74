//! Texts that stand for something else.

use std::time::Duration;

use toml::Spanned;

use super::Located;
use crate::config::Fault;

pub(super) fn time(written: &Spanned<String>) -> Located<Duration> {
    value(written, "time", "90s, 15m, 1h or 7d", duration)
}

/// `90s`, `15m`, `1h`, `7d`: one number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// A name as Kubernetes allows it (RFC 1123 subdomain).
pub(super) fn label(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: char| c.is_ascii_alphanumeric();
    (text.len() <= 253 && text.chars().all(good) && text.starts_with(ends) && text.ends_with(ends))
        .then(|| text.to_owned())
}

/// What a text means, or where it stands and that it means nothing.
pub(super) fn value<T>(
    written: &Spanned<String>,
    what: &'static str,
    example: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Located<T> {
    let text = written.get_ref();
    parse(text).ok_or_else(|| (written.span(), Fault::Value { text: text.clone(), what, example }))
}
