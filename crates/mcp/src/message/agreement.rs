//! Whatever is accepted, every other parser must read the same way. Bodies are mutated at random, from a fixed seed.

use serde_json::Value;

use super::*;

const SEEDS: [&str; 4] = [
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","arguments":{"name":"x","n":[1,-2.5e3,true,null]},"_meta":{"progressToken":"p"}}}"#,
    r#"{"jsonrpc":"2.0","id":"a\u0062","method":"resources\/read","params":{"uri":"file:///b\u00fc","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
    r#"{"jsonrpc":"2.0","id":3,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}}"#,
    r#"{ "jsonrpc" : "2.0" , "id" : 4 , "result" : { "name" : "\ud83d\ude00" } }"#,
];

const PIECES: [&str; 24] = [
    "\"name\":\"y\",",
    "\"method\":\"ping\",",
    "\"params\":{},",
    "\"id\":2,",
    "\\u006e",
    "\\ud800",
    "\\",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\u{feff}",
    "\0",
    "1e999",
    "00",
    "-",
    " ",
    "\n",
    "null",
    "\u{17f}",
    "\\u0000",
];

/// xorshift64*: the same bodies in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }
}

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut body = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(body.len());
        match random.below(4) {
            0 => body[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(body.remove(at)),
            2 => drop(body.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            _ => {
                let end = (at + random.below(40)).min(body.len());
                let copy = body[at..end].to_vec();
                body.splice(at..at, copy);
            }
        }
    }
    body
}

#[test]
fn what_is_accepted_is_read_alike_by_another_parser() {
    let mut random = Random(0x5EED_CAFE);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let body = mutated(&mut random);
        let Ok(message) = parse(&body, &Limits::default()) else { continue };
        accepted += 1;
        let text = String::from_utf8_lossy(&body);
        let value: Value = match serde_json::from_slice(&body) {
            Ok(value) => value,
            // The one thing that serde_json refuses and the grammar permits.
            Err(error) if error.to_string().contains("number out of range") => continue,
            Err(error) => panic!("accepted, but serde_json says {error}: {text}"),
        };
        assert!(value.is_object(), "{text}");
        let (method, params) = match &message {
            Message::Request(request) => (Some(&request.method), Some(&request.params)),
            Message::Notification(notification) => (Some(&notification.method), Some(&notification.params)),
            Message::Response(_) => (None, None),
        };
        assert_eq!(value["method"].as_str(), method.map(AsRef::as_ref), "{text}");
        let Some(params) = params else { continue };
        assert_eq!(value["params"]["name"].as_str(), params.name.as_deref(), "{text}");
        assert_eq!(value["params"]["uri"].as_str(), params.uri.as_deref(), "{text}");
        let version = &value["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
        assert_eq!(version.as_str(), params.protocol_version.as_deref(), "{text}");
    }
    assert!(accepted > 10_000, "the mutations leave too little: {accepted}");
}
