//! No token in anything that is written: not in clear, not in base64, not in hex.

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countermark_oauth::{UnverifiedToken, VerifiedToken};
use countermark_testkit::{Fault, pair};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{World, question};

/// Written that is logged, by whomever.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn no_token_is_ever_written() {
    let written = Written::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(written.clone()).finish();
    // For every thread: what the other tests of this binary log is looked at, too.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let mut said = String::new();
    let world = World::new().await;
    let verifier = world.verifier();
    let met = pair(&world.ca, "billing-bot", "ledger").await;
    let credential = countermark_credential::Source::watch(&met.agent_source).borrow().clone();
    for fault in [
        None,
        Some(Fault::Answer(json!({"expires_in": "soon"}))),
        Some(Fault::Answer(json!({"token_type": "mac"}))),
        Some(Fault::Claims(json!({"cnf": null}))),
        Some(Fault::Claims(json!({"aud": "https://other.test"}))),
    ] {
        world.sso.recover();
        fault.into_iter().for_each(|fault| world.sso.fail(fault));
        let tokens = world.tokens(Arc::clone(&credential));
        match tokens.token(&question()).await {
            Ok(token) => {
                said += &format!("{token:?} {:?} {tokens:?}", token.header());
                let token = UnverifiedToken::parse(token.expose()).unwrap();
                let verdict: Result<Arc<VerifiedToken>, _> = verifier.verify(&token, met.server.peer()).await;
                said += &format!("{token:?} {verdict:?} {verifier:?}");
            }
            Err(error) => said += &format!("{error} {error:?}"),
        }
    }
    let panic = std::panic::catch_unwind(|| {
        let token = UnverifiedToken::parse("a-token").unwrap();
        panic!("{token:?}");
    });
    said += panic.unwrap_err().downcast_ref::<String>().unwrap();
    assert!(!said.contains("a-token"));
    let logged = written.text();
    assert!(logged.contains("countermark_oauth"), "the log was listened to");
    let issued = world.sso.issued();
    assert!(issued.len() >= 5);
    for token in &issued {
        let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
        let decimal = format!("{:?}", &token.as_bytes()[..32]);
        let decimal = decimal.trim_matches(['[', ']']);
        for (form, text) in
            [("clear", token.as_str()), ("base64", &STANDARD.encode(token)), ("hex", &hex), ("numbers", decimal)]
        {
            assert!(!said.contains(text), "in {form}: {said}");
            assert!(!logged.contains(text), "in {form}, in the log");
        }
        // Nor the signature, which is what makes it a token.
        let signature = token.rsplit('.').next().unwrap();
        assert!(!said.contains(signature) && !logged.contains(signature));
    }
}
