//! rustls configurations from a source, verified peers, trust generations, live connections
