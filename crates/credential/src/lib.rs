//! Key, chain, trust bundle and CRL: what a process presents and whom it believes
