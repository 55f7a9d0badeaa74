//! The CA with its inventory, audit, issuance and revocation
