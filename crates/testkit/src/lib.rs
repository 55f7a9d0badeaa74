//! A CA in memory, a mock clock and two peers in a real handshake, for tests.
//!
//! Of use to the tests of whoever builds on this workspace, too. Nothing here touches a disk, and
//! nothing here belongs into a program that runs: keys are unprotected and helpers panic.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use countermark_testkit::{TestCa, pair};
//!
//! let ca = TestCa::new("agents.internal");
//! let met = pair(&ca, "billing-bot", "ledger").await;
//! assert_eq!(met.server.peer().agent().name(), "billing-bot");
//! assert_eq!(met.client.server().server().name(), "ledger");
//! # });
//! ```

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that cannot make its certificates should stop there"
)]

mod authorization_server;
mod ca;
mod clock;
mod evidence;
mod pair;
mod source;
mod spec;
mod stranger;

pub use authorization_server::{AuthorizationServer, Client, Fault};
pub use ca::{Minted, TestCa};
pub use clock::MockClock;
pub use evidence::{is_kept, said};
pub use pair::{Pair, pair};
pub use source::{TestSource, TestTrust};
pub use spec::{Spec, Wrong};
pub use stranger::{any_server, anyone, anyone_over};
