//! Users and groups by name.

use super::Fault;

/// Reads `USER`, `USER:GROUP`, `:GROUP`, with names or numbers.
pub(super) fn parse(text: &str) -> Result<(Option<u32>, Option<u32>), Fault> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { None } else { Some(find(user, "user", "/etc/passwd")?) };
    let group = if group.is_empty() { None } else { Some(find(group, "group", "/etc/group")?) };
    if user.is_none() && group.is_none() {
        return Err(Fault::Owner("the owner is empty; write USER, USER:GROUP or :GROUP".to_owned()));
    }
    Ok((user, group))
}

/// The number of a name; both files have it in their third field.
fn find(name: &str, what: &str, file: &str) -> Result<u32, Fault> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fault::Owner(format!("cannot read {file}: {error}; write the {what} as a number")))?;
    text.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .find_map(|rest| rest.split(':').nth(1)?.parse().ok())
        .ok_or_else(|| Fault::Owner(format!("there is no {what} `{name}` in {file}; write its number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(parse("root").unwrap(), (Some(0), None));
        assert_eq!(parse("root:root").unwrap(), (Some(0), Some(0)));
        assert_eq!(parse(":12").unwrap(), (None, Some(12)));
        assert_eq!(parse("7:8").unwrap(), (Some(7), Some(8)));
        assert!(parse("no-such-user").is_err() && parse("").is_err() && parse(":").is_err() && parse("roo").is_err());
    }
}
