//! An authority, an authorization server, and agents that are registered there.

use std::collections::HashMap;
use std::sync::Arc;

use countermark_credential::{Credential, Source as _};
use countermark_identity::{AgentId, Clock, SpiffeId};
use countermark_oauth::{
    FollowingHttp, IssuerRules, PublishedKeys, Question, Registration, Roots, TokenVerifier, Tokens,
};
use countermark_testkit::{AuthorizationServer, Client, MockClock, TestCa, TestSource, TestTrust};

pub(crate) const RESOURCE: &str = "https://ledger.test/mcp";

pub(crate) struct World {
    pub(crate) ca: TestCa,
    pub(crate) trust: TestTrust,
    pub(crate) sso: AuthorizationServer,
    _sso_source: TestSource,
}

impl World {
    pub(crate) async fn new() -> Self {
        // rustls and webpki go by the wall clock at the authorization server's certificate, so that ours begins there, too.
        let clock = MockClock::at(countermark_identity::SystemClock.now());
        let ca = TestCa::with_clock("agents.internal", clock);
        let trust = ca.trusted();
        let source = TestSource::new(ca.mint(&ca.server_spec("sso").dns("localhost")).credential());
        let sso = AuthorizationServer::start(source.watch(), trust.generations(), Arc::new(ca.clock().clone())).await;
        sso.register(
            "agent-a",
            Client::of_certificate(id("billing-bot")).with_scopes(&["ledger.read", "ledger.write"]),
        );
        Self { ca, trust, sso, _sso_source: source }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.ca.clock().clone())
    }

    pub(crate) fn roots(&self) -> Roots {
        self.ca.bundle().roots().to_vec().into()
    }

    pub(crate) fn registration(&self) -> Registration {
        Registration::new(self.sso.issuer(), "agent-a", self.roots())
    }

    pub(crate) fn tokens(&self, credential: Arc<Credential>) -> Arc<Tokens> {
        self.tokens_as(self.registration(), credential)
    }

    pub(crate) fn tokens_as(&self, registration: Registration, credential: Arc<Credential>) -> Arc<Tokens> {
        Tokens::new(Arc::new(registration), credential, self.clock()).unwrap()
    }

    /// How the server asks the issuer things.
    pub(crate) fn http(&self) -> Arc<FollowingHttp> {
        let source = TestSource::new(self.ca.server("ledger"));
        Arc::new(FollowingHttp::new(source.watch(), self.roots()).unwrap())
    }

    pub(crate) fn rules(&self) -> IssuerRules {
        let mut rules = IssuerRules::new(self.sso.issuer(), RESOURCE);
        rules.clients = HashMap::from([("agent-a".to_owned(), vec![self.agent("billing-bot")])]);
        rules
    }

    pub(crate) fn verifier(&self) -> Arc<TokenVerifier> {
        let keys = PublishedKeys::new(self.http(), self.sso.issuer());
        Arc::new(TokenVerifier::new(self.clock()).with_issuer(self.rules(), Box::new(keys), None))
    }

    pub(crate) fn agent(&self, name: &str) -> AgentId {
        AgentId::new(self.ca.trust_domain(), name).unwrap()
    }
}

pub(crate) fn question() -> Question {
    Question::of(RESOURCE).with_scopes(["ledger.read"])
}

fn id(agent: &str) -> String {
    let id: SpiffeId = format!("spiffe://agents.internal/agent/{agent}").parse().unwrap();
    id.to_string()
}
