//! The authorities that a credential hangs on and that end soon.

use std::sync::Arc;

use countermark_identity::UnixTime;

use crate::authority::Authority;

/// A line for each authority with less than a third of its life left, while there is time to renew it.
pub(super) fn ending(authorities: &[Arc<Authority>], now: UnixTime) -> Vec<String> {
    let soon = |authority: &&Arc<Authority>| {
        let life = authority.not_after().duration_since(authority.not_before());
        now >= authority.not_before().saturating_add(life / 3 * 2)
    };
    let mut lines: Vec<String> = authorities.iter().filter(soon).map(|authority| line(authority)).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

fn line(authority: &Authority) -> String {
    format!(
        "{} ends on {}, and less than a third of its life is left; `countermark ca renew` makes the next intermediate, a root needs a successor in every bundle",
        authority.subject(),
        authority.not_after()
    )
}
