//! guard before any MCP server, connect behind any MCP client
