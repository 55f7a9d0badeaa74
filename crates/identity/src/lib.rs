//! Names: SPIFFE IDs, trust domains, agents, and the one identity that a certificate yields
