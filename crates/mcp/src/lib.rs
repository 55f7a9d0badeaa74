//! MCP calls: strict parsing, header rules, authorisation layer, list filters, stdio framing
