//! `[map]` and `[revocation]`.

use std::collections::BTreeMap;

use countermark_identity::{MapEntry, SanMap, TrustDomain};
use toml::de::{DeTable, DeValue};

use super::reader::{Reader, Value};
use crate::text::Place;
use crate::{Fault, RevocationMode};

/// Which certificates' names stand for which agents, and where each of those agents is named.
pub(super) fn parse_map(
    reader: &mut Reader<'_>,
    root: &DeTable<'_>,
    own: &TrustDomain,
) -> (SanMap, Vec<(String, Place)>) {
    let (mut map, mut mapped) = (SanMap::empty(own.clone()), Vec::new());
    let Some(table) = root.get("map").and_then(|value| reader.table("map", value)) else {
        return (map, mapped);
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let Some((agent, bundle)) = parse_target(reader, value) else { continue };
        mapped.push((agent.clone(), reader.place(key.span())));
        let entry = MapEntry { san: key.get_ref().to_string(), agent, bundle };
        if let Err(error) = map.insert(entry) {
            reader.fault(key.span(), Fault::Map(error));
        }
    }
    (map, mapped)
}

/// `"agent"` or `{ agent = "agent", bundle = "trust domain" }`.
fn parse_target(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<(String, Option<TrustDomain>)> {
    let DeValue::Table(table) = value.get_ref() else {
        return reader.string("map", value).map(|agent| (agent.to_owned(), None));
    };
    reader.reject_unknown(table, &["agent", "bundle"], "an entry of [map]");
    let Some(agent) = table.get("agent") else {
        reader.fault(value.span(), Fault::Missing { key: "agent", place: "an entry of [map]" });
        return None;
    };
    let agent = reader.string("agent", agent)?.to_owned();
    match table.get("bundle") {
        None => Some((agent, None)),
        Some(bundle) => {
            let text = reader.string("bundle", bundle)?;
            Some((agent, Some(reader.trust_domain(bundle.span(), text)?)))
        }
    }
}

/// How each trust domain's revocation is looked at.
pub(super) fn parse_revocation(reader: &mut Reader<'_>, root: &DeTable<'_>) -> BTreeMap<TrustDomain, RevocationMode> {
    let mut modes = BTreeMap::new();
    let Some(table) = root.get("revocation").and_then(|value| reader.table("revocation", value)) else {
        return modes;
    };
    for (key, value) in table.iter() {
        let trust_domain = reader.trust_domain(key.span(), key.get_ref());
        let mode = match reader.string("revocation", value) {
            Some("required") => Some(RevocationMode::Required),
            Some("danger_none") => Some(RevocationMode::DangerNone),
            Some(other) => {
                reader.fault(value.span(), Fault::Revocation { found: other.into() });
                None
            }
            None => None,
        };
        modes.extend(trust_domain.zip(mode));
    }
    modes
}
