#![doc = include_str!("../README.md")]

pub use countermark_credential as credential;
pub use countermark_identity as identity;
pub use countermark_mcp as mcp;
pub use countermark_mtls as mtls;
pub use countermark_oauth as oauth;
pub use countermark_policy as policy;
