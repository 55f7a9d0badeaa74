//! The user that a stdio server runs as.

use std::fs;

/// A user and group id of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// `UID:GID`, or a name of `/etc/passwd`.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        if let Some((uid, gid)) = name.split_once(':') {
            let number = |text: &str| text.parse().map_err(|_| format!("`{name}` is not UID:GID"));
            return Ok(Self { uid: number(uid)?, gid: number(gid)? });
        }
        let passwd = fs::read_to_string("/etc/passwd")
            .map_err(|error| format!("cannot read /etc/passwd: {error}; name the user as UID:GID"))?;
        passwd
            .lines()
            .find_map(|line| Self::of_line(line, name))
            .ok_or_else(|| format!("no user `{name}` in /etc/passwd; name it as UID:GID"))
    }

    fn of_line(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        Some(Self { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_or_number_and_never_guessed() {
        assert_eq!(User::find("12:34").unwrap(), User { uid: 12, gid: 34 });
        assert_eq!(User::find("root").unwrap(), User { uid: 0, gid: 0 });
        assert!(User::find("12:").is_err());
        assert!(User::find("no-such-user").is_err());
        assert_eq!(User::of_line("mcp:x:901:902::/:/bin/false", "mcp"), Some(User { uid: 901, gid: 902 }));
        assert_eq!(User::of_line("mcp2:x:901:902::/:/bin/false", "mcp"), None);
    }
}
