//! Enrolment by a token of a configured issuer: usable at every start of a pod, for the identity that a rule names.

use countermark_issue::Csr;

use crate::{
    record::Act,
    service::{
        Shared,
        desk::{Ground, Handed, Life, Wanted},
        refusal::Refusal,
        token::{Grant, TokenError},
    },
};

/// Enrols whoever the token speaks for.
pub(super) async fn by_token(shared: &Shared, token: &str, csr: &Csr) -> Result<Handed, Refusal> {
    let enrolment = shared.enrolment.load_full();
    let grant = match enrolment.grant(token, shared.clock.as_ref()).await {
        Ok(grant) => grant,
        Err(error) => {
            let refusal = Refusal::from(error);
            shared.note_refusal(Act::Token, None, &refusal);
            return Err(refusal);
        }
    };
    let identity = grant.rule.identity.clone();
    let handed = issue(shared, grant, csr).await;
    if let Err(refusal) = &handed {
        shared.note_refusal(Act::Token, Some(identity.as_str()), refusal);
    }
    handed
}

async fn issue(shared: &Shared, grant: Grant<'_>, csr: &Csr) -> Result<Handed, Refusal> {
    let now = shared.clock.now();
    let rule = grant.rule;
    shared.limiter.identity(&rule.identity, now)?;
    let wanted = Wanted {
        identity: rule.identity.clone(),
        public_key: csr.public_key().clone(),
        profile: rule.profile.clone(),
        life: Life::Asked(rule.ttl),
        dns: rule.dns.clone(),
        ip: rule.ip.clone(),
    };
    let detail = Some(format!("{} by {}", grant.subject, grant.issuer));
    let ground = Ground { act: Act::Token, detail, invite: None, after: None };
    Ok(shared.desk.issue(wanted, ground, now).await?)
}

impl From<TokenError> for Refusal {
    /// The token's own facts are for the log; whoever sent it learns the word.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NoRule { .. } => Self::forbidden("no_rule", error.to_string()),
            TokenError::Unavailable => Self::later(error.code(), error.to_string(), 5),
            _ => Self::unauthorized(error.code(), error.to_string()),
        }
    }
}
