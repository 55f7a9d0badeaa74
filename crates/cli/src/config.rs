//! `--config FILE` of `guard`, `connect` and `ca serve`: a TOML file whose keys are the flag names. It is turned
//! into the arguments it stands for before anything is parsed, so that there is one parser and one
//! set of messages; what is typed wins over the file.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{ArgAction, Command, CommandFactory};
use toml::Value;

use crate::{
    args::Cli,
    failure::{Explain, Outcome, usage},
};

/// The verbs that take a file.
const VERBS: [&str; 3] = ["guard", "connect", "serve"];

/// Puts the arguments that a `--config` file stands for behind the verb.
pub(crate) fn expand(typed: impl IntoIterator<Item = OsString>) -> Outcome<Vec<OsString>> {
    let typed: Vec<OsString> = typed.into_iter().collect();
    let Some(at) = typed.iter().position(|word| VERBS.iter().any(|verb| word == verb)) else { return Ok(typed) };
    let (before, after) = typed.split_at(at + 1);
    let flags = after.split(|word| word == "--").next().unwrap_or_default();
    let Some(file) = config_file(flags) else { return Ok(typed) };
    let mut root = Cli::command();
    root.build();
    let name = before.last().and_then(|verb| verb.to_str());
    let verb = name.and_then(|name| match name {
        "serve" => root.find_subcommand("ca")?.find_subcommand(name),
        _ => root.find_subcommand(name),
    });
    let Some(verb) = verb else { return Ok(typed) };
    let text = std::fs::read_to_string(&file).or_failed(
        format!("cannot read the configuration {}", file.display()),
        "give --config a TOML file whose keys are flag names",
    )?;
    let (from_file, command) = arguments(&text, &file, verb, flags)?;
    let mut all = before.to_vec();
    all.extend(from_file);
    all.extend_from_slice(after);
    if !command.is_empty() && !after.iter().any(|word| word == "--") {
        all.push("--".into());
        all.extend(command);
    }
    Ok(all)
}

fn config_file(flags: &[OsString]) -> Option<PathBuf> {
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    None
}

/// The flags of the file that were not typed, and its `command`.
fn arguments(text: &str, file: &Path, verb: &Command, typed: &[OsString]) -> Outcome<(Vec<OsString>, Vec<OsString>)> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or_else(String::new, |span| position(text, span.start));
        usage(
            format!("{}{at}: {}", file.display(), error.message()),
            "mend that line; keys are flag names without `--`",
        )
    })?;
    let (mut flags, mut command) = (Vec::new(), Vec::new());
    for (key, value) in &table {
        let at = position(text, key_offset(text, key));
        let wrong = |what: String, next: String| usage(format!("{}{at}: {what}", file.display()), next);
        if key == "command" {
            command = words(value).ok_or_else(|| {
                wrong("`command` is a list of words".into(), "write command = [\"npx\", \"server\"]".into())
            })?;
            continue;
        }
        let Some(arg) = verb.get_arguments().find(|arg| key != "config" && arg.get_long() == Some(key.as_str())) else {
            return Err(wrong(format!("unknown key `{key}`"), near(key, verb)));
        };
        if was_typed(key, typed) {
            continue;
        }
        let flag = format!("--{key}");
        match (arg.get_action(), value) {
            (ArgAction::SetTrue, Value::Boolean(true)) => flags.push(flag.into()),
            (ArgAction::SetTrue, Value::Boolean(false)) => {}
            (ArgAction::SetTrue, _) => return Err(wrong(format!("`{key}` is true or false"), String::new())),
            (ArgAction::Append, Value::Array(_)) | (_, Value::String(_) | Value::Integer(_)) => {
                let words =
                    words(value).ok_or_else(|| wrong(format!("`{key}` is a list of strings"), String::new()))?;
                flags.extend(words.into_iter().map(|word| joined(&flag, &word)));
            }
            _ => {
                return Err(wrong(
                    format!("`{key}` takes one value, as the flag does"),
                    format!("write {key} = \"…\""),
                ));
            }
        }
    }
    Ok((flags, command))
}

fn joined(flag: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(flag);
    word.push("=");
    word.push(value);
    word
}

fn words(value: &Value) -> Option<Vec<OsString>> {
    match value {
        Value::String(word) => Some(vec![word.into()]),
        Value::Integer(number) => Some(vec![number.to_string().into()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(OsString::from)).collect(),
        _ => None,
    }
}

fn was_typed(key: &str, typed: &[OsString]) -> bool {
    let flag = format!("--{key}");
    let with_value = format!("--{key}=");
    typed.iter().filter_map(|word| word.to_str()).any(|word| word == flag || word.starts_with(&with_value))
}

/// `:line:column` of a byte offset.
fn position(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(":{line}:{column}")
}

/// Where a top-level key stands.
fn key_offset(text: &str, key: &str) -> usize {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start().trim_start_matches(['"', '\'', '[']);
        if trimmed
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(['=', '.', ']']))
        {
            return offset + (line.len() - line.trim_start().len());
        }
        offset += line.len();
    }
    0
}

fn near(key: &str, verb: &Command) -> String {
    let mut known = verb.get_arguments().filter_map(clap::Arg::get_long);
    let plain = |name: &str| name.replace(['-', '_'], "").to_lowercase();
    match known.find(|name| plain(name) == plain(key) || name.starts_with(key) || key.starts_with(name)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the keys are the flags of `countermark {} --help`", verb.get_name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(text: &str, typed: &[&str]) -> Outcome<(Vec<OsString>, Vec<OsString>)> {
        let mut root = Cli::command();
        root.build();
        let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
        arguments(text, Path::new("guard.toml"), root.find_subcommand("guard").unwrap(), &typed)
    }

    #[test]
    fn keys_become_flags_and_what_is_typed_wins() {
        let (flags, command) =
            guard("listen = \"0.0.0.0:8443\"\nidentity = \"id\"\ncommand = [\"npx\", \"-y\"]\n", &["--identity=other"])
                .unwrap();
        assert_eq!(flags, ["--listen=0.0.0.0:8443"]);
        assert_eq!(command, ["npx", "-y"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let error = guard("listen = \"x\"\n  lisen = \"y\"\n", &[]).unwrap_err();
        assert!(error.to_string().contains("guard.toml:2:3: unknown key `lisen`"), "{error}");
    }

    #[test]
    fn a_file_cannot_name_another_file() {
        assert!(guard("config = \"x\"\n", &[]).unwrap_err().to_string().contains("unknown key `config`"));
    }

    #[test]
    fn a_syntax_error_names_line_and_column() {
        let error = guard("listen = \n", &[]).unwrap_err();
        assert!(error.to_string().contains("guard.toml:1:"), "{error}");
    }
}
