//! Enrolment by a token of Kubernetes: the account that the API server names, and nobody beside it.

use super::*;
use crate::service::token::tests::{Issuer, account};

async fn with_tokens() -> (Estate, Issuer) {
    let issuer = Issuer::new();
    let fixture = Fixture::new().await;
    let enrol = issuer.write(fixture.path(), RULES);
    (Estate::over(fixture, |config| config.enrol = Some(enrol), |stores| stores).await, issuer)
}

const RULES: &str = "[[jwt_issuer.rule]]\nidentity = \"agent/crm-bot\"\n\
    kubernetes = { namespace = \"crm\", service_account = \"bot\" }\n";

#[tokio::test]
async fn a_pod_enrols_at_every_start_as_the_account_that_its_token_names() {
    let (estate, issuer) = with_tokens().await;
    for _ in 0..2 {
        let token = issuer.token(&account("crm", "bot"));
        let newcomer = Holder::new();
        let answer = estate.enrol(&format!("Bearer {token}"), &newcomer.key.request().unwrap()).await;
        let newcomer = newcomer.with(&answer);
        assert_eq!(newcomer.leaf().spiffe_id(), Some(&id("agent/crm-bot")));
    }
    let line = estate.last(Act::Token).await;
    assert!(line.detail.unwrap().contains("system:serviceaccount:crm:bot"));
}

#[tokio::test]
async fn tokens_of_another_namespace_audience_issuer_key_or_time_enrol_nobody() {
    let (estate, issuer) = with_tokens().await;
    let csr = Holder::new().key.request().unwrap();
    let enrol = async |token: String| estate.enrol(&format!("Bearer {token}"), &csr).await;
    let changed = |name: &str, value: Value| {
        let mut claims = account("crm", "bot");
        claims[name] = value;
        claims
    };
    enrol(issuer.token(&account("hr", "bot"))).await.refused_text(403, "no rule");
    enrol(issuer.token(&account("crm", "other"))).await.refused_text(403, "no rule");
    enrol(issuer.token(&changed("aud", "vault".into()))).await.refused_text(401, "audience");
    enrol(issuer.token(&changed("iss", "https://elsewhere".into()))).await.refused_text(401, "issuer");
    enrol(Issuer::new().token(&account("crm", "bot"))).await.refused_text(401, "signature");
    let (past, future) = (START.as_secs() - 1, START.as_secs() + 61);
    enrol(issuer.token(&changed("exp", past.into()))).await.refused_text(401, "expired");
    enrol(issuer.token(&changed("nbf", future.into()))).await.refused_text(401, "clocks");
    enrol("not.a.token".to_owned()).await.refused_text(401, "base64url");
    assert!(estate.audited(Act::Token).await.is_empty(), "strangers fill no disk");
}

#[tokio::test]
async fn without_rules_no_token_enrols() {
    let estate = Estate::new().await;
    let csr = Holder::new().key.request().unwrap();
    let token = Issuer::new().token(&account("crm", "bot"));
    estate.enrol(&format!("Bearer {token}"), &csr).await.refused_text(401, "issuer");
}

#[tokio::test]
async fn rules_that_change_count_at_the_next_look_and_broken_ones_do_not() {
    let (estate, issuer) = with_tokens().await;
    let (publish, _credential) = watch::channel(Arc::clone(&estate.shared.credential.borrow()));
    let mut upkeep = Upkeep::new(Arc::clone(&estate.shared), publish);
    let csr = Holder::new().key.request().unwrap();
    let enrol =
        async || estate.enrol(&format!("Bearer {}", issuer.token(&account("hr", "bot"))), &csr).await.status.as_u16();
    assert_eq!(enrol().await, 403);
    issuer.write(estate.fixture.path(), &RULES.replace("crm", "hr"));
    upkeep.look().await;
    assert_eq!(enrol().await, 200);
    issuer.write(estate.fixture.path(), "[[jwt_issuer.rule]]\n");
    upkeep.look().await;
    assert_eq!(enrol().await, 200, "the last good rules still count");
}
