//! The order of renewals: `after`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::Spanned;

use super::Located;
use crate::config::Fault;
use crate::config::document::Credential;

/// Who comes after whom.
pub(super) struct Order<'a> {
    ranks: BTreeMap<&'a str, usize>,
    after: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Order<'a> {
    pub(super) fn of(written: &'a [Spanned<Credential>]) -> Located<Self> {
        let after = written.iter().map(Spanned::get_ref).map(|credential| {
            let before = credential.after.iter().map(|other| other.get_ref().as_str()).collect();
            (credential.name.get_ref().as_str(), before)
        });
        Ok(Self { ranks: ranks(written)?, after: after.collect() })
    }

    /// How deep it stands in the chains of `after`.
    pub(super) fn rank(&self, name: &str) -> usize {
        self.ranks.get(name).copied().unwrap_or_default()
    }

    /// All that come before it, by however many steps.
    pub(super) fn after(&self, name: &str) -> Arc<[Arc<str>]> {
        let mut found = BTreeSet::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            let before = self.after.get(name).into_iter().flatten().copied();
            open.extend(before.filter(|before| found.insert(*before)));
        }
        found.into_iter().map(Arc::from).collect()
    }
}

/// How deep each credential stands in the chain of `after`.
fn ranks(written: &[Spanned<Credential>]) -> Located<BTreeMap<&str, usize>> {
    let after: BTreeMap<&str, &[Spanned<String>]> = written
        .iter()
        .map(|credential| (credential.get_ref().name.get_ref().as_str(), credential.get_ref().after.as_slice()))
        .collect();
    let mut ranks: BTreeMap<&str, usize> = after.keys().map(|name| (*name, 0)).collect();
    // Without a circle no chain is longer than there are credentials.
    for _ in 0..=written.len() {
        let mut moved = None;
        for (name, before) in &after {
            for other in *before {
                let Some(rank) = ranks.get(other.get_ref().as_str()).copied() else {
                    let name = other.get_ref().clone();
                    return Err((other.span(), Fault::Unknown { what: "credential", name }));
                };
                if let Some(own) = ranks.get_mut(name).filter(|own| **own <= rank) {
                    *own = rank + 1;
                    moved = Some((other.span(), *name));
                }
            }
        }
        match moved {
            None => return Ok(ranks),
            Some((span, name)) if ranks.values().any(|rank| *rank > written.len()) => {
                return Err((span, Fault::Circle { name: name.to_owned() }));
            }
            Some(_) => {}
        }
    }
    Ok(ranks)
}
