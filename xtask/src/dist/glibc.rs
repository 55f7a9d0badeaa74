//! Which glibc a program needs: the newest version among the symbols that it asks for.

/// The newest `GLIBC_MAJOR.MINOR` that is named; the dynamic linker looks for exactly these strings.
pub(super) fn needed(program: &[u8]) -> Option<(u32, u32)> {
    let starts = program.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    starts.filter_map(|(at, _)| version(program.get(at + PREFIX.len()..)?)).max()
}

/// Digits, a dot, digits, perhaps a third number, and the zero that ends a string.
fn version(rest: &[u8]) -> Option<(u32, u32)> {
    let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(rest.get(..end)?).ok()?;
    let mut numbers = text.split('.').map(str::parse::<u32>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    numbers.all(|number| number.is_ok()).then_some((major, minor))
}

const PREFIX: &[u8] = b"GLIBC_";
const LONGEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts_and_what_is_none_does_not() {
        assert_eq!(needed(b"x\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0"), Some((2, 34)));
        assert_eq!(needed(b"GLIBC_2.99 in a text\0GLIBC_2.17\0"), Some((2, 17)));
        assert_eq!(needed(b"musl"), None);
    }

    #[test]
    fn this_very_test_needs_one() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(needed(&program).is_some_and(|version| version >= (2, 14)));
    }
}
