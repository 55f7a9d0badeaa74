//! The subject alternative names of a leaf, and the SPIFFE ID among them.

use super::LeafError;
use super::der::{self, SEQUENCE};
use crate::{San, SanError, SpiffeId, SpiffeIdError};

#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) sans: Vec<San>,
    /// How many there are beside them, of kinds that say nothing here.
    pub(super) unread: usize,
    pub(super) spiffe_id: Option<SpiffeId>,
}

impl Names {
    /// Reads `GeneralNames ::= SEQUENCE SIZE (1..MAX) OF GeneralName` to the last byte.
    pub(super) fn parse(extension: &[u8]) -> Result<Self, LeafError> {
        let broken = || LeafError::Extension { oid: String::from("2.5.29.17") };
        let Some((SEQUENCE, mut list, [])) = der::read(extension) else {
            return Err(broken());
        };
        let (mut sans, mut unread) = (Vec::new(), 0);
        while !list.is_empty() {
            let (tag, content, rest) = der::read(list).ok_or_else(broken)?;
            match parse_name(tag, content).ok_or_else(broken)? {
                Some(name) => sans.push(name?),
                None => unread += 1,
            }
            list = rest;
        }
        let spiffe_id = one_uri(&sans)?.filter(|uri| is_spiffe(uri)).map(parse_spiffe_id).transpose()?;
        Ok(Self { sans, unread, spiffe_id })
    }
}

/// One `GeneralName`: a name, a name of a kind that says nothing here, or (`None`) no name at all.
#[expect(clippy::option_option, reason = "broken, ignored and read are three things")]
fn parse_name(tag: u8, content: &[u8]) -> Option<Option<Result<San, SanError>>> {
    // NUL, newline and other alphabets are refused by the constructors: an IA5String is not taken on trust.
    let text =
        |read: fn(&str) -> Result<San, SanError>, otherwise| std::str::from_utf8(content).map_or(Err(otherwise), read);
    match tag {
        0x81 => Some(Some(text(San::email, SanError::Email))),
        0x82 => Some(Some(text(San::dns, SanError::Dns))),
        0x86 => Some(Some(text(San::uri, SanError::Uri))),
        0x87 => Some(Some(San::ip(content))),
        // otherName, x400Address, directoryName, ediPartyName, registeredID
        0xa0 | 0xa3 | 0xa4 | 0xa5 | 0x88 => Some(None),
        _ => None,
    }
}

/// > An X.509 SVID MUST contain exactly one URI SAN, and by extension, exactly one SPIFFE ID.
///
/// [X509-SVID §2](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#2-spiffe-id). Two are refused on every leaf.
fn one_uri(sans: &[San]) -> Result<Option<&str>, LeafError> {
    let mut uris = sans.iter().filter_map(|san| match san {
        San::Uri(uri) => Some(uri.as_str()),
        _ => None,
    });
    match (uris.next(), uris.count()) {
        (first, 0) => Ok(first),
        (_, more) => Err(LeafError::TwoUris { count: more + 1 }),
    }
}

/// Anything that claims the scheme, in whatever case, is held to it.
fn is_spiffe(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("spiffe"))
}

fn parse_spiffe_id(uri: &str) -> Result<SpiffeId, LeafError> {
    uri.parse().map_err(|error| match error {
        SpiffeIdError::NoPath => LeafError::RootPath,
        other => LeafError::SpiffeId(other),
    })
}
