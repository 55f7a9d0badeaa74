//! What would give a token away, and where it stands.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Tokens in every form in which they are looked for, found by their first bytes.
pub(super) struct Needles {
    tokens: usize,
    forms: HashMap<[u8; KEY], Vec<(Vec<u8>, &'static str)>>,
    /// A bit for each hash of first bytes: most places are ruled out by it alone.
    filter: Vec<bool>,
}

impl Needles {
    /// Of a register with a token on each line. Of a signed one, the signature is looked for: that is what makes it a token, and it
    /// stands in whatever the whole token stands in.
    pub(super) fn of(register: &str) -> Result<Self> {
        let tokens: BTreeSet<&str> = register.lines().collect();
        ensure!(!tokens.is_empty(), "no token was registered, so that none could be found");
        let mut needles = Self { tokens: tokens.len(), forms: HashMap::new(), filter: vec![false; PLACES] };
        for token in tokens {
            let core = token.rsplit('.').next().unwrap_or(token).as_bytes();
            ensure!(core.len() >= SHORTEST, "a token of {} bytes is too short to be looked for", core.len());
            for (form, name) in forms(core) {
                needles.add(form, name);
            }
        }
        Ok(needles)
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    fn add(&mut self, form: Vec<u8>, name: &'static str) {
        let Some(key) = form.first_chunk::<KEY>().copied() else { return };
        if let Some(bit) = self.filter.get_mut(place(&key)) {
            *bit = true;
        }
        self.forms.entry(key).or_default().push((form, name));
    }

    /// Where a token begins, and in which form.
    pub(super) fn find(&self, content: &[u8]) -> Vec<(usize, &'static str)> {
        let mut found = Vec::new();
        for (at, key) in content.windows(KEY).enumerate() {
            let Some(key) = key.first_chunk::<KEY>() else { continue };
            if !self.filter.get(place(key)).is_some_and(|bit| *bit) {
                continue;
            }
            let rest = content.get(at..).unwrap_or_default();
            let of_key = self.forms.get(key).into_iter().flatten();
            found.extend(of_key.filter(|(form, _)| rest.starts_with(form)).map(|(_, name)| (at, *name)));
        }
        found
    }
}

/// In clear, in hex, in decimal, and in base64: where the token begins within a group of three decides how that writes it. The ends of the
/// latter depend on what stands beside, and are left out.
fn forms(core: &[u8]) -> BTreeSet<(Vec<u8>, &'static str)> {
    let hex: String = core.iter().map(|byte| format!("{byte:02x}")).collect();
    // As `Debug` prints bytes.
    let decimal = core.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = BTreeSet::from([
        (core.to_vec(), "clear"),
        (decimal.into_bytes(), "decimal"),
        (hex.to_uppercase().into_bytes(), "hex"),
        (hex.into_bytes(), "hex"),
    ]);
    for shift in 0..3 {
        let shifted = [&vec![0; shift], core].concat();
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let whole = engine.encode(&shifted).into_bytes();
            // Four characters at the front are of the shift, in part; what the last ones are depends on the neighbour.
            let inner = whole.get(4..whole.len().saturating_sub(4)).unwrap_or_default();
            forms.insert((inner.to_vec(), "base64"));
        }
    }
    forms
}

fn place(key: &[u8; KEY]) -> usize {
    let mixed = u128::from_le_bytes(*key).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    usize::try_from(mixed >> (128 - BITS)).unwrap_or_default()
}

/// Bytes by which a form is found; each is compared whole then.
const KEY: usize = 16;
/// So long that its base64 without the ends has as many, too.
const SHORTEST: usize = 20;
const BITS: u32 = 22;
const PLACES: usize = 1 << BITS;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.MEUCIQDx-kkk_zzZ0123456789abcdefghijklm";

    #[test]
    fn every_form_is_found_wherever_it_begins() {
        let needles = Needles::of(&format!("{TOKEN}\nan-opaque-token-of-32-characters\n")).unwrap();
        for token in [TOKEN, "an-opaque-token-of-32-characters"] {
            for before in ["", "x", "xy", "xyz", "Authorization: Bearer "] {
                let text = format!("{before}{token}, and more");
                let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                for (form, written) in [
                    ("clear", text.clone()),
                    ("decimal", format!("{:?}", text.as_bytes())),
                    ("hex", hex.to_uppercase()),
                    ("hex", hex),
                    ("base64", STANDARD_NO_PAD.encode(&text)),
                    ("base64", URL_SAFE_NO_PAD.encode(&text)),
                ] {
                    let found = needles.find(format!("{{\"{written}\"}}\0").as_bytes());
                    assert!(matches!(found[..], [(_, name)] if name == form), "{written}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_token_is_not_found() {
        let needles = Needles::of(TOKEN).unwrap();
        let (signed, signature) = TOKEN.rsplit_once('.').unwrap();
        // Header and claims alone are no token.
        for text in [signed, &signature[..signature.len() - 1], &signature[1..], ""] {
            assert!(needles.find(text.as_bytes()).is_empty(), "{text}");
        }
        assert_eq!(needles.find(format!("{signed}\n.{signature}").as_bytes()), [(signed.len() + 2, "clear")]);
    }

    #[test]
    fn a_register_that_says_nothing_is_an_error() {
        assert!(Needles::of("").is_err());
        assert!(Needles::of("short\n").is_err());
    }
}
