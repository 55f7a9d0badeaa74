//! Real third-party programs against the real `countermark`.
//!
//! `cargo xtask test` sets the programs up and says where they are: `COUNTERMARK_PEERS_DIR` holds them, `COUNTERMARK_BIN`
//! is the binary under test. Without them each test prints `SKIP name: why` and does nothing.

mod authlib;
mod authorization;
mod certificates;
mod clients;
mod clock;
mod conformance;
mod consumers;
mod curl;
mod est;
mod estate;
mod issued;
mod keycloak;
mod keystore;
mod oidc_provider;
mod packaging;
mod rotation;
mod servers;
mod sessions;
mod set_up;
