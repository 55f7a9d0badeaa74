"""A ledger over the Python SDK's MCPServer, once FastMCP: `--stdio`, or Streamable HTTP on a port that is printed."""

import socket
import sys

from mcp.server.mcpserver import MCPServer

ledger = MCPServer("python-ledger")


@ledger.tool()
def read_balance(account: str = "cash") -> str:
    """Reads the balance of an account."""
    return f"{account}: 42"


@ledger.tool()
def post_entry(account: str, amount: int) -> str:
    """Posts an entry to an account."""
    return f"posted {amount} to {account}"


@ledger.tool()
def close_books() -> str:
    """Closes the books."""
    return "closed"


@ledger.tool()
def drop_ledger() -> str:
    """Drops the ledger."""
    return "dropped"


@ledger.prompt()
def summarise() -> str:
    """Asks for a summary."""
    return "Summarise the ledger."


@ledger.resource("ledger://accounts")
def accounts() -> str:
    """Names the accounts."""
    return "cash"


def serve_http() -> None:
    """Binds first and prints the address, so that nobody races for the port."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(ledger.streamable_http_app(), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    if "--stdio" in sys.argv:
        ledger.run("stdio")
    else:
        serve_http()
