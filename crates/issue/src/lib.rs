//! A profile and a CSR become a certificate; local signing, CRLs and lint
