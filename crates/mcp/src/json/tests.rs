use super::*;

struct Nothing;

impl<'a> Sink<'a> for Nothing {
    type Place = ();

    fn member(&mut self, (): (), _: &str, _: usize) -> Result<(), ParseRefusal> {
        Ok(())
    }

    fn element(&mut self, (): ()) {}

    fn value(&mut self, (): (), _: Kind, _: &'a str, _: usize) -> Result<(), ParseRefusal> {
        Ok(())
    }
}

fn read(text: impl AsRef<[u8]>) -> Result<(), ParseRefusal> {
    scan(text.as_ref(), 64, Surrogates::Refused, (), &mut Nothing)
}

#[test]
fn accepts_what_the_grammar_accepts() {
    for text in [
        "{}",
        "[]",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.5e+10",
        "1E9",
        "123456789012345678901234567890.5",
        r#"{"a":{"b":[1,2,{"a":3}]},"c":"x"}"#,
        " \t\r\n[ 1 , 2 ] ",
        r#""\ud83d\ude00 \u0000 \/ é""#,
        r#"[{"a":1},{"a":1}]"#,
        "\"a string of more than eight bytes, é included\"",
    ] {
        assert_eq!(read(text), Ok(()), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok() || text.contains("1234"), "{text}");
    }
}

#[test]
fn refuses_what_the_grammar_refuses() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "[01]",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "\"",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "[1 2]",
        "{\"a\" 1}",
        "/**/1",
        "\"01234567\u{1}\"",
        "{\"a\":1 \"b\":2}",
    ] {
        assert!(matches!(read(text), Err(ParseRefusal::Syntax { .. })), "{text}: {:?}", read(text));
    }
}

#[test]
fn refuses_duplicate_keys_at_any_depth_and_under_any_escape() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"[{"x":[{"k":1,"\u006b":2}]}]"#,
        r#"{"":1,"":2}"#,
        r#"{"a":{"b":1},"c":{"b":1},"a":2}"#,
    ] {
        assert!(matches!(read(text), Err(ParseRefusal::DuplicateKey { .. })), "{text}");
    }
}

#[test]
fn refuses_duplicate_keys_among_many() {
    let mut members: Vec<_> = (0..5000).map(|n| format!("\"k{n}\":{{\"k{n}\":0}}")).collect();
    assert_eq!(read(format!("{{{}}}", members.join(","))), Ok(()));
    members.push("\"\\u006b17\":1".to_owned());
    let text = format!("{{{}}}", members.join(","));
    assert!(matches!(read(text), Err(ParseRefusal::DuplicateKey { .. })));
}

#[test]
fn many_distinct_keys_cost_no_quadratic_time() {
    let members: Vec<_> = (0..200_000).map(|n| format!("\"k{n}\":0")).collect();
    assert_eq!(read(format!("{{{}}}", members.join(","))), Ok(()));
}

#[test]
fn refuses_nul_in_keys_surrogates_and_encodings() {
    assert!(matches!(read(r#"{"method\u0000":1}"#), Err(ParseRefusal::NulInKey { .. })));
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800x""#] {
        assert!(matches!(read(text), Err(ParseRefusal::LoneSurrogate { .. })), "{text}");
    }
    assert_eq!(read("\u{feff}{}"), Err(ParseRefusal::ByteOrderMark));
    assert_eq!(read(b"[\"\xff\"]"), Err(ParseRefusal::NotUtf8 { offset: 2 }));
    assert!(matches!(read("{}\u{0}"), Err(ParseRefusal::TrailingBytes { offset: 2 })));
    assert!(matches!(read("{}{}"), Err(ParseRefusal::TrailingBytes { offset: 2 })));
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read(utf16).is_err());
}

#[test]
fn refuses_nesting_beyond_the_limit() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert_eq!(read(nested(64)), Ok(()));
    assert_eq!(read(nested(65)), Err(ParseRefusal::TooDeep { limit: 64 }));
    assert_eq!(read("[".repeat(1_000_000)), Err(ParseRefusal::TooDeep { limit: 64 }));
    assert_eq!(read("{\"a\":".repeat(65)), Err(ParseRefusal::TooDeep { limit: 64 }));
    let wide = format!("[{}]", vec!["[[]]"; 1000].join(","));
    assert_eq!(read(wide), Ok(()), "siblings are not nesting");
}
